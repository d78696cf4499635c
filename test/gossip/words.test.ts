// What is signed says all that is meant: no two different words read alike.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import type { DrainAsk, Rumor } from "../../src/gossip/message.ts";
import { drainText, reportText, rumorText, signedRumor } from "../../src/gossip/words.ts";
import { cheapSeals } from "../support/cheap-seals.ts";
import { idOf } from "../support/gossip-network.ts";
import { credentialOf } from "../support/sealed.ts";

const id = fc.constantFrom(idOf("a"), idOf("b"));
const number = fc.nat({ max: 12 });
const rumor: fc.Arbitrary<Rumor> = fc.record({
  kind: fc.constantFrom("suspect", "refused", "dead"),
  subject: id,
  incarnation: number,
  refutation: number,
  by: id,
});
const report = fc.record({ owner: id, incarnation: number, version: number, by: id });
const ask: fc.Arbitrary<Omit<DrainAsk, "signature">> = fc.record({
  owner: id,
  incarnation: number,
  version: number,
  replica: fc.string({ unit: fc.constantFrom("a", " ", "1"), maxLength: 4 }),
  draining: fc.boolean(),
  asker: id,
});
type Word =
  | { readonly rumor: Rumor }
  | { readonly report: { owner: string; incarnation: number; version: number; by: string } }
  | { readonly ask: Omit<DrainAsk, "signature"> };
const word: fc.Arbitrary<Word> = fc.oneof(
  rumor.map((rumor) => ({ rumor })),
  report.map((report) => ({ report })),
  ask.map((ask) => ({ ask })),
);

function textOf(word: Word): string {
  if ("rumor" in word) return rumorText(word.rumor);
  return "report" in word ? reportText(word.report, word.report.by) : drainText(word.ask);
}

test("words: two of them read alike only when they are the same", () => {
  fc.assert(
    fc.property(word, word, (one, other) => {
      const same = JSON.stringify(one, sorted) === JSON.stringify(other, sorted);
      assert.equal(textOf(one) === textOf(other), same, `${textOf(one)} | ${textOf(other)}`);
    }),
    { numRuns: 2000 },
  );
});

function sorted(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).toSorted(([one], [other]) => (one < other ? -1 : 1)));
}

test("words: a rumor that travels has the signature of who says so", () => {
  const said: Rumor = { kind: "dead", subject: idOf("b"), incarnation: 1, refutation: 2, by: idOf("a") };
  const { signature } = signedRumor(said, cheapSeals(idOf("a")));
  const reader = cheapSeals(idOf("reader"));
  assert.ok(reader.isSigned(credentialOf(idOf("a")), rumorText(said), signature));
  assert.ok(!reader.isSigned(credentialOf(idOf("b")), rumorText(said), signature));
});
