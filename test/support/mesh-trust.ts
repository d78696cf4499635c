// Members of a mesh with real certificates, made by the `openssl` program and judged by the product's own admission.

import { X509Certificate } from "node:crypto";

import { openDialler, type DialMember } from "../../src/mesh/dial.ts";
import { openRefusals, type MeshRefusal, type Refusals } from "../../src/mesh/refusals.ts";
import type { MeshTrust, Objection, TlsMaterial } from "../../src/mesh/trust.ts";
import type { Charter } from "../../src/model/charter.ts";
import type { NodeId } from "../../src/model/ids.ts";
import { openMetrics, type Metrics } from "../../src/runtime/metrics.ts";
import { Admission } from "../../src/trust/admission.ts";
import { nodeIdOf, spkiOf } from "../../src/trust/identity.ts";
import { authorities, charterWith, DAY_MS, makeNode, type Holding } from "../trust/certificates.ts";

/** A key and a certificate for it. */
export interface Papers extends Holding {
  readonly id: NodeId;
}

/** One member: what it shows and whom it believes. What it believes may be changed by a test. */
export interface TestMember {
  readonly id: NodeId;
  readonly papers: Papers;
  readonly trust: MeshTrust;
  /** Shows other papers from now on. */
  readonly renew: (papers: Papers) => void;
  /** Takes in that this node was removed. */
  readonly revoke: (id: NodeId) => void;
  /** Its clock goes on, in its judgement of others. */
  readonly passDays: (days: number) => void;
  /** As it is by what this member believes now. */
  readonly objection: Objection;
  readonly dialMember: DialMember;
  readonly refusals: Refusals;
  /** What was told of them. */
  readonly told: readonly MeshRefusal[];
  readonly metrics: Metrics;
}

const papersMade: Papers[] = [];

/** Papers of a member of the cluster; the same ones for the same number, so that a run makes few. */
export function papersOf(number: number): Papers {
  while (papersMade.length <= number) papersMade.push(makeNode(authorities()[0]));
  const papers = papersMade[number];
  if (papers === undefined) throw new Error(`no papers number ${number}`);
  return papers;
}

/** Opens a member. It shows `papers`, whatever they are worth, and believes the first authority of the cluster. */
export function openMember(papers: Papers): TestMember {
  let shown = materialOf(papers);
  let charter: Charter = charterWith([authorities()[0]]);
  let laterMs = 0;
  const admission = new Admission(() => charter);
  const trust: MeshTrust = {
    material: () => shown,
    admit(certificate) {
      const admitted = admission.admit(certificate, Date.now() + laterMs);
      return admitted.ok ? { ok: true, value: admitted.value.credential } : admitted;
    },
    ownerOf(certificate) {
      const id = nodeIdOf(spkiOf(new X509Certificate(certificate).publicKey));
      return { id, revoked: admission.isRevoked(id) };
    },
  };
  const told: MeshRefusal[] = [];
  const metrics = openMetrics();
  const refusals = openRefusals({ metrics, onRefused: (refusal) => told.push(refusal) });
  return {
    id: papers.id,
    papers,
    trust,
    renew: (next) => (shown = materialOf(next)),
    revoke(id) {
      charter = { ...charter, revoked: [...charter.revoked, { id, untilMs: Date.now() + 1e9 }] };
    },
    passDays: (days) => (laterMs += days * DAY_MS),
    objection: (peer) => admission.objection(peer, Date.now() + laterMs),
    dialMember: openDialler(trust, refusals),
    refusals,
    told,
    metrics,
  };
}

/** To a port that trusts so each connection it looks at is another member's, as papers take long to make. */
export function trustOfMany(): MeshTrust {
  const { trust } = openMember(papersOf(0));
  let count = 0;
  const admit: MeshTrust["admit"] = (certificate) => {
    const admitted = trust.admit(certificate);
    count += 1;
    return admitted.ok ? { ok: true, value: { ...admitted.value, id: `member ${count}` } } : admitted;
  };
  return { ...trust, admit };
}

/** How often this member refused somebody, for this reason or for any. */
export async function refusalsOf({ metrics }: Pick<TestMember, "metrics">, reason?: string): Promise<number> {
  const { values } = await metrics.meshRefused.get();
  const counted = values.filter(({ labels }) => reason === undefined || labels.reason === reason);
  return counted.reduce((sum, { value }) => sum + value, 0);
}

function materialOf({ keyPem, pem }: Papers): TlsMaterial {
  return { key: keyPem, chain: pem, roots: [authorities()[0].pem] };
}
