/**
 * Seals: how many changes a second one core seals, and how many it checks.
 *
 * A change is one record of usual size that takes the place of another, in a log of its own delta: nothing is shared
 * between changes, which is the worst case; changes that are written at once share one seal.
 *
 * Touches: the clock, the `openssl` program for two certificates.
 */

import type { SealedHead } from "../../src/model/seal.ts";
import { Admission } from "../../src/trust/admission.ts";
import { NodeSeals } from "../../src/trust/seals.ts";
import { authorities, charterWith, CLUSTER, makeNode } from "../trust/certificates.ts";

import { quantile } from "./statistics.ts";

const CHANGES = 4000;
const ROUNDS = 3;
/** A replica's record with a few ports and names. */
const BODY = JSON.stringify({ kind: "replica", rest: "x".repeat(450) });

/** Medians over the rounds, changes a second on one core. */
export interface SealsFigures {
  readonly sealedPerSecond: number;
  readonly checkedPerSecond: number;
  /** By a node that seals one change of its own for each that it checks. */
  readonly bothPerSecond: number;
}

/** Measures with real keys and certificates. */
export function measureSeals(): SealsFigures {
  const nowMs = Date.now() + 600_000;
  const [authority] = authorities();
  const charter = charterWith([authority]);
  const [{ id, seals: owner }, { seals: holder }] = [open(), open()];
  const found = holder.credentialOf(id, owner.certificate, nowMs);
  if (!found.ok) throw found.failure;
  const headOf = (version: number): SealedHead => ({ owner: id, incarnation: 1, version });
  const sealedMs: number[] = [];
  const checkedMs: number[] = [];
  for (let round = 0; round <= ROUNDS; round += 1) {
    const [own, seals] = [owner.emptySum(), [] as Uint8Array[]];
    own.add("replica/web-1", 1, BODY);
    const startedMs = performance.now();
    for (let version = 2; version <= CHANGES; version += 1) {
      own.remove("replica/web-1", version - 1, BODY);
      own.add("replica/web-1", version, BODY);
      seals.push(owner.seal(headOf(version), own));
    }
    const betweenMs = performance.now();
    let held = holder.emptySum();
    held.add("replica/web-1", 1, BODY);
    for (const [at, seal] of seals.entries()) {
      // As a store does it: what does not fit must leave what is held as it was.
      const tried = held.copy();
      tried.remove("replica/web-1", at + 1, BODY);
      tried.add("replica/web-1", at + 2, BODY);
      if (!holder.isSealed(found.value, headOf(at + 2), tried, seal, nowMs)) throw new Error(`no seal ${at}`);
      held = tried;
    }
    // The first round compiles.
    if (round === 0) continue;
    sealedMs.push(betweenMs - startedMs);
    checkedMs.push(performance.now() - betweenMs);
  }
  const perSecond = (timesMs: readonly number[]): number => (CHANGES / quantile(timesMs, 0.5)) * 1000;
  const [sealedPerSecond, checkedPerSecond] = [perSecond(sealedMs), perSecond(checkedMs)];
  const bothPerSecond = 1 / (1 / sealedPerSecond + 1 / checkedPerSecond);
  return { sealedPerSecond, checkedPerSecond, bothPerSecond };

  function open(): { readonly id: string; readonly seals: NodeSeals } {
    const node = makeNode(authority);
    const certificate = (): string => node.der.toString("base64");
    const admission = new Admission(() => charter);
    return {
      id: node.id,
      seals: new NodeSeals({ clusterId: CLUSTER, privateKey: node.key, certificate, admission }),
    };
  }
}
