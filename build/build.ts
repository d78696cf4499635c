/**
 * Build: what is shipped, made from the sources, as `dist/`.
 *
 *     npm run build
 *     node build/build.ts --out <folder>
 *
 * The same sources give the same bytes. `npm ci` runs it too, by the script `prepare`; the sources run without it, and
 * then the daemon has no dashboard to serve. All is written beside and put in place in the end, so that a daemon that
 * runs from there never finds half of it.
 *
 * Touches: files, standard streams, exit status.
 */

import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { bundleDaemon } from "./bundle.ts";
import { buildDashboard } from "./dashboard.ts";
import { launcherOf } from "./launcher.ts";
import { licencesOf } from "./licences.ts";

const ROOT = join(import.meta.dirname, "..");

try {
  const { values } = parseArgs({ options: { out: { type: "string", default: join(ROOT, "dist") } } });
  const out = resolve(values.out);
  const startMs = performance.now();
  await buildInto(out);
  const kilobytes = (sizeOf(out) / 1000).toFixed(0);
  process.stdout.write(`${out}: ${kilobytes} kB in ${(performance.now() - startMs).toFixed(0)} ms\n`);
} catch (thrown) {
  process.stderr.write(`nothing was built: ${thrown instanceof Error ? thrown.message : String(thrown)}\n`);
  process.exitCode = 1;
}

async function buildInto(out: string): Promise<void> {
  const next = mkdtempSync(`${out}.`);
  try {
    const bundled = await bundleDaemon(ROOT, next);
    const paged = await buildDashboard(ROOT, join(next, "dashboard"));
    writeFileSync(join(next, "LICENSES"), licencesOf(ROOT, [...bundled, ...paged]));
    writeFileSync(join(next, "skein.mjs"), launcherOf(oldestNode()));
    chmodSync(join(next, "skein.mjs"), 0o755);
    chmodSync(next, 0o755);
    rmSync(out, { recursive: true, force: true });
    renameSync(next, out);
  } finally {
    rmSync(next, { recursive: true, force: true });
  }
}

/** The major version that package.json asks for. */
function oldestNode(): number {
  const { engines } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
    readonly engines: { readonly node: string };
  };
  return Number(/\d+/.exec(engines.node)?.[0]);
}

function sizeOf(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}
