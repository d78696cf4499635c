/**
 * Dashboard: the page that the daemon serves, as `dist/dashboard/`.
 *
 * Names carry no hash: the daemon serves the files with an ETag and has them asked for again each time. No source maps:
 * the page is small, and its sources are in the repository. Beside each file lies its packed form, so that the daemon
 * has nothing to pack.
 *
 * Touches: files.
 */

import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";

import { inputsOf } from "./bundle.ts";

/** Copied as they are. */
const PLAIN: readonly string[] = ["index.html", "icon.svg"];

/**
 * Writes the page into `outdir`.
 *
 * @returns paths of what went into it, relative to `root`
 * @throws when a file does not compile: esbuild has said which
 */
export async function buildDashboard(root: string, outdir: string): Promise<readonly string[]> {
  mkdirSync(outdir, { recursive: true });
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: [
      { in: "src/dashboard/main.tsx", out: "app" },
      { in: "src/dashboard/app.css", out: "app" },
    ],
    outdir,
    bundle: true,
    platform: "browser",
    format: "esm",
    target: "es2022",
    minify: true,
    jsx: "automatic",
    jsxImportSource: "preact",
    legalComments: "none",
    metafile: true,
    logLevel: "warning",
  });
  for (const name of PLAIN) copyFileSync(join(root, "src/dashboard", name), join(outdir, name));
  for (const name of readdirSync(outdir)) {
    const packed = gzipSync(readFileSync(join(outdir, name)), { level: 9 });
    writeFileSync(join(outdir, `${name}.gz`), packed);
  }
  return inputsOf(metafile);
}
