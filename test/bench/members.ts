/**
 * Members: hosts that exist only as gossip, to give one real daemon a large cluster to hold.
 *
 * Each speaks the real protocol over real links, with the product's own gossip and mesh code, and publishes replicas as
 * a host with that many containers would; only there is nothing behind them.
 *
 * Touches: links to the daemon, timers.
 */

import type { HostPort } from "../../src/base/ip.ts";
import { meshTrustOf } from "../../src/daemon/mesh.ts";
import { seededRandom } from "../../src/base/random.ts";
import { Gossip } from "../../src/gossip/gossip.ts";
import { openDialler } from "../../src/mesh/dial.ts";
import { openLanes } from "../../src/mesh/lanes.ts";
import { openLinks, type Links } from "../../src/mesh/links.ts";
import { openRefusals } from "../../src/mesh/refusals.ts";
import { recordKey, renderRecord, type NodeLogRecord } from "../../src/model/record.ts";
import { DEFAULT_DELIVERY, EMPTY_DECLARATION } from "../../src/model/service.ts";
import { nowMs } from "../../src/runtime/clock.ts";
import { openLog } from "../../src/runtime/log.ts";
import { openMetrics } from "../../src/runtime/metrics.ts";
import type { Credentials } from "../../src/trust/credentials.ts";

import { joinAs } from "./credentials.ts";
import type { MeasuredDaemon } from "./daemon.ts";

/** What a member publishes. */
export interface MemberPlan {
  readonly index: number;
  readonly credentials: Credentials;
  readonly serviceCount: number;
  readonly daemon: HostPort;
  readonly offer?: Offer;
}

/** How replicas are offered. */
export interface Offer {
  readonly reach: "stream" | "direct";
  readonly protocol: "http" | "tcp";
  /** The first two bytes of VIPs. */
  readonly vips: string;
}

/** By relayed streams, requests one by one: what the proxy carries. */
const RELAYED: Offer = { reach: "stream", protocol: "http", vips: "127.97" };

/** A host that is only gossip. */
export interface Member {
  readonly close: () => void;
}

/** Lets members into a daemon's cluster, to be opened. */
export async function joinMembers(
  { mesh: daemon, token }: MeasuredDaemon,
  count: number,
): Promise<readonly Omit<MemberPlan, "serviceCount" | "offer">[]> {
  const text = await token();
  const join = async (index: number): Promise<Omit<MemberPlan, "serviceCount" | "offer">> => {
    return { index, credentials: await joinAs(`member-${index}`, daemon, text), daemon };
  };
  return Promise.all(Array.from({ length: count }, (_, index) => join(index)));
}

/** Starts a member that offers one replica of each of `serviceCount` services. */
export function openMember(plan: MemberPlan): Member {
  const host = `127.0.0.${plan.index + 10}`;
  const { credentials } = plan;
  const gossip = new Gossip({
    self: { id: credentials.id, name: `member-${plan.index}`, host, port: 7650 },
    incarnation: 1,
    seeds: [plan.daemon],
    seals: credentials.seals,
    random: seededRandom(plan.index),
    nowMs: nowMs(),
  });
  const metrics = openMetrics();
  const refusals = openRefusals({ metrics, onRefused: () => undefined });
  const links: Links = openLinks({
    log: openLog({ level: "error", format: "text" }),
    metrics,
    lanes: openLanes(),
    dialMember: openDialler(meshTrustOf(credentials), refusals),
    refusals,
    onInput(input) {
      const now = nowMs();
      if (input.kind === "linkUp") {
        const { link: id, dialled, remote, peer } = input;
        gossip.linkUp({ id, dialled, remote, peer }, now);
      } else if (input.kind === "linkDown") gossip.linkDown(input.link, input.reason, now);
      else if (input.kind === "frame") gossip.frame(input.link, input.frame, now);
      else gossip.dialFailed(input.address, { refused: input.refused }, now);
      carry();
    },
  });
  const carry = (): void => {
    const effects = gossip.take();
    for (const outgoing of effects.send) links.send(outgoing);
    for (const { link, reason } of effects.close) links.close(link, reason);
    // Members of the bench know only the daemon: what they hold of each other does not load it.
    for (const address of effects.dial) if (address.host === plan.daemon.host) links.dial(address);
  };
  gossip.write(
    new Map(recordsOf(plan, host).map((record) => [recordKey(record), renderRecord(record)])),
    nowMs(),
  );
  const timer = setInterval(() => {
    gossip.tick(nowMs());
    carry();
  }, 100);
  gossip.tick(nowMs());
  carry();
  return {
    close() {
      clearInterval(timer);
      links.closeAll("the bench is over");
    },
  };
}

function recordsOf(plan: MemberPlan, host: string): NodeLogRecord[] {
  const { index, serviceCount, offer = RELAYED } = plan;
  const { reach, protocol } = offer;
  const node: NodeLogRecord = {
    kind: "node",
    name: `member-${index}`,
    host,
    port: 7650,
    zone: "",
    labels: {},
    software: "bench",
    prefixes: [],
  };
  const ports = [{ name: "web", port: 80, target: 8080, protocol }];
  const replicas = Array.from({ length: serviceCount }, (_, service): NodeLogRecord[] => [
    {
      kind: "replica",
      id: `bench-${service}-${index}`,
      name: `service-${service}-${index}`,
      slot: index,
      network: "default",
      service: `service-${service}`,
      stack: null,
      address: addressOf(index, service, reach),
      reach,
      declaration: { ...EMPTY_DECLARATION, ports },
      weight: 1,
      delivery: DEFAULT_DELIVERY,
      startedAtMs: 1_700_000_000_000 + index,
      state: "ready",
      reason: "probe: passing",
      drainApplied: false,
      drainPending: [],
    },
    {
      kind: "vip",
      network: "default",
      service: `service-${service}`,
      address: vipOf(service, offer.vips),
      order: service + 1,
      settled: true,
    },
  ]).flat();
  return [node, ...replicas];
}

/** Bridges of hosts share their addresses; what is reached directly has one of its own. */
function addressOf(index: number, service: number, reach: Offer["reach"]): string {
  const rest = `${Math.floor(service / 250)}.${(service % 250) + 2}`;
  return reach === "stream" ? `172.17.${rest}` : `172.${16 + index}.${rest}`;
}

/** Distinct addresses past the low band of the pool. */
function vipOf(service: number, stem: string): string {
  return `${stem}.${Math.floor(service / 250)}.${(service % 250) + 1}`;
}
