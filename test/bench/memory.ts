/**
 * Memory: what a daemon holds when the cluster has 1,000 services with 10 replicas each.
 *
 * Ten members that are only gossip publish a replica of each service; the daemon is a real one, with DNS and routes
 * planned from all of it.
 *
 * Touches: child processes, links, timers.
 */

import { until } from "../support/wait.ts";

import { startDaemon, type MeasuredDaemon, type Program, type StartOptions } from "./daemon.ts";
import { joinMembers, openMember, type Member, type Offer } from "./members.ts";

const SERVICES = 1000;
const MEMBERS = 10;
/** Resident memory is read until it has not moved by more than 1 MB for this many looks, one a second. */
const STILL_LOOKS = 4;

/** Resident memory, in megabytes (10^6 bytes), and the time until the whole cluster was in the view. */
export interface MemoryFigures {
  readonly services: number;
  readonly replicas: number;
  readonly idleRssMb: number;
  readonly rssMb: number;
  readonly learntMs: number;
}

/** What is unlike the plain daemon and its plain services. */
export interface MemoryOptions {
  readonly config?: NonNullable<StartOptions["config"]>;
  readonly offer?: Offer;
  readonly program?: Program;
}

/** Measures one daemon. */
export async function measureMemory(options: MemoryOptions = {}): Promise<MemoryFigures> {
  const { config = {}, offer, program = "source" } = options;
  const daemon = await startDaemon("127.0.42.1", { config, program });
  const idleRssMb = daemon.rssBytes() / 1e6;
  const members: Member[] = [];
  try {
    const joined = await joinMembers(daemon, MEMBERS);
    const startMs = performance.now();
    const offered = { serviceCount: SERVICES, ...(offer !== undefined && { offer }) };
    members.push(...joined.map((plan) => openMember({ ...plan, ...offered })));
    const replicas = SERVICES * MEMBERS;
    await until(async () => (await readyOf(daemon)) === replicas, { deadlineMs: 60_000, everyMs: 50 });
    const learntMs = performance.now() - startMs;
    return { services: SERVICES, replicas, idleRssMb, rssMb: await settled(daemon), learntMs };
  } finally {
    for (const member of members) member.close();
    await daemon.end();
  }
}

async function readyOf(daemon: MeasuredDaemon): Promise<number> {
  const status = (await daemon.get("/api/v1/status")) as { view: { ready: number } };
  return status.view.ready;
}

/** Resident memory once it has settled, in megabytes. @throws after a minute */
export async function settled(daemon: MeasuredDaemon): Promise<number> {
  let last = 0;
  let still = 0;
  const look = (): boolean => {
    const now = daemon.rssBytes() / 1e6;
    still = Math.abs(now - last) <= 1 ? still + 1 : 0;
    last = now;
    return still >= STILL_LOOKS;
  };
  await until(look, { deadlineMs: 60_000, everyMs: 1000, what: "memory has settled" });
  return last;
}
