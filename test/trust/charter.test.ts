// What managers decided: one outcome whatever the order in which it is heard, and bounds whatever anybody writes.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import type { Charter, NetworkDecision, Root } from "../../src/model/charter.ts";
import { LIMITS } from "../../src/model/limits.ts";
import {
  charterEntries,
  charterOf,
  GENERATION_MAX,
  isClusterId,
  mergeCharter,
  parseCharter,
  readCharterEntry,
  trustedRoots,
  withoutEnded,
  type CharterPart,
  type VerifyRoot,
} from "../../src/trust/charter.ts";

const CLUSTER = "abcdefghijklmnopqrst";

function fingerprintOf(generation: number, twin = 0): string {
  return `${(generation * 7919 + twin) % 1000}`.padStart(64, "0");
}

function rootOf(generation: number, changed: Partial<Root> = {}): Root {
  const fingerprint = changed.fingerprint ?? fingerprintOf(generation);
  const cross = generation === 1 ? null : crossBy(fingerprintOf(generation - 1));
  return { fingerprint, certificate: "AAAA", cross, generation, retired: false, ...changed };
}

/** A cross that only the authority with this fingerprint can make. */
function crossBy(fingerprint: string, mark = "A"): string {
  return `${mark}${fingerprint}`;
}

/** As the real one: the cross names who made it. */
const verifyRoot: VerifyRoot = ({ cross }, known) =>
  known.some(({ fingerprint }) => cross?.slice(1) === fingerprint);

function merge(one: Charter, other: Charter): Charter {
  return mergeCharter(one, other, verifyRoot);
}

const nodeId = fc
  .integer({ min: 0, max: 9 })
  .map((last) => "abcdefghijklmnopqrs".concat("abcdefghij"[last] ?? ""));
const generation = fc.integer({ min: 1, max: 5 });
const revocation = fc.record({ id: nodeId, untilMs: fc.integer({ min: 0, max: 20 }) });

const network: fc.Arbitrary<NetworkDecision> = fc
  .record({ name: fc.constantFrom("app", "back", "c"), order: generation, vni: fc.constantFrom(5000, 0) })
  .map(({ name, order, vni }) => {
    const made = { range: "10.160.0.0/16", sliceBits: 24, vni, encrypted: false, ipv6: true };
    return { name, order, definition: vni === 0 ? null : made };
  });

/** Charters of one cluster: each knows a first part of one chain of authorities, and marks some of it retired. */
const charter: fc.Arbitrary<Charter> = fc
  .record({
    depth: fc.integer({ min: 1, max: 5 }),
    retired: fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }),
    marks: fc.array(fc.constantFrom("A", "B"), { minLength: 5, maxLength: 5 }),
    hasTwin: fc.boolean(),
    tokens: fc.record({ worker: generation, manager: generation }),
    revoked: fc.uniqueArray(revocation, { selector: ({ id }) => id, maxLength: 6 }),
    networks: fc.uniqueArray(network, { selector: ({ name }) => name }),
  })
  .map(({ depth, retired, marks, hasTwin, tokens, revoked, networks }) => {
    const roots = Array.from({ length: depth }, (_, at) => {
      const cross = at === 0 ? null : crossBy(fingerprintOf(at), marks[at]);
      return rootOf(at + 1, { retired: retired[at] ?? false, cross });
    });
    // Two managers who rotated at the same time.
    if (hasTwin && depth > 1) roots.push(rootOf(2, { fingerprint: fingerprintOf(2, 1) }));
    return charterOf(CLUSTER, [
      { kind: "tokens", tokens },
      ...roots.map((root) => ({ kind: "root", root }) as const),
      ...revoked.map((one) => ({ kind: "revocation", revocation: one }) as const),
      ...networks.map((decision) => ({ kind: "network", decision }) as const),
    ]);
  });

describe("charter", () => {
  it("whoever hears what first, all end with the same charter", () => {
    fc.assert(
      fc.property(charter, charter, charter, (one, other, third) => {
        assert.deepEqual(merge(one, other), merge(other, one));
        assert.deepEqual(merge(merge(one, other), third), merge(one, merge(other, third)));
        assert.deepEqual(merge(one, one), one);
      }),
      { numRuns: 500 },
    );
  });

  it("nothing new leaves the very same object, and its parts stay the same where only others changed", () => {
    fc.assert(
      fc.property(charter, charter, (one, other) => {
        const merged = merge(one, other);
        assert.equal(merge(merged, other), merged);
        assert.equal(merge(merged, structuredClone(one)), merged);
        const more = merge(merged, { ...merged, tokens: { worker: 9, manager: 9 } });
        assert.equal(more.roots, merged.roots);
        assert.equal(more.revoked, merged.revoked);
        assert.equal(more.networks, merged.networks);
      }),
    );
  });

  it("what was decided is never taken back: not a removal, not a retirement, not a rotation", () => {
    fc.assert(
      fc.property(charter, charter, (one, other) => {
        const merged = merge(one, other);
        assert.ok(merged.tokens.worker >= Math.max(one.tokens.worker, other.tokens.worker));
        assert.ok(merged.tokens.manager >= Math.max(one.tokens.manager, other.tokens.manager));
        for (const { id, untilMs } of [...one.revoked, ...other.revoked])
          assert.ok(merged.revoked.some((kept) => kept.id === id && kept.untilMs >= untilMs));
        for (const { fingerprint, retired } of [...one.roots, ...other.roots])
          assert.ok(
            merged.roots.some((kept) => kept.fingerprint === fingerprint && (kept.retired || !retired)),
          );
      }),
    );
  });

  it("an authority that nobody known vouches for is not taken, nor what it alone vouches for", () => {
    const own = charterOf(CLUSTER, [{ kind: "root", root: rootOf(1) }]);
    const foreign = rootOf(1, { fingerprint: fingerprintOf(77) });
    const itsHeir = rootOf(2, { fingerprint: fingerprintOf(78), cross: crossBy(foreign.fingerprint) });
    const other = { ...own, roots: [foreign, itsHeir] };
    assert.equal(merge(own, other), own);
    const heir = rootOf(2);
    assert.deepEqual(
      merge(own, { ...own, roots: [heir, foreign, itsHeir] }).roots,
      merge(own, { ...own, roots: [heir] }).roots,
    );
  });

  it("who was away for several rotations catches up at once, in whatever order they are listed", () => {
    const own = charterOf(CLUSTER, [{ kind: "root", root: rootOf(1) }]);
    const roots = [
      rootOf(4),
      rootOf(3, { retired: true }),
      rootOf(2, { retired: true }),
      rootOf(1, { retired: true }),
    ];
    const merged = merge(own, { ...own, roots });
    assert.deepEqual(
      trustedRoots(merged).map(({ generation: number }) => number),
      [4],
    );
  });

  it("a cross that does not hold is not taken in place of one that does", () => {
    const own = charterOf(
      CLUSTER,
      [1, 2].map((number) => ({ kind: "root", root: rootOf(number) })),
    );
    const bad = rootOf(2, { cross: crossBy(fingerprintOf(99), "0") });
    assert.equal(merge(own, { ...own, roots: [bad] }), own);
    // Nor may an authority vouch for itself: everybody could.
    const self = rootOf(2, { cross: crossBy(fingerprintOf(2), "0") });
    assert.equal(merge(own, { ...own, roots: [self] }), own);
  });

  it("what is known of an authority is not changed by what another charter says it is", () => {
    const own = charterOf(CLUSTER, [{ kind: "root", root: rootOf(1) }]);
    const lie = { ...rootOf(1), certificate: "BBBB", generation: 5 };
    assert.equal(merge(own, { ...own, roots: [lie] }), own);
  });

  it("the newest authority counts even when it is marked as retired, and the mark counts once there is a newer", () => {
    const all = charterOf(
      CLUSTER,
      [1, 2].map((number) => ({ kind: "root", root: rootOf(number, { retired: true }) })),
    );
    assert.deepEqual(trustedRoots(all), [rootOf(2, { retired: true })]);
    const more = merge(all, { ...all, roots: [rootOf(3)] });
    assert.deepEqual(trustedRoots(more), [rootOf(3)]);
  });

  it("the newest authority comes first: it issues", () => {
    const some = charterOf(
      CLUSTER,
      [2, 3, 1].map((number) => ({ kind: "root", root: rootOf(number) })),
    );
    assert.deepEqual(
      trustedRoots(some).map(({ generation: number }) => number),
      [3, 2, 1],
    );
  });

  it("a charter of another cluster changes nothing", () => {
    fc.assert(
      fc.property(charter, charter, (one, other) => {
        assert.equal(merge(one, { ...other, clusterId: "tsrqponmlkjihgfedcba" }), one);
      }),
    );
  });

  it("what is written to a log and read there is the charter, and an order of entries does not matter", () => {
    fc.assert(
      fc.property(charter, (one) => {
        const parts = Array.from(charterEntries(one), ([key, body]) => {
          assert.ok(key.startsWith("cluster/") && key.length <= LIMITS.recordKeyBytes);
          const read = readCharterEntry(key, body);
          assert.ok(read.ok && read.value !== null);
          return read.value;
        });
        assert.deepEqual(charterOf(CLUSTER, parts), one);
        assert.deepEqual(charterOf(CLUSTER, parts.toReversed()), one);
        assert.deepEqual(parseCharter(JSON.parse(JSON.stringify(one))), { ok: true, value: one });
      }),
    );
  });

  it("removals are forgotten once their time is over, and nothing else is", () => {
    fc.assert(
      fc.property(charter, fc.integer({ min: 0, max: 21 }), (one, nowMs) => {
        const left = withoutEnded(one, nowMs);
        assert.deepEqual(left, { ...one, revoked: one.revoked.filter(({ untilMs }) => untilMs > nowMs) });
        if (left.revoked.length === one.revoked.length) assert.equal(left, one);
      }),
    );
  });

  it("whatever an entry holds it is read or refused, and a charter of anything stays within its bounds", () => {
    const number = fc.constantFrom(
      0,
      1,
      -1,
      1.5,
      2 ** 53,
      1e300,
      GENERATION_MAX,
      GENERATION_MAX + 1,
      Number.NaN,
      "1",
      null,
    );
    const cert = fc.constantFrom("AAAA", "A".repeat(6000), "", "no base64!", 7, null, { length: 4 });
    const body = fc.oneof(
      fc.json(),
      fc.string(),
      fc
        .record({ worker: number, manager: number }, { requiredKeys: [] })
        .map((value) => JSON.stringify(value)),
      fc.record({ untilMs: number }).map((value) => JSON.stringify(value)),
      fc
        .record({
          certificate: cert,
          cross: cert,
          generation: number,
          retired: fc.constantFrom(true, false, 1),
        })
        .map((value) => JSON.stringify(value)),
    );
    const key = fc.oneof(
      fc.constantFrom(
        "cluster/tokens",
        `cluster/root/${fingerprintOf(1)}`,
        "cluster/root/../x",
        "cluster/network/app",
        "cluster/network/../x",
        "cluster/revoked/abc",
      ),
      nodeId.map((id) => `cluster/revoked/${id}`),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(key, body), { maxLength: 30 }), (entries) => {
        const parts = entries.flatMap(([at, said]) => {
          const read = readCharterEntry(at, said);
          return read.ok && read.value !== null ? [read.value] : [];
        });
        const made = charterOf(CLUSTER, [{ kind: "root", root: rootOf(1) }, ...parts]);
        assert.deepEqual(parseCharter(JSON.parse(JSON.stringify(made))), { ok: true, value: made });
        for (const count of [
          made.tokens.worker,
          made.tokens.manager,
          ...made.roots.map((root) => root.generation),
        ])
          assert.ok(Number.isInteger(count) && count >= 1 && count <= GENERATION_MAX);
      }),
      { numRuns: 500 },
    );
  });

  it("a key that this version does not know is no mistake", () => {
    assert.deepEqual(readCharterEntry("cluster/motto", "{}"), { ok: true, value: null });
  });

  it("too many authorities and removals: the newest and those that end last are kept, in any merge", () => {
    const roots: CharterPart[] = Array.from({ length: 40 }, (_, at) => ({
      kind: "root",
      root: rootOf(at + 1),
    }));
    const removals: CharterPart[] = Array.from({ length: LIMITS.revokedMax + 100 }, (_, at) => ({
      kind: "revocation",
      revocation: { id: idOfNumber(at), untilMs: at },
    }));
    const many = charterOf(CLUSTER, [...roots, ...removals]);
    assert.deepEqual([many.roots.length, many.revoked.length], [LIMITS.rootsMax, LIMITS.revokedMax]);
    assert.equal(trustedRoots(many)[0]?.generation, 40);
    assert.ok(many.revoked.every(({ untilMs }) => untilMs >= 100));
    const merged = merge(
      charterOf(CLUSTER, roots.slice(0, 25)),
      charterOf(CLUSTER, [...roots.slice(12), ...removals]),
    );
    assert.equal(merged.roots.length, LIMITS.rootsMax);
    assert.equal(merge(many, charterOf(CLUSTER, removals.slice(0, 50))), many);
  });

  it("a charter of a version that knew no networks has none", () => {
    const { networks: _none, ...old } = charterOf(CLUSTER, [{ kind: "root", root: rootOf(1) }]);
    const read = parseCharter(JSON.parse(JSON.stringify(old)));
    assert.ok(read.ok);
    assert.deepEqual(read.value.networks, []);
  });

  it("a file that is no charter is refused", () => {
    const good: unknown = JSON.parse(JSON.stringify(charterOf(CLUSTER, [{ kind: "root", root: rootOf(1) }])));
    assert.ok(typeof good === "object");
    const bad = [
      null,
      [],
      7,
      {},
      { ...good, clusterId: "x" },
      { ...good, roots: [] },
      { ...good, roots: {} },
      { ...good, roots: [{ ...rootOf(1), fingerprint: 7 }] },
      { ...good, roots: Array.from({ length: LIMITS.rootsMax + 1 }, (_, at) => rootOf(at + 1)) },
      { ...good, tokens: { worker: 0, manager: 1 } },
      { ...good, tokens: null },
      { ...good, revoked: [{ id: "x", untilMs: 1 }] },
      { ...good, revoked: [null] },
      { ...good, revoked: undefined },
      { ...good, networks: {} },
      { ...good, networks: [{ name: "app", order: 1 }] },
      { ...good, networks: [{ name: "../x", order: 1, definition: null }] },
    ];
    for (const value of bad) {
      const parsed = parseCharter(value);
      assert.ok(!parsed.ok && parsed.failure.code === "corrupt", JSON.stringify(value));
    }
    assert.ok(isClusterId(CLUSTER) && !isClusterId(`${CLUSTER}a`) && !isClusterId("../.."));
  });
});

function idOfNumber(number: number): string {
  const digits = number.toString(26).split("");
  return digits
    .map((digit) => "abcdefghijklmnopqrstuvwxyz"[Number.parseInt(digit, 26)])
    .join("")
    .padStart(20, "a");
}
