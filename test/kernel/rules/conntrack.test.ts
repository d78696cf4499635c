// Conntrack: one call that fails costs no other, and those that wait do not wait for it.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { openConntrack, type Flows } from "../../../src/kernel/rules/conntrack.ts";
import { FEW } from "../../../src/kernel/rules/flows.ts";
import { endpointKey, type Endpoint } from "../../../src/kernel/rules/ruleset.ts";

const NONE: ReadonlyMap<string, Endpoint> = new Map();

function udp(last: number): Endpoint {
  return { address: `172.17.0.${last}`, transport: "udp", port: 53 };
}

function keyed(...endpoints: readonly Endpoint[]): ReadonlyMap<string, Endpoint> {
  return new Map(endpoints.map((endpoint) => [endpointKey(endpoint), endpoint]));
}

interface Stage {
  readonly flows: Flows;
  /** What the program was told, a call each; then nothing. */
  readonly calls: () => readonly string[];
  readonly mend: () => void;
}

/** A program that notes its arguments, knows flows of 172.17.0.5 only, and fails for 172.17.0.3 until it is mended. */
function stage(t: TestContext): Stage {
  const dir = mkdtempSync(join(tmpdir(), "skein-conntrack-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const log = join(dir, "log");
  const listed =
    "udp src=172.17.0.9 dst=10.96.0.1 sport=1 dport=53 src=172.17.0.5 dst=172.17.0.9 sport=53 dport=1";
  const lines = [
    `echo "$*" >> ${log}`,
    `case "$*" in -L*ipv4*udp*) echo "${listed}";;`,
    `*-D*172.17.0.3*) [ -e ${dir}/mended ] || { echo "is busy" >&2; exit 1; };; esac`,
  ];
  writeFileSync(join(dir, "program"), `${lines.join("\n")}\n`);
  writeFileSync(log, "");
  return {
    flows: openConntrack(["sh", join(dir, "program")]),
    calls: () => {
      const said = readFileSync(log, "utf8").split("\n").filter(Boolean);
      writeFileSync(log, "");
      return said;
    },
    mend: () => writeFileSync(join(dir, "mended"), ""),
  };
}

const deletions = (calls: readonly string[]): readonly string[] =>
  calls.flatMap((call) => /^-D .*--reply-src (\S+)/.exec(call)?.[1] ?? []);

test("conntrack: a call that fails is told and costs no other; it is tried again later", async (t) => {
  const { flows, calls, mend } = stage(t);
  flows.forget(keyed(udp(2), udp(3), udp(4)), NONE);
  await flows.idle();
  assert.deepEqual(deletions(calls()), ["172.17.0.2", "172.17.0.3", "172.17.0.4"]);
  assert.match(flows.problem ?? "", /conntrack says: is busy/);
  mend();
  flows.resume();
  await flows.idle();
  assert.deepEqual([deletions(calls()), flows.problem], [["172.17.0.3"], null]);
});

test("conntrack: where many go it is asked once who has flows", async (t) => {
  const { flows, calls } = stage(t);
  flows.forget(keyed(...Array.from({ length: FEW + 1 }, (_, at) => udp(at + 4))), NONE);
  await flows.idle();
  const said = calls();
  assert.deepEqual(deletions(said), ["172.17.0.5"]);
  assert.equal(said.length, 5, "four lists: of UDP and TCP, in both families");
});

test("conntrack: an upstream that is back before its turn keeps its flows", async (t) => {
  const { flows, calls } = stage(t);
  flows.forget(keyed(udp(2), udp(4)), NONE);
  flows.forget(NONE, keyed(udp(4)));
  await flows.idle();
  assert.deepEqual(deletions(calls()), ["172.17.0.2"]);
});

test("conntrack: a sweep forgets listed flows whose upstream may keep none", async (t) => {
  const { flows, calls } = stage(t);
  flows.sweep(keyed(udp(2)));
  await flows.idle();
  assert.deepEqual(deletions(calls()), ["172.17.0.5"]);
  flows.sweep(keyed(udp(5)));
  await flows.idle();
  assert.deepEqual(deletions(calls()), []);
});
