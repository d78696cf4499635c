// The contract's files as text: what the words of the OpenAPI document, and checks of its completeness, come from.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = join(import.meta.dirname, "../../src/admin");

/** Texts of contract.ts and of every contract-*.ts. */
export function contractTexts(): readonly string[] {
  const names = readdirSync(FOLDER).filter((name) => /^contract(-\w+)?\.ts$/.test(name));
  return [...names.sort(), "../model/service.ts"].map((name) => readFileSync(join(FOLDER, name), "utf8"));
}
