// The contract of Seals: one suite that the real ones and the cheap ones both pass, so that tests may use those.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import type { Credential, Role } from "../../src/model/credential.ts";
import type { NodeId } from "../../src/model/ids.ts";
import { SEAL_BYTES, type ContentSum, type SealedHead, type Seals } from "../../src/model/seal.ts";

/** A node and its seals. */
export interface Sealer {
  readonly id: NodeId;
  readonly seals: Seals;
}

/** Where nodes come from. */
export interface SealersWorld {
  /** When the certificates are good. Unix milliseconds. */
  readonly nowMs: number;
  /** After the end of certificates made with `ends`. */
  readonly afterMs: number;
  /** A new node with a certificate; `ends` for one that is over by `afterMs`, else it is good then, too. */
  readonly make: (options?: {
    readonly role?: Role;
    readonly cluster?: "this" | "other";
    readonly ends?: boolean;
  }) => Promise<Sealer> | Sealer;
}

type Entry = readonly [key: string, version: number, body: string];

const entry: fc.Arbitrary<Entry> = fc.tuple(
  fc.string({ unit: "binary", maxLength: 12 }),
  fc.oneof(fc.nat({ max: 9 }), fc.maxSafeNat()),
  fc.string({ unit: "binary", maxLength: 40 }),
);

const ENTRIES: readonly Entry[] = [
  ["node", 1, "{}"],
  ["replica/a", 2, "x".repeat(500)],
  ["life", 3, ""],
];

/** Runs the suite over an implementation. */
export function sealsContract(name: string, open: () => Promise<SealersWorld> | SealersWorld): void {
  describe(`${name}: sums`, () => sumsContract(open));
  describe(`${name}: certificates`, () => certificatesContract(open));
  describe(`${name}: seals`, () => sealingContract(open));
  describe(`${name}: words`, () => wordsContract(open));
}

function sumsContract(open: () => Promise<SealersWorld> | SealersWorld): void {
  it("do not depend on the order of what was added, nor on what was taken away again", async () => {
    const { equal } = await comparing(open);
    const { make } = await open();
    const { seals } = await make();
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 6 }), fc.array(entry, { maxLength: 3 }), (kept, gone) => {
        const one = sumOf(seals, kept);
        const other = sumOf(seals, [...gone, ...kept.toReversed()]);
        for (const [key, version, body] of gone) other.remove(key, version, body);
        assert.ok(equal(one, other), JSON.stringify([kept, gone]));
      }),
      { numRuns: 50 },
    );
  });

  it("tell apart what differs in a key, a version, a body, or in where one ends and the next begins", async () => {
    const { equal } = await comparing(open);
    const { seals } = await (await open()).make();
    const sums: readonly (readonly Entry[])[] = [
      [],
      [["ab", 1, "c"]],
      [["a", 1, "bc"]],
      [["", 1, "abc"]],
      [["abc", 1, ""]],
      [["ab", 11, "c"]],
      [["ab", 2 ** 40 + 1, "c"]],
      [["1ab", 1, "c"]],
      [["ab", 1, "C"]],
      [["ab", 1, "c "]],
      [["ab", 1, "c\0"]],
      [
        ["ab", 1, "c"],
        ["ab", 1, "c"],
      ],
      [
        ["a", 1, "b"],
        ["c", 2, "d"],
      ],
      [
        ["a", 2, "b"],
        ["c", 1, "d"],
      ],
      [
        ["a", 1, "d"],
        ["c", 2, "b"],
      ],
    ];
    for (const [index, one] of sums.entries()) {
      for (const [at, other] of sums.entries()) {
        const same = equal(sumOf(seals, one), sumOf(seals, other));
        assert.equal(same, index === at, `${JSON.stringify(one)} and ${JSON.stringify(other)}`);
      }
    }
  });

  it("are over texts as they come over the wire: half a surrogate pair counts as U+FFFD", async () => {
    const { equal } = await comparing(open);
    const { seals } = await (await open()).make();
    const [written, arrived] = ["a\ud800b", "a\ufffdb"];
    assert.ok(equal(sumOf(seals, [[written, 1, written]]), sumOf(seals, [[arrived, 1, arrived]])));
  });

  it("are copied: what is done to a copy does not touch what it was copied from", async () => {
    const { equal } = await comparing(open);
    const { seals } = await (await open()).make();
    const sum = sumOf(seals, ENTRIES);
    const copy = sum.copy();
    assert.ok(equal(copy, sum));
    copy.add("more", 9, "x");
    assert.ok(!equal(copy, sum));
    assert.ok(equal(sum, sumOf(seals, ENTRIES)));
  });
}

function certificatesContract(open: () => Promise<SealersWorld> | SealersWorld): void {
  it("tell who holds them and in which role, to whoever is of the same cluster", async () => {
    const { make, nowMs } = await open();
    const reader = await make();
    for (const role of ["manager", "worker"] as const) {
      const { id, seals } = await make({ role });
      const read = reader.seals.credentialOf(id, seals.certificate, nowMs);
      assert.ok(read.ok);
      assert.deepEqual([read.value.id, read.value.role], [id, role]);
      assert.ok(read.value.notAfterMs > nowMs);
    }
  });

  it("are refused for another node, of another cluster, after their end, and when they are none", async () => {
    const { make, nowMs, afterMs } = await open();
    const [reader, other, foreign] = [await make(), await make(), await make({ cluster: "other" })];
    const ending = await make({ ends: true });
    const refused = (owner: NodeId, certificate: string, atMs = nowMs): void => {
      const read = reader.seals.credentialOf(owner, certificate, atMs);
      assert.ok(!read.ok, certificate);
    };
    refused(other.id, reader.seals.certificate);
    refused(foreign.id, foreign.seals.certificate);
    assert.ok(reader.seals.credentialOf(ending.id, ending.seals.certificate, nowMs).ok);
    refused(ending.id, ending.seals.certificate, afterMs);
    for (const junk of ["", "{}", "null", "x", "AAAA", other.seals.certificate.slice(0, -9)])
      refused(other.id, junk);
  });
}

function sealingContract(open: () => Promise<SealersWorld> | SealersWorld): void {
  it("fit what their maker sealed, in the eyes of all others and in its own", async () => {
    const { make, nowMs } = await open();
    const [maker, other] = [await make(), await make()];
    const head: SealedHead = { owner: maker.id, incarnation: 2 ** 40, version: 7 };
    const seal = maker.seals.seal(head, sumOf(maker.seals, ENTRIES));
    assert.equal(seal.byteLength, SEAL_BYTES);
    for (const { seals } of [maker, other]) {
      const by = credentialOf(seals, maker, nowMs);
      assert.ok(seals.isSealed(by, head, sumOf(seals, ENTRIES), seal, nowMs));
    }
  });

  it("fit nothing else: no other owner, life, version or content, and no seal that was touched", async () => {
    const { make, nowMs } = await open();
    const [maker, other] = [await make(), await make()];
    const { seals } = other;
    const by = credentialOf(seals, maker, nowMs);
    const head: SealedHead = { owner: maker.id, incarnation: 3, version: 7 };
    const seal = maker.seals.seal(head, sumOf(maker.seals, ENTRIES));
    const fits = (part: Partial<SealedHead>, entries = ENTRIES, mark = seal): boolean =>
      seals.isSealed(by, { ...head, ...part }, sumOf(seals, entries), mark, nowMs);
    assert.ok(fits({}));
    assert.ok(!fits({ owner: other.id }));
    assert.ok(!fits({ incarnation: 4 }));
    assert.ok(!fits({ version: 8 }));
    assert.ok(!fits({ incarnation: 7, version: 3 }));
    assert.ok(!fits({}, ENTRIES.slice(1)));
    assert.ok(!fits({}, [...ENTRIES, ["more", 4, "x"]]));
    for (const at of [0, SEAL_BYTES - 1]) {
      const touched = Uint8Array.from(seal);
      touched[at] = (touched[at] ?? 0) ^ 1;
      assert.ok(!fits({}, ENTRIES, touched));
    }
    for (const length of [0, SEAL_BYTES - 1]) assert.ok(!fits({}, ENTRIES, seal.subarray(0, length)));
    assert.ok(!fits({}, ENTRIES, new Uint8Array(SEAL_BYTES)));
  });

  it("of one node do not pass for another's, nor one cluster's for another's", async () => {
    const { make, nowMs } = await open();
    const [maker, liar, foreign] = [await make(), await make(), await make({ cluster: "other" })];
    const head: SealedHead = { owner: maker.id, incarnation: 3, version: 7 };
    const by = credentialOf(liar.seals, maker, nowMs);
    for (const { seals } of [liar, foreign]) {
      const seal = seals.seal(head, sumOf(seals, ENTRIES));
      assert.ok(!maker.seals.isSealed(by, head, sumOf(maker.seals, ENTRIES), seal, nowMs));
    }
    const own = liar.seals.seal({ ...head, owner: liar.id }, sumOf(liar.seals, ENTRIES));
    assert.ok(!maker.seals.isSealed(by, head, sumOf(maker.seals, ENTRIES), own, nowMs));
  });

  it("count no more once the certificate has ended", async () => {
    const { make, nowMs, afterMs } = await open();
    const [maker, { seals }] = [await make({ ends: true }), await make()];
    const head: SealedHead = { owner: maker.id, incarnation: 1, version: 1 };
    const seal = maker.seals.seal(head, sumOf(maker.seals, ENTRIES));
    const by = credentialOf(seals, maker, nowMs);
    assert.ok(seals.isSealed(by, head, sumOf(seals, ENTRIES), seal, nowMs));
    assert.ok(!seals.isSealed(by, head, sumOf(seals, ENTRIES), seal, afterMs));
  });
}

function wordsContract(open: () => Promise<SealersWorld> | SealersWorld): void {
  it("are their maker's, letter by letter, and nobody else's", async () => {
    const { make, nowMs } = await open();
    const [maker, other] = [await make(), await make()];
    const by = credentialOf(other.seals, maker, nowMs);
    const signature = maker.seals.sign("rumor x");
    assert.equal(signature.byteLength, SEAL_BYTES);
    assert.ok(other.seals.isSigned(by, "rumor x", signature));
    assert.ok(!other.seals.isSigned(by, "rumor y", signature));
    assert.ok(!other.seals.isSigned(by, "rumor x ", signature));
    assert.ok(!maker.seals.isSigned(by, "rumor x", other.seals.sign("rumor x")));
    assert.ok(!other.seals.isSigned(credentialOf(maker.seals, other, nowMs), "rumor x", signature));
    assert.ok(!other.seals.isSigned(by, "rumor x", signature.subarray(1)));
  });

  it("do not pass for seals, nor seals for words", async () => {
    const { make, nowMs } = await open();
    const [maker, { seals }] = [await make(), await make()];
    const by = credentialOf(seals, maker, nowMs);
    const head: SealedHead = { owner: maker.id, incarnation: 1, version: 1 };
    const sum = sumOf(seals, ENTRIES);
    assert.ok(!seals.isSealed(by, head, sum, maker.seals.sign(""), nowMs));
    assert.ok(!seals.isSigned(by, "", maker.seals.seal(head, sumOf(maker.seals, ENTRIES))));
  });
}

/** Whether two sums are equal, as a seal tells: sums are not to be looked into. */
async function comparing(
  open: () => Promise<SealersWorld> | SealersWorld,
): Promise<{ readonly equal: (one: ContentSum, other: ContentSum) => boolean }> {
  const { make, nowMs } = await open();
  const maker = await make();
  const by = credentialOf(maker.seals, maker, nowMs);
  const head: SealedHead = { owner: maker.id, incarnation: 1, version: 1 };
  return {
    equal: (one, other) => maker.seals.isSealed(by, head, other, maker.seals.seal(head, one), nowMs),
  };
}

function sumOf(seals: Seals, entries: readonly Entry[]): ContentSum {
  const sum = seals.emptySum();
  for (const [key, version, body] of entries) sum.add(key, version, body);
  return sum;
}

function credentialOf(reader: Seals, maker: Sealer, nowMs: number): Credential {
  const read = reader.credentialOf(maker.id, maker.seals.certificate, nowMs);
  assert.ok(read.ok);
  return read.value;
}
