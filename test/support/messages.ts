// Well-formed messages of every kind, for properties of whatever carries or reads them.

import * as fc from "fast-check";

import { REFUTATION_MAX } from "../../src/gossip/life.ts";
import {
  DIGEST_PARTS,
  WIRE_VERSION,
  type AppliedReport,
  type Delta,
  type Digest,
  type Head,
  type Hello,
  type Message,
  type Scope,
  type SignedRumor,
  type Until,
  type Write,
} from "../../src/gossip/message.ts";
import { RING_SIZE } from "../../src/gossip/ring.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { SEAL_BYTES } from "../../src/model/seal.ts";

/** The characters of an id. */
export const ID_CHARACTERS = Array.from("abcdefghijklmnopqrstuvwxyz234567");

/** A node's id. */
export const nodeId = fc.string({ unit: fc.constantFrom(...ID_CHARACTERS), minLength: 20, maxLength: 20 });

/** A version, incarnation or sequence: mostly small, as they are, but all are possible. */
const count = fc.oneof({ arbitrary: fc.nat({ max: 300 }), weight: 3 }, fc.maxSafeNat());

/** A seal or a signature; as bytes of its own, as they are read. */
const mark = fc
  .uint8Array({ minLength: SEAL_BYTES, maxLength: SEAL_BYTES })
  .map((bytes) => Uint8Array.from(bytes));

const refutation = fc.oneof(fc.nat({ max: 3 }), fc.integer({ min: 0, max: REFUTATION_MAX }));

const until: fc.Arbitrary<Until> = fc.option(fc.integer({ min: 0, max: RING_SIZE - 1 }));

const sum = fc.integer({ min: 0, max: 2 ** 48 - 1 });

/** Text of any characters that UTF-8 can tell, of at most so many UTF-16 units. */
function text(lengthMax: number): fc.Arbitrary<string> {
  const short = fc.string({ unit: "binary", maxLength: Math.min(lengthMax, 60) });
  return short.filter(({ length }) => length <= lengthMax);
}

const head: fc.Arbitrary<Head> = fc.record({
  owner: nodeId,
  incarnation: count,
  version: count,
  deadAt: fc.option(refutation),
});

const digest: fc.Arbitrary<Digest> = fc.array(head, { maxLength: 5 });

const scope: fc.Arbitrary<Scope> = fc.oneof(
  fc.constantFrom<Scope>({ kind: "all" }, { kind: "listed" }),
  fc
    .uniqueArray(fc.nat({ max: DIGEST_PARTS - 1 }))
    .map((parts) => ({ kind: "parts" as const, parts: parts.toSorted((one, other) => one - other) })),
);

const steps = fc.array(
  fc.record({
    key: text(LIMITS.recordKeyBytes),
    gap: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 2 ** 40 })),
    body: fc.option(text(LIMITS.recordBytes)),
  }),
  { maxLength: 5 },
);

const delta: fc.Arbitrary<Delta> = fc
  .record({
    owner: nodeId,
    incarnation: count,
    floor: count,
    from: fc.oneof(fc.nat(), fc.integer({ min: 0, max: 2 ** 52 })),
    steps,
    more: fc.nat({ max: 9 }),
    seal: fc.option(mark),
  })
  .map(({ owner, incarnation, floor, from, steps, more, seal }) => {
    let version = from;
    const writes: Write[] = steps.map(({ key, gap, body }) => ({ key, version: (version += gap), body }));
    return { owner, incarnation, floor, from, to: version + more, writes, seal };
  });

const rumor: fc.Arbitrary<SignedRumor> = fc.record({
  kind: fc.constantFrom("suspect", "refused", "dead"),
  subject: nodeId,
  incarnation: count,
  refutation,
  by: nodeId,
  signature: mark,
});

const report: fc.Arbitrary<AppliedReport> = fc.record({
  owner: nodeId,
  incarnation: count,
  version: count,
  by: fc.array(fc.record({ id: nodeId, signature: fc.option(mark) }), { maxLength: 4 }),
});

const hello: fc.Arbitrary<Hello> = fc.record({
  kind: fc.constant("hello"),
  wire: fc.constant(WIRE_VERSION),
  id: nodeId,
  name: text(LIMITS.labelBytes),
  incarnation: count,
  nonce: fc.maxSafeNat(),
  host: fc.oneof(fc.domain(), text(LIMITS.nameBytes)),
  port: fc.integer({ min: 1, max: 65_535 }),
  complete: fc.boolean(),
  wanted: fc.boolean(),
  digest,
});

const hops = fc.nat({ max: LIMITS.hopsMax });

type ByKind = { readonly [K in Message["kind"]]: fc.Arbitrary<Extract<Message, { kind: K }>> };

const messageByKind: ByKind = {
  hello,
  delta: fc.record({
    kind: fc.constant("delta"),
    deltas: fc.array(delta, { maxLength: 4 }),
    until,
    acknowledge: fc.boolean(),
  }),
  announce: fc.record({ kind: fc.constant("announce"), digest }),
  compare: fc.record({ kind: fc.constant("compare"), sum }),
  parts: fc.record({
    kind: fc.constant("parts"),
    sums: fc.array(sum, { minLength: DIGEST_PARTS, maxLength: DIGEST_PARTS }),
  }),
  digest: fc.record({ kind: fc.constant("digest"), digest, scope, wanted: fc.boolean() }),
  rumor: fc.record({ kind: fc.constant("rumor"), rumors: fc.array(rumor, { maxLength: 4 }), until }),
  ping: fc.record({ kind: fc.constant("ping"), sequence: count, suspected: fc.option(refutation) }),
  pong: fc.record({ kind: fc.constant("pong"), sequence: count }),
  probe: fc.record({ kind: fc.constant("probe"), sequence: count, subject: nodeId }),
  probed: fc.record({ kind: fc.constant("probed"), sequence: count, reached: fc.boolean() }),
  applied: fc.record({ kind: fc.constant("applied"), reports: fc.array(report, { maxLength: 4 }), hops }),
  drain: fc.record({
    kind: fc.constant("drain"),
    ask: fc.record({
      owner: nodeId,
      incarnation: count,
      version: count,
      replica: text(LIMITS.replicaIdBytes),
      draining: fc.boolean(),
      asker: nodeId,
      signature: fc.option(mark),
    }),
    hops,
  }),
  part: fc.record({ kind: fc.constant("part") }),
  more: fc.record({
    kind: fc.constant("more"),
    owner: nodeId,
    incarnation: count,
    floor: count,
    version: count,
  }),
};

/** Every kind of message, in the order of the bytes that stand for them. */
export const KINDS = Object.keys(messageByKind) as readonly Message["kind"][];

/** Messages of one kind. */
export function messageOf(kind: Message["kind"]): fc.Arbitrary<Message> {
  const ofKind: fc.Arbitrary<Message> = messageByKind[kind];
  // Without the null prototypes that fast-check likes.
  return ofKind.map((message) => structuredClone(message));
}

/** Any message. */
export const message = fc.oneof(...KINDS.map(messageOf));
