/**
 * Reports: who has applied what, on the way to the owner who asked.
 *
 * An owner that is linked is told at once. On a large ring most are not: reports then go towards it hop by hop, and
 * those that meet on the way go on as one, so that an owner hears of a thousand members in a few frames. Each is signed
 * by who makes it, and checked by each who passes it on: else one in the middle could say that all have applied what
 * they have not, or put a bad report in the place of a good one.
 *
 * Pure.
 */

import type { Credential } from "../model/credential.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import type { Seals } from "../model/seal.ts";

import type { Carrier } from "./carrier.ts";
import type { AppliedReport, Message, Reporter } from "./message.ts";
import { reportText } from "./words.ts";

/** Reporters in a frame, beyond which the next report begins another: each takes about 80 bytes. */
const REPORTERS_PER_FRAME = 4000;

/** A report on its way: as it came, or gathered from several. */
interface Waiting {
  readonly owner: NodeId;
  readonly incarnation: number;
  readonly version: number;
  readonly signatureById: Map<NodeId, Uint8Array>;
  hops: number;
}

/** What a report is about. */
type Subject = Pick<AppliedReport, "owner" | "incarnation" | "version">;

/** What reports work with. */
export interface ReportsOptions {
  readonly self: NodeId;
  readonly carrier: Carrier;
  readonly seals: Seals;
  readonly credentialOf: (id: NodeId) => Credential | undefined;
}

/** What came of a message with reports. */
export interface ReceivedReports {
  /** Those for this node. */
  readonly own: readonly (Subject & { readonly by: readonly NodeId[] })[];
  /** Reporters whose signature was bad, or missing where it was needed. */
  readonly forgedCount: number;
}

/** Reports of one node, its own and those that pass by. */
export class Reports {
  readonly #options: ReportsOptions;
  readonly #waitingByKey = new Map<string, Waiting>();

  constructor(options: ReportsOptions) {
    this.#options = options;
  }

  /** This node has applied an owner's log up to a version. */
  report({ owner, incarnation, version }: Subject): void {
    const { self, carrier, seals } = this.#options;
    const seat = carrier.linkTowards(owner);
    if (seat === null) return;
    const subject = { owner, incarnation, version };
    if (seat.peer.id === owner) {
      const report = { ...subject, by: [{ id: self, signature: null }] };
      carrier.send(seat.link, { kind: "applied", reports: [report], hops: 0 });
    } else this.#waitingOf(subject, 0)?.signatureById.set(self, seals.sign(reportText(subject, self)));
  }

  /** Reports came over a link. @param from  the peer at its other end */
  received({ reports, hops }: Extract<Message, { kind: "applied" }>, from: NodeId): ReceivedReports {
    const own: ReceivedReports["own"][number][] = [];
    let forgedCount = 0;
    for (const { owner, incarnation, version, by } of reports) {
      const subject = { owner, incarnation, version };
      if (owner === this.#options.self) {
        const isTrue = (reporter: Reporter): boolean =>
          (reporter.signature === null && reporter.id === from) || this.#isSigned(subject, reporter);
        const good = by.filter(isTrue);
        forgedCount += by.length - good.length;
        own.push({ ...subject, by: good.map(({ id }) => id) });
        continue;
      }
      if (hops >= LIMITS.hopsMax) continue;
      for (const reporter of by) if (!this.#gather(subject, reporter, hops + 1)) forgedCount += 1;
    }
    return { own, forgedCount };
  }

  /** Sends on what has gathered. */
  tick(): void {
    if (this.#waitingByKey.size === 0) return;
    const { carrier } = this.#options;
    const batchByLink = new Map<number, { reports: AppliedReport[]; hops: number; count: number }>();
    for (const { owner, incarnation, version, signatureById, hops } of this.#waitingByKey.values()) {
      const link = carrier.linkTowards(owner)?.link;
      if (link === undefined || signatureById.size === 0) continue;
      const batch = batchByLink.get(link) ?? { reports: [], hops: 0, count: 0 };
      const by = Array.from(signatureById, ([id, signature]) => ({ id, signature }));
      batch.reports.push({ owner, incarnation, version, by });
      batch.hops = Math.max(batch.hops, hops);
      batch.count += by.length;
      batchByLink.set(link, batch);
      if (batch.count < REPORTERS_PER_FRAME) continue;
      carrier.send(link, { kind: "applied", reports: batch.reports, hops: batch.hops });
      batchByLink.delete(link);
    }
    this.#waitingByKey.clear();
    for (const [link, { reports, hops }] of batchByLink)
      carrier.send(link, { kind: "applied", reports, hops });
  }

  /** Keeps one report until the next tick. @returns false when it is not its maker's */
  #gather(subject: Subject, reporter: Reporter, hops: number): boolean {
    const { id, signature } = reporter;
    if (!this.#isSigned(subject, reporter) || signature === null) return false;
    const waiting = this.#waitingOf(subject, hops);
    if (waiting !== undefined && waiting.signatureById.size < LIMITS.ownersMax)
      waiting.signatureById.set(id, signature);
    return true;
  }

  /** What waits about one state of a log. Past the bound nothing new does: who asked asks again. */
  #waitingOf({ owner, incarnation, version }: Subject, hops: number): Waiting | undefined {
    const key = `${owner} ${incarnation} ${version}`;
    const waiting = this.#waitingByKey.get(key);
    if (waiting !== undefined) {
      waiting.hops = Math.max(waiting.hops, hops);
      return waiting;
    }
    if (this.#waitingByKey.size >= LIMITS.ownersMax) return undefined;
    const fresh: Waiting = { owner, incarnation, version, signatureById: new Map(), hops };
    this.#waitingByKey.set(key, fresh);
    return fresh;
  }

  #isSigned(subject: Subject, { id, signature }: Reporter): boolean {
    const { seals, credentialOf } = this.#options;
    const credential = credentialOf(id);
    if (credential === undefined || signature === null) return false;
    return seals.isSigned(credential, reportText(subject, id), signature);
  }
}
