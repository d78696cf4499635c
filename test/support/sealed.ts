// What owners seal and members sign, for tests that make deltas and rumors by hand: one place, so that each check is
// passed for real. A test that plays a liar touches what comes from here afterwards.

import assert from "node:assert/strict";

import type { Delta, Rumor, SignedRumor, Write } from "../../src/gossip/message.ts";
import { Store, type Applied } from "../../src/gossip/store.ts";
import { rumorText, reportText } from "../../src/gossip/words.ts";
import type { Credential } from "../../src/model/credential.ts";
import type { NodeId } from "../../src/model/ids.ts";
import { CERTIFICATE_KEY } from "../../src/model/seal.ts";
import { cheapSeals } from "./cheap-seals.ts";

/** The link over which deltas come where a test has but one. */
const LINK = 1;

/** A store of the node of this id, with cheap seals. */
export function storeOf(self: NodeId, incarnation = 1): Store {
  return new Store(self, incarnation, cheapSeals(self));
}

/** What becomes of a delta in a store. */
export function applyTo(store: Store, delta: Delta, nowMs = 0): Applied["kind"] {
  return store.apply(delta, LINK, nowMs).kind;
}

/** Writes of an owner in versions (from, to]: its certificate in the first, then `k2` and so on, with the body `x`. */
export function writesOf(owner: NodeId, from: number, to: number): Write[] {
  return Array.from({ length: to - from }, (_, index) => {
    const version = from + index + 1;
    return version === 1 ? certified(owner) : { key: `k${version}`, version, body: "x" };
  });
}

/** The certificate of an owner, as the first write of its log. */
export function certified(owner: NodeId): Write {
  return { key: CERTIFICATE_KEY, version: 1, body: cheapSeals(owner).certificate };
}

/**
 * A delta as its owner seals it. One from the begin has the owner's certificate in the first version, unless it is
 * there; that version must be free.
 *
 * @param before  the writes up to the delta's begin; those of `writesOf` unless told
 */
export function sealed(delta: Omit<Delta, "seal">, before?: readonly Write[]): Delta {
  const { owner, incarnation, from, to } = delta;
  const isWhole = from === 0 && to > 0 && !delta.writes.some(({ key }) => key === CERTIFICATE_KEY);
  assert.ok(!isWhole || delta.writes[0]?.version !== 1, "the first version is the certificate's");
  const writes = isWhole ? [certified(owner), ...delta.writes] : delta.writes;
  const seals = cheapSeals(owner);
  const sum = seals.emptySum();
  const last = new Map<string, Write>();
  for (const write of [...(before ?? writesOf(owner, 0, from)), ...writes]) last.set(write.key, write);
  for (const { key, version, body } of last.values()) if (body !== null) sum.add(key, version, body);
  return { ...delta, writes, seal: seals.seal({ owner, incarnation, version: to }, sum) };
}

/** A rumor with the signature of who says so. */
export function signed(rumor: Rumor): SignedRumor {
  return { ...rumor, signature: cheapSeals(rumor.by).sign(rumorText(rumor)) };
}

/** Members who say, each in its own name, that they have applied a log. */
export function reportersOf(
  log: { owner: NodeId; incarnation: number; version: number },
  ...ids: readonly NodeId[]
): { id: NodeId; signature: Uint8Array }[] {
  return ids.map((id) => ({ id, signature: cheapSeals(id).sign(reportText(log, id)) }));
}

/** Who the node of this id proves to be. */
export function credentialOf(id: NodeId): Credential {
  const seals = cheapSeals(id);
  const read = seals.credentialOf(id, seals.certificate, 0);
  assert.ok(read.ok);
  return read.value;
}
