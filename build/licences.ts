/**
 * Licences: the texts that the packages in the bundle ask to be kept, as one file beside it.
 *
 * What was bundled is told by the bundler itself, so nothing is listed that is not there and nothing is left out. A
 * package without a licence in its manifest and without a licence file stops the build: somebody should look at it.
 *
 * Touches: files, for reading only.
 */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { Failure } from "../src/base/failure.ts";

/** A package whose code is shipped. */
interface Shipped {
  readonly name: string;
  readonly version: string;
  readonly licence: string;
  readonly text: string;
}

const FILE = /^(?:licen[cs]e|copying|notice)(?:[.-].*)?$/i;
const PACKAGE = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/;

/**
 * The text of `dist/LICENSES`.
 *
 * @param inputs  paths of all files that went into what is shipped, relative to `root`
 * @throws Failure `invalid` naming a package that does not say how it is licensed
 */
export function licencesOf(root: string, inputs: Iterable<string>): string {
  const folders = new Set([...inputs].flatMap((path) => PACKAGE.exec(path)?.[0] ?? []));
  const shipped = [...folders].toSorted().map((folder) => read(root, folder));
  const head = "Skein is licensed under the Apache License 2.0 (LICENSE). This build of it holds code of:\n";
  const list = shipped.map(({ name, version, licence }) => `  ${name} ${version} (${licence})\n`);
  const texts = shipped.map(
    ({ name, version, text }) => `\n${"-".repeat(72)}\n${name} ${version}\n\n${text}\n`,
  );
  return [head, "\n", ...list, ...texts].join("");
}

function read(root: string, folder: string): Shipped {
  const path = join(root, folder);
  const manifest = JSON.parse(readFileSync(join(path, "package.json"), "utf8")) as Partial<
    Record<"name" | "version" | "license", unknown>
  >;
  const texts = readdirSync(path)
    .filter((file) => FILE.test(file))
    .toSorted()
    .map((file) => readFileSync(join(path, file), "utf8").trim());
  const { name, version, license } = manifest;
  if (typeof license !== "string" && texts.length === 0) {
    throw new Failure(
      "invalid",
      `${folder} does not say how it is licensed; look at it before it is shipped`,
    );
  }
  return {
    name: String(name),
    version: String(version),
    licence: typeof license === "string" ? license : "see below",
    text: texts.length > 0 ? texts.join("\n\n") : `Licensed under ${String(license)}, by its package.json.`,
  };
}
