/**
 * Shipped: the image that users build, built as they do it, from the Dockerfile and the sources as they are now.
 *
 * The engine that builds has no bridge, no rules and no forwarding of its own: it sits in this machine's network, whose
 * way to the package archives is all it needs, and changes nothing there. Node and npm come from this machine, on top
 * of the lab's own image: so what the Dockerfile takes from a registry, `BASE`, is made here. What was built stays in
 * the engine's folder, so that a change of the sources costs the bundle alone: three seconds, and the saving of it.
 *
 * The result is a tarball named by a hash of all that went in: the lab's image, `skein`, and `skein:next`, which is the
 * same but for the version it tells, and what an upgrade goes to.
 *
 * Touches: the cache folder, the Debian archive, the npm registry.
 */

import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync, realpathSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

import { runCommand } from "./command.ts";
import { ensureBaseImage } from "./image.ts";

/** The names of the two, and the version that the second tells. */
export const SKEIN_IMAGE = "skein";
export const NEXT_IMAGE = "skein:next";
export const NEXT_VERSION = "99.0.0";

const REPOSITORY = fileURLToPath(new URL("../..", import.meta.url));
const INPUTS = ["Dockerfile", ".dockerignore", "package.json", "package-lock.json", "LICENSE"];
const INPUT_FOLDERS = ["build", "config", "src"];

/** This machine's trust, since what stands between it and the registries may sign for them. */
const AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt";

const BUILD_MS = 900_000;

const NODE = `FROM skein-lab:base
COPY npm /usr/local/lib/node_modules/npm
COPY authorities.crt ${AUTHORITIES}
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \\
 && mkdir -p /usr/local/etc && echo cafile=${AUTHORITIES} > /usr/local/etc/npmrc`;

const NEXT = `FROM ${SKEIN_IMAGE}
RUN sed -i 's/"version": "[^"]*"/"version": "${NEXT_VERSION}"/' package.json
LABEL org.opencontainers.image.version=${NEXT_VERSION}`;

// $1 the cache folder, $2 the base's tarball, $3 the name of what is made, $4 the repository, $5 npm's folder. One at a
// time; who waited finds it made. The lock's file stays, as that of image.ts. The stage that builds has a name, or
// pruning what older sources left would take its packages along. Sockets have short paths, the cache has not. An engine
// that does not start may have been ended while it wrote: the next begins anew.
const BUILD = `
cd "$1"
exec 8>build.lock
flock 8
[ ! -e "$3" ] || exit 0
made=$3
store="$1/builder-$(basename "$2" .tar)"
run=$(mktemp -d /tmp/skein-build-XXXXXX)
export DOCKER_HOST="unix://$run/docker.sock" DOCKER_CONFIG="$run" DOCKER_BUILDKIT=0
mkdir -p "$store"
dockerd --host="$DOCKER_HOST" --pidfile="$run/pid" --exec-root="$run/exec" --data-root="$store" \\
  --bridge=none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false --log-level=warn \\
  --exec-opt=native.cgroupdriver=cgroupfs --cgroup-parent=/skein-build >"$run/log" 2>&1 8>&- &
engine=$!
finish() {
  kill $engine && wait $engine || true
  rmdir /sys/fs/cgroup/*/skein-build /sys/fs/cgroup/skein-build 2>/dev/null || true
  umount "$run"/exec/netns/* 2>/dev/null || true
  rm -rf "$run" "$made.building"
}
trap finish EXIT
make() {
  docker build --network host "$@" >>"$run/built" 2>&1 || { tail -n 30 "$run/built" >&2; return 1; }
}
until docker version >/dev/null 2>&1; do
  kill -0 $engine || { tail -n 3 "$run/log" >&2; rm -rf "$store"; exit 1; }
  sleep 0.1
done
docker inspect skein-lab:base >/dev/null 2>&1 || docker import "$2" skein-lab:base >/dev/null
mkdir "$run/node" "$run/next"
cp -a "$5" "$run/node/npm"
cp ${AUTHORITIES} "$run/node/authorities.crt"
cat > "$run/node/Dockerfile" <<'END'
${NODE}
END
cat > "$run/next/Dockerfile" <<'END'
${NEXT}
END
make -t skein-lab:node "$run/node"
make --build-arg BASE=skein-lab:node --target build -t skein-lab:build "$4"
make --build-arg BASE=skein-lab:node -t ${SKEIN_IMAGE} "$4"
make -t ${NEXT_IMAGE} "$run/next"
docker image prune --force >/dev/null
docker save skein-lab:base ${SKEIN_IMAGE}:latest ${NEXT_IMAGE} -o "$made.building"
mv "$made.building" "$made"
find . -maxdepth 1 -name 'skein-*.tar' ! -name "$made" -mmin +20 -delete
find . -maxdepth 1 -name 'builder-*' ! -path "./$(basename "$store")" -mtime +1 -exec rm -rf {} +`;

/**
 * Returns the path of the tarball to give to `docker load`, made first where it is not cached: half a minute, or some
 * seconds when only sources have changed.
 *
 * @throws when it cannot be built, with the last lines of the build
 */
export async function ensureSkeinImage(): Promise<string> {
  const base = await ensureBaseImage();
  const npm = npmFolder();
  const recipe = [basename(base), BUILD, ...inputs().map((path) => [path, readFileSync(path, "utf8")])];
  const hash = createHash("sha256").update(JSON.stringify(recipe)).digest("hex").slice(0, 16);
  const path = join(dirname(base), `skein-${hash}.tar`);
  if (existsSync(path)) return path;
  const alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
  const build = ["sh", "-euc", BUILD, "sh", dirname(base), base, basename(path), REPOSITORY, npm];
  const argv = ["setpriv", "--pdeathsig", "KILL", ...alone, ...build];
  const { code, stderr } = await runCommand(argv, { timeoutMs: BUILD_MS });
  if (code !== 0) throw new Error(`the image cannot be built: ${stderr}`);
  return path;
}

/** The files that the build may see, sorted. */
function inputs(): readonly string[] {
  const below = INPUT_FOLDERS.flatMap((folder) =>
    readdirSync(join(REPOSITORY, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(REPOSITORY, join(entry.parentPath, entry.name))),
  );
  return [...INPUTS, ...below.toSorted()].map((path) => join(REPOSITORY, path));
}

/** Where this machine's npm is: beside our Node, or the system's. */
function npmFolder(): string {
  const programs = [join(dirname(process.execPath), "npm"), "/usr/local/bin/npm", "/usr/bin/npm"];
  const program = programs.find((path) => existsSync(path));
  if (program === undefined) throw new Error(`there is no npm; expected one of ${programs.join(", ")}`);
  return join(dirname(realpathSync(program)), "..");
}
