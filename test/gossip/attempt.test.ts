// A seal fits exactly what its owner wrote, in whatever parts it came, and looking changes nothing.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { attempt, type Attempt } from "../../src/gossip/attempt.ts";
import { emptyLog, put, type HeldLog } from "../../src/gossip/held.ts";
import type { Delta, Write } from "../../src/gossip/message.ts";
import { cheapSeals } from "../support/cheap-seals.ts";
import { idOf } from "../support/gossip-network.ts";
import { certified, credentialOf, sealed } from "../support/sealed.ts";

const O = idOf("o");
const seals = cheapSeals(idOf("holder"));

/** Writes of an owner in a row, a null body for a deletion; the first version is its certificate's. */
const history = fc
  .array(fc.tuple(fc.nat({ max: 4 }), fc.option(fc.string({ maxLength: 4 }))), {
    minLength: 1,
    maxLength: 12,
  })
  .map((steps) => [
    certified(O),
    ...steps.map(([key, body], index): Write => ({ key: `k${key}`, version: index + 2, body })),
  ]);

/** The latest write of each key among these, ascending, as a holder passes them on. */
function latest(writes: readonly Write[], from = 0): Write[] {
  const last = new Map(writes.map((write) => [write.key, write]));
  return writes.filter((write) => last.get(write.key) === write && write.version > from);
}

/** All that was written up to a version, as a delta from another one. */
function deltaOf(writes: readonly Write[], from: number, to: number): Delta {
  const upTo = writes.filter(({ version }) => version <= to);
  const before = upTo.filter(({ version }) => version <= from);
  return sealed({ owner: O, incarnation: 1, floor: 0, from, to, writes: latest(upTo, from) }, before);
}

/** A holder that has everything up to a version. */
function heldUpTo(writes: readonly Write[], to: number): HeldLog {
  const log = emptyLog(O, 1, seals.emptySum());
  for (const { key, version, body } of latest(writes.filter(({ version }) => version <= to))) {
    put(log, key, { version, body }, 0);
    if (body !== null) log.sum.add(key, version, body);
  }
  return Object.assign(log, { version: to, credential: credentialOf(O) });
}

function tried(parts: readonly Delta[], base: HeldLog | null = null): Attempt {
  return attempt(parts, { seals, base, nowMs: 0 });
}

function split(delta: Delta, at: number): Delta[] {
  const { writes } = delta;
  const first = { ...delta, to: at, writes: writes.filter(({ version }) => version <= at), seal: null };
  return [first, { ...delta, from: at, writes: writes.filter(({ version }) => version > at) }];
}

test("attempt: what an owner wrote fits, whole or as the rest of what is held, in one part or two", () => {
  fc.assert(
    fc.property(history, fc.nat(), fc.nat(), (writes, one, other) => {
      const to = writes.length;
      const held = 1 + (one % to);
      const whole = deltaOf(writes, 0, to);
      const parts = split(whole, 1 + (other % to));
      const outcomes = [
        tried([whole]),
        tried([deltaOf(writes, held, to)], heldUpTo(writes, held)),
        tried(parts),
        // Parts may overlap what is held, and each other.
        tried([whole], heldUpTo(writes, held)),
        tried([...parts.slice(0, 1), whole]),
      ];
      const liveKeys = new Set(latest(writes).flatMap(({ key, body }) => (body === null ? [] : [key])));
      for (const outcome of outcomes) {
        assert.ok(outcome.kind === "fits");
        assert.equal(outcome.liveCount, liveKeys.size);
        assert.equal(outcome.credential.id, O);
        const versions = Array.from(outcome.writes.values(), ({ version }) => version);
        assert.deepEqual(
          versions,
          versions.toSorted((a, b) => a - b),
        );
      }
    }),
  );
});

test("attempt: whatever was added, left out, brought back or changed on the way does not fit", () => {
  fc.assert(
    fc.property(history, fc.nat(), fc.nat({ max: 3 }), (writes, chosen, way) => {
      const whole = deltaOf(writes, 0, writes.length + 1);
      const live = whole.writes.filter(({ key, body }) => body !== null && key.startsWith("k"));
      const target = live[chosen % Math.max(1, live.length)];
      const extra: Write = { key: "forged", version: writes.length + 1, body: "x" };
      fc.pre(target !== undefined || way === 3);
      const touched = [
        whole.writes.filter((write) => write !== target),
        whole.writes.map((write) => (write === target ? { ...write, body: `${write.body}!` } : write)),
        whole.writes.map((write) => (write === target ? { ...write, body: null } : write)),
        [...whole.writes, extra],
      ][way];
      assert.equal(tried([{ ...whole, writes: touched ?? [] }]).kind, "forged");
    }),
  );
});

test("attempt: looking changes nothing of what is held", () => {
  const writes = [certified(O), { key: "k", version: 2, body: "1" }, { key: "k", version: 3, body: "2" }];
  const base = heldUpTo(writes, 2);
  const before = structuredClone([...base.entryByKey]);
  for (let time = 0; time < 3; time += 1) assert.equal(tried([deltaOf(writes, 2, 3)], base).kind, "fits");
  assert.deepEqual([[...base.entryByKey], base.version], [before, 2]);
});

test("attempt: what is wrong is told: no seal or certificate, a bad one, a floor past the end, a wrong seal", () => {
  const writes = [certified(O), { key: "k", version: 2, body: "1" }];
  const whole = deltaOf(writes, 0, 2);
  const reasonOf = (delta: Delta): string => {
    const outcome = tried([delta]);
    return outcome.kind === "forged" ? outcome.why : "fits";
  };
  assert.equal(reasonOf({ ...whole, seal: null }), "has no seal");
  assert.equal(reasonOf({ ...whole, writes: writes.slice(1) }), "has no certificate of its owner");
  const foreign = { ...certified(O), body: cheapSeals(idOf("liar")).certificate };
  assert.match(reasonOf({ ...whole, writes: [foreign] }), /^has a bad certificate: /);
  assert.match(reasonOf({ ...whole, floor: 3 }), /floor 3/);
  assert.equal(reasonOf({ ...whole, incarnation: 4 }), "is not what its owner sealed at 4.2");
});

test("attempt: a changed certificate has to be good, too, and takes effect with the log that brings it", () => {
  const writes = [certified(O), { key: "k", version: 2, body: "1" }];
  const base = heldUpTo(writes, 2);
  const renewed = cheapSeals(O, "worker").certificate;
  const at = { owner: O, incarnation: 1, floor: 0, from: 2, to: 3 };
  const good = sealed({ ...at, writes: [{ key: "certificate", version: 3, body: renewed }] }, writes);
  const outcome = tried([good], base);
  assert.ok(outcome.kind === "fits");
  assert.equal(outcome.credential.role, "worker");
  for (const body of ["junk", cheapSeals(idOf("liar")).certificate, null]) {
    const bad = sealed({ ...at, writes: [{ key: "certificate", version: 3, body }] }, writes);
    assert.equal(tried([bad], base).kind, "forged", `${body}`);
  }
});
