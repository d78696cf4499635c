// What a hello tells: who speaks, which of two links stays, whether this node's data dir is old.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import {
  claimsMore,
  closesAtOnce,
  greeterOf,
  incarnationMax,
  keepsNewLink,
  type TwoLinks,
} from "../../src/gossip/greeting.ts";
import { WIRE_VERSION, type Hello } from "../../src/gossip/message.ts";
import { idOf } from "../support/gossip-network.ts";

const hello: Hello = {
  kind: "hello",
  wire: WIRE_VERSION,
  id: idOf("peer"),
  name: "peer",
  incarnation: 1,
  nonce: 7,
  host: "peer",
  port: 7650,
  complete: true,
  wanted: true,
  digest: [],
};
const self = { id: idOf("me"), nonce: 9 };

test("greeting: a peer, this node's own voice, and a second node with its id are told apart", () => {
  assert.deepEqual(greeterOf(hello, self, "10.0.0.2:5"), { kind: "peer" });
  assert.deepEqual(greeterOf({ ...hello, id: self.id, nonce: 9 }, self, "10.0.0.2:5"), { kind: "myself" });
  const twin = greeterOf({ ...hello, id: self.id }, self, "10.0.0.2:5");
  assert.ok(twin.kind === "refused" && twin.sharesId);
  assert.match(twin.reason, /peer at 10\.0\.0\.2:5 uses this node's id/);
});

test("greeting: another wire version is refused by name, before anything else counts", () => {
  const greeter = greeterOf({ ...hello, wire: WIRE_VERSION + 1, id: self.id }, self, "10.0.0.2:5");
  assert.ok(greeter.kind === "refused" && !greeter.sharesId);
  assert.match(greeter.reason, /peer speaks wire version 3; expected 2/);
});

const two: fc.Arbitrary<TwoLinks> = fc.record({
  selfId: fc.constantFrom("a", "c"),
  peerId: fc.constant("b"),
  oldDialledHere: fc.boolean(),
  newDialledHere: fc.boolean(),
  peerRestarted: fc.boolean(),
  oldAgeMs: fc.nat({ max: 5000 }),
});

/** The same two links as the other end sees them, when it heard hello on them in the other order. */
function fromTheOtherEnd({ selfId, peerId, oldDialledHere, newDialledHere, ...rest }: TwoLinks): TwoLinks {
  return {
    ...rest,
    selfId: peerId,
    peerId: selfId,
    oldDialledHere: !newDialledHere,
    newDialledHere: !oldDialledHere,
  };
}

test("greeting: of dials that crossed both ends keep the same one, whichever hello each heard first", () => {
  fc.assert(
    fc.property(two, (two) => {
      fc.pre(two.oldDialledHere !== two.newDialledHere && !two.peerRestarted && two.oldAgeMs <= 2000);
      const keepsNew = keepsNewLink(two);
      assert.equal(keepsNewLink(fromTheOtherEnd(two)), !keepsNew);
      const dialledHere = keepsNew ? two.newDialledHere : two.oldDialledHere;
      assert.equal(dialledHere, two.selfId < two.peerId, "dialled by the smaller id");
      assert.equal(closesAtOnce(two), false);
    }),
  );
});

test("greeting: a peer that started anew, dials twice, or has lost an old link is followed to the new one", () => {
  fc.assert(
    fc.property(two, (two) => {
      const isCrossing =
        two.oldDialledHere !== two.newDialledHere && !two.peerRestarted && two.oldAgeMs <= 2000;
      if (!isCrossing) assert.ok(keepsNewLink(two));
      assert.equal(closesAtOnce(two), two.peerRestarted || two.oldAgeMs > 2000);
    }),
  );
});

test("greeting: a peer claims to know more of this node only when it is a later state, and a believable one", () => {
  const own = { id: self.id, incarnation: 5, version: 10, incarnationMax: 1000 };
  const by = (incarnation: number, version: number) =>
    claimsMore([{ owner: self.id, incarnation, version, deadAt: null }], own);
  assert.equal(by(4, 99), false);
  assert.equal(by(5, 10), false);
  assert.equal(by(5, 11), true);
  assert.equal(by(9, 0), true);
  assert.equal(by(1001, 0), false, "no honest owner has started so often");
  assert.equal(claimsMore([{ owner: idOf("other"), incarnation: 9, version: 9, deadAt: null }], own), false);
  assert.equal(claimsMore([], own), false);
});

test("greeting: the highest incarnation believed moves on with time, and leaves room for every honest start", () => {
  const nowMs = 1_700_000_000_000;
  assert.ok(incarnationMax(nowMs + 1000) > incarnationMax(nowMs));
  assert.ok(incarnationMax(nowMs) > nowMs / 1000, "one start a second since 1970 is honest");
});
