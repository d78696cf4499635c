// The npm package as somebody gets it: built, packed, installed elsewhere without a registry, and run.

import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import test, { after, before } from "node:test";

const ROOT = join(import.meta.dirname, "../..");
const MANIFEST = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
  readonly version: string;
  readonly files: readonly string[];
};
const DEADLINE_MS = 60_000;
/** What is packed beside the parts, which have their content in their names. */
const FILES: readonly string[] = [
  "CHANGELOG.md",
  "LICENSE",
  "README.md",
  "SECURITY.md",
  "config/schema.json",
  "config/skein.service",
  "config/skein.yaml",
  "dist/LICENSES",
  "dist/dashboard/app.css",
  "dist/dashboard/app.css.gz",
  "dist/dashboard/app.js",
  "dist/dashboard/app.js.gz",
  "dist/dashboard/icon.svg",
  "dist/dashboard/icon.svg.gz",
  "dist/dashboard/index.html",
  "dist/dashboard/index.html.gz",
  "dist/main.mjs",
  "dist/skein.mjs",
  "package.json",
];

/** How a program ended. */
interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface Place {
  /** The repository as it is packed: its manifest, its papers, and a build of its sources. */
  readonly staged: string;
  /** Where somebody installed it. */
  readonly installed: string;
  readonly packed: readonly string[];
}

let dir = "";
let place: Place;

before(async () => {
  dir = mkdtempSync(join(tmpdir(), "skein-package-"));
  place = await install(dir);
});
after(() => rmSync(dir, { recursive: true, force: true }));

function run(
  file: string,
  args: readonly string[],
  options: { cwd?: string; path?: string } = {},
): Promise<Ended> {
  // As a user's shell has it: nothing of this run's own npm or Node settings.
  const kept = Object.entries(process.env).filter(([name]) => !/^(?:npm_|NODE_)/i.test(name));
  const path = [...(options.path === undefined ? [] : [options.path]), process.env["PATH"] ?? ""].join(
    delimiter,
  );
  const env = { ...Object.fromEntries(kept), PATH: path };
  return new Promise((resolve, reject) => {
    execFile(file, [...args], { cwd: options.cwd, env, timeout: DEADLINE_MS }, (error, stdout, stderr) => {
      const status = error === null ? 0 : error.code;
      if (typeof status === "number") resolve({ status, stdout, stderr });
      else reject(error ?? new Error(`${file} was ended`));
    });
  });
}

async function succeed(...given: Parameters<typeof run>): Promise<string> {
  const { status, stdout, stderr } = await run(...given);
  assert.equal(status, 0, `${given[0]} ${given[1].join(" ")}: ${stderr}`);
  return stdout;
}

async function install(folder: string): Promise<Place> {
  const staged = join(folder, "staged");
  mkdirSync(staged);
  for (const path of ["package.json", "README.md", "LICENSE", ...MANIFEST.files]) {
    if (path !== "dist") cpSync(join(ROOT, path), join(staged, path), { recursive: true });
  }
  await succeed(process.execPath, [join(ROOT, "build/build.ts"), "--out", join(staged, "dist")]);
  // Not its script `prepare`: that would build the repository's own `dist`, which others use meanwhile.
  const told = await succeed("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", folder], {
    cwd: staged,
  });
  const [pack] = JSON.parse(told) as readonly [
    { readonly filename: string; readonly files: readonly { readonly path: string }[] },
  ];
  const installed = join(folder, "elsewhere");
  mkdirSync(installed);
  const quietly = ["--offline", "--no-audit", "--no-fund"];
  await succeed("npm", ["install", ...quietly, "--prefix", installed, join(folder, pack.filename)]);
  return { staged, installed, packed: pack.files.map(({ path }) => path) };
}

test("package: what is packed is the program, its page, its papers and nothing else", () => {
  const parts = place.packed.filter((path) => /^dist\/parts\/[\w.-]+-[A-Z0-9]{8}\.mjs$/.test(path));
  const rest = place.packed.filter((path) => !parts.includes(path));
  assert.deepEqual(rest.toSorted(), FILES);
  assert.ok(parts.length > 0);
});

test("package: nothing is installed beside it, since it carries what it needs", () => {
  const folders = readdirSync(join(place.installed, "node_modules")).filter((name) => !name.startsWith("."));
  assert.deepEqual(folders, ["skein"]);
  assert.equal(existsSync(join(place.installed, "node_modules/skein/node_modules")), false);
});

test("package: npx skein version tells the version, from a folder that knows nothing of the sources", async () => {
  const node = dirname(process.execPath);
  const told = await succeed("npx", ["--offline", "skein", "version"], { cwd: place.installed, path: node });
  assert.match(told, new RegExp(`^skein +${MANIFEST.version.replaceAll(".", "\\.")}$`, "m"));
});

test("package: a wrong configuration is told as it is from the sources", async () => {
  const program = join(place.installed, "node_modules/skein/dist/skein.mjs");
  const args = ["config", "check", join(place.installed, "missing.yaml")];
  const [packed, source] = await Promise.all(
    [program, join(ROOT, "src/main.ts")].map((main) => run(process.execPath, [main, ...args])),
  );
  assert.deepEqual(packed, source);
  assert.equal(packed?.status, 3);
});

test("package: an older Node is told what is needed, in one line, and ends with 1", async (t) => {
  const older = olderNode();
  if (older === null) {
    t.skip("there is no Node older than 24 on this machine's PATH");
    return;
  }
  const ended = await run(older, [join(place.installed, "node_modules/skein/dist/skein.mjs"), "version"]);
  const version = execFileSync(older, ["--version"], { encoding: "utf8" }).trim();
  assert.deepEqual(ended, {
    status: 1,
    stdout: "",
    stderr: `skein: needs Node 24 or newer, this is ${version} (${older})\n`,
  });
});

function olderNode(): string | null {
  const candidates = (process.env["PATH"] ?? "").split(delimiter).map((folder) => join(folder, "node"));
  const isOlder = (path: string): boolean =>
    existsSync(path) && parseInt(execFileSync(path, ["--version"], { encoding: "utf8" }).slice(1), 10) < 24;
  return candidates.find(isOlder) ?? null;
}

test("package: a build can be warmed for an image whose root is read-only", async () => {
  const cache = join(dir, "compile-cache");
  const args = ["--dist", join(place.staged, "dist"), "--cache", cache];
  await succeed(process.execPath, [join(ROOT, "build/warm.ts"), ...args]);
  const files = readdirSync(cache, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  assert.ok(files.length > 1, "what a start and a command loaded is there");
  for (const { parentPath, name } of files) {
    assert.equal(statSync(join(parentPath, name)).mode & 0o777, 0o644, `anybody may read ${name}`);
  }
});

test("package: the same sources give the same bytes", async () => {
  const again = join(dir, "again");
  await succeed(process.execPath, [join(ROOT, "build/build.ts"), "--out", again]);
  const contents = (folder: string): readonly (readonly [string, string])[] =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .toSorted()
      .map((path) => [path.slice(folder.length), readFileSync(path, "latin1")] as const);
  assert.deepEqual(contents(again), contents(join(place.staged, "dist")));
});

test("package: licences of all that is shipped lie beside it", () => {
  const { shipped } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { shipped: string[] };
  const text = readFileSync(join(place.staged, "dist/LICENSES"), "utf8");
  for (const name of shipped) assert.ok(text.includes(`\n  ${name} `), name);
  assert.doesNotMatch(text, /^ {2}(?:ssh2|protobufjs|@grpc\/grpc-js) /m, "what is stubbed is not shipped");
});

test("package: a build that cannot be made says so and leaves what was there", async () => {
  const { status, stderr } = await run(process.execPath, [
    join(ROOT, "build/build.ts"),
    "--out",
    join(dir, "nosuch/dist"),
  ]);
  assert.equal(status, 1);
  assert.match(stderr, /^nothing was built: .*nosuch/);
});
