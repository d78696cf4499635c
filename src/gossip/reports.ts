/**
 * Reports: who has applied what, on the way to the owner who asked.
 *
 * An owner that is linked is told at once. On a large ring most are not: reports then go towards it hop by hop, and
 * those that meet on the way go on as one, so that an owner hears of a thousand members in a few frames.
 *
 * Pure.
 */

import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";

import type { Carrier } from "./carrier.ts";
import type { AppliedReport, Message } from "./message.ts";

/** A report on its way: as it came, or gathered from several. */
interface Waiting {
  readonly owner: NodeId;
  readonly incarnation: number;
  readonly version: number;
  readonly by: Set<NodeId>;
  hops: number;
}

/** Reports of one node, its own and those that pass by. */
export class Reports {
  readonly #self: NodeId;
  readonly #carrier: Carrier;
  readonly #waitingByKey = new Map<string, Waiting>();

  constructor(self: NodeId, carrier: Carrier) {
    this.#self = self;
    this.#carrier = carrier;
  }

  /** This node has applied an owner's log up to a version. */
  report(log: { readonly owner: NodeId; readonly incarnation: number; readonly version: number }): void {
    const { owner, incarnation, version } = log;
    const seat = this.#carrier.linkTowards(owner);
    if (seat === null) return;
    const report = { owner, incarnation, version, by: [this.#self] };
    if (seat.peer.id === owner)
      this.#carrier.send(seat.link, { kind: "applied", reports: [report], hops: 0 });
    else this.#gather(report, 0);
  }

  /** Reports came over a link. @returns those that are for this node */
  received({ reports, hops }: Extract<Message, { kind: "applied" }>): readonly AppliedReport[] {
    const own: AppliedReport[] = [];
    for (const report of reports) {
      if (report.owner === this.#self) own.push(report);
      else if (hops < LIMITS.hopsMax) this.#gather(report, hops + 1);
    }
    return own;
  }

  /** Sends on what has gathered. */
  tick(): void {
    if (this.#waitingByKey.size === 0) return;
    const byLink = new Map<number, { reports: AppliedReport[]; hops: number }>();
    for (const { owner, incarnation, version, by, hops } of this.#waitingByKey.values()) {
      const link = this.#carrier.linkTowards(owner)?.link;
      if (link === undefined) continue;
      const batch = byLink.get(link) ?? { reports: [], hops: 0 };
      batch.reports.push({ owner, incarnation, version, by: [...by] });
      batch.hops = Math.max(batch.hops, hops);
      byLink.set(link, batch);
    }
    this.#waitingByKey.clear();
    for (const [link, batch] of byLink) this.#carrier.send(link, { kind: "applied", ...batch });
  }

  #gather({ owner, incarnation, version, by }: AppliedReport, hops: number): void {
    const key = `${owner} ${incarnation} ${version}`;
    const waiting = this.#waitingByKey.get(key);
    if (waiting === undefined) {
      // Past the bound they are dropped: who asked asks again.
      if (this.#waitingByKey.size >= LIMITS.ownersMax) return;
      this.#waitingByKey.set(key, { owner, incarnation, version, by: new Set(by), hops });
      return;
    }
    waiting.hops = Math.max(waiting.hops, hops);
    for (const id of by) if (waiting.by.size < LIMITS.ownersMax) waiting.by.add(id);
  }
}
