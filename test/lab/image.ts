/**
 * Image: the root file system of the lab's containers, made here since no registry is in reach.
 *
 * Two layers of cache. The Debian part takes half a minute and depends on the list of packages alone; Node and the
 * replica program are appended to a copy of it in two seconds, so editing the replica costs no debootstrap. Each
 * tarball is named by a hash of what it was made from and moved into place whole: one that is there is complete.
 * It is not compressed: unpacking is what import spends its time on.
 *
 * It is made in a mount and process namespace that dies with the test process: debootstrap mounts /proc inside its
 * target, and a killed build would leave that mounted.
 *
 * Touches: the cache folder, the Debian archive.
 */

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { mustRun } from "./command.ts";

/** The release whose C library the Node binary runs on, whatever release the machine has. */
const SUITE = "bookworm";

const PACKAGES = [
  "ca-certificates",
  "curl",
  "iproute2",
  "iputils-ping",
  "knot-dnsutils",
  "procps",
  "python3-minimal",
];

const REPLICA = fileURLToPath(new URL("replica.mjs", import.meta.url));

const BUILD_MS = 900_000;

const MAKE_ROOT = `
debootstrap --variant=minbase --include=${PACKAGES.join(",")} ${SUITE} building/root >building/log 2>&1 || {
  tail -n 5 building/log building/root/debootstrap/debootstrap.log >&2
  exit 1
}
cd building/root
rm -rf var/cache/apt/* var/lib/apt/lists/* var/log/* usr/share/doc/* usr/share/man/* usr/share/info/*
rm -rf usr/share/locale/* usr/share/i18n/* usr/share/zoneinfo/* usr/lib/*/gconv
cd ../..
tar -C building/root --numeric-owner -cf building/root.tar .
mv building/root.tar "$2"`;

const MAKE_BASE = `
cp "$2" building/base.tar
mkdir -p building/extra/usr/local/bin
cp --dereference "$4" building/extra/usr/local/bin/node
cp "$5" building/extra/replica.mjs
tar -C building/extra --owner=0 --group=0 -rf building/base.tar ./usr/local/bin/node ./replica.mjs
mv building/base.tar "$3"`;

// $1 cache folder, $2 root tarball, $3 base tarball, $4 node, $5 replica. The lock's file is never removed: removing
// it would let two builders hold "the" lock. Tarballs of other recipes go when nobody made one of them for a day.
const BUILD = `
cd "$1"
exec 9>lock
flock 9
rm -rf building
mkdir building
if [ ! -e "$2" ]; then (${MAKE_ROOT}
); fi
if [ ! -e "$3" ]; then (${MAKE_BASE}
); fi
rm -rf building
find . -maxdepth 1 -name '*.tar' ! -name "$2" ! -name "$3" -mtime +1 -delete`;

/** Where the tarballs are kept between runs. */
export function cacheFolder(): string {
  return join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "skein-lab");
}

/**
 * Returns the path of the tarball to give to `docker import`, made first (under a minute) where it is not cached.
 * Two processes may ask at the same time: one makes it and the other waits.
 *
 * @throws when it cannot be made, with the last lines of debootstrap
 */
export async function ensureBaseImage(cache: string = cacheFolder()): Promise<string> {
  const root = `root-${hashOf([MAKE_ROOT])}.tar`;
  // The binary by what is in its name tag: reading its 120 MB for a hash would cost more than the rest of the check.
  const recipe = [root, MAKE_BASE, process.version, process.arch, readFileSync(REPLICA, "utf8")];
  const base = `base-${hashOf(recipe)}.tar`;
  const path = join(cache, base);
  if (existsSync(path)) return path;
  mkdirSync(cache, { recursive: true });
  const alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
  const build = ["sh", "-euc", BUILD, "sh", cache, root, base, process.execPath, REPLICA];
  await mustRun(["setpriv", "--pdeathsig", "KILL", ...alone, ...build], { timeoutMs: BUILD_MS });
  return path;
}

function hashOf(parts: readonly string[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 16);
}
