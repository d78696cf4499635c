/**
 * Docs, as their reader meets them: three hosts from the image, the quick start from its first line to its last, the
 * commands of the other pages in between, and README at the end.
 *
 * `UPDATE_LOG=1` keeps what was seen as docs/quickstart.log; else the log there must be of the page as it stands.
 *
 * Touches: a lab of three hosts.
 */

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { blocksOf, pages, type Block } from "../docs/pages.ts";

import { openLab, type Lab } from "./lab.ts";
import { skipReason } from "./requirements.ts";
import { Typist, type Run } from "./typist.ts";

const LOG = fileURLToPath(new URL("../../docs/quickstart.log", import.meta.url));
const QUICK_START = "docs/quickstart.md";
/** What stands under this heading takes all down again; the other pages come before it. */
const LAST = "9. Take it down";
/** Pages whose blocks need no cluster, or make one of their own. */
const APART = ["README.md", "docs/security.md"];

const BLOCKS = [...pages()]
  .flatMap(([page, text]) => blocksOf(page, text))
  .filter(({ way }) => way.kind === "run");

function of(page: string): readonly Block[] {
  return BLOCKS.filter((block) => block.page === page);
}

/** The log of a run, for readers. */
function logOf(runs: readonly Run[], typist: Typist): string {
  const totalMs = runs.reduce((sum, { elapsedMs }) => sum + elapsedMs, 0);
  const parts = runs.map(({ block, typed, elapsedMs, answered }) => {
    const lines = typed.map(({ host, line, output }) => `${host}$ ${line}\n${output}`);
    const asked = answered === null ? "" : `(meanwhile ${answered} requests, all answered with 200)\n`;
    const seen = block.way.kind === "run" ? block.way.steps.page : [];
    const watched = seen.map((look) => `(the dashboard of ${typed[0]?.host} at ${look})\n`).join("");
    return `## ${block.under} (${(elapsedMs / 1000).toFixed(1)} s)\n\n${lines.join("")}${asked}${watched}`;
  });
  const seconds = (totalMs / 1000).toFixed(0);
  const head = `A run of quickstart.md on three hosts of the lab: ${seconds} s, beside the building of the image.`;
  return typist.asOnPage(`${head}\n\n${parts.join("\n")}`).replace(/[ \t]+$/gm, "");
}

describe("docs", { skip: skipReason(), timeout: 600_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "skein-docs-"));
  let lab: Lab;
  let typist: Typist;
  const runs: Run[] = [];

  before(async () => {
    lab = await openLab({ hosts: 3, images: "skein" });
    typist = await Typist.at(lab, folder);
  });
  after(async () => {
    await typist.close();
    await lab.close();
    rmSync(folder, { recursive: true });
  });

  const typeAll = async (blocks: readonly Block[]): Promise<void> => {
    for (const block of blocks) runs.push(await typist.type(block));
  };

  test("docs: the quick start works as it stands, with a host lost and an update under load", async () => {
    await typeAll(of(QUICK_START).filter(({ under }) => under !== LAST));
    assert.ok(runs.length > 8);
  });

  for (const page of new Set(BLOCKS.map((block) => block.page))) {
    if (page === QUICK_START || APART.includes(page)) continue;
    test(`docs: what ${page} says to type works on that cluster`, async () => {
      for (const block of of(page)) await typist.type(block);
    });
  }

  test("docs: taking it down leaves hosts that can begin anew", async () => {
    await typeAll(of(QUICK_START).filter(({ under }) => under === LAST));
    if (process.env["UPDATE_LOG"] === "1") writeFileSync(LOG, logOf(runs, typist));
    const kept = readFileSync(LOG, "utf8").split("\n");
    for (const { line } of runs.flatMap(({ typed }) => typed)) {
      assert.ok(
        kept.some((one) => one.endsWith(`$ ${line}`)),
        `the log is of another page: it lacks ${line}`,
      );
    }
  });

  for (const page of APART) {
    test(`docs: what ${page} says to type works on hosts without a daemon`, async () => {
      await typist.clear();
      for (const block of of(page)) await typist.type(block);
    });
  }
});
