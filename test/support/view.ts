/**
 * View: members, replicas and services as the tests of its readers need them: plain and healthy, but for what is named.
 *
 * Each of those tests has a picture of its own (which host is self, which addresses can be reached from there); what
 * is the same in all of them stands here, so a new field of the view is given once.
 *
 * Pure.
 */

import type { Member } from "../../src/model/member.ts";
import { DEFAULT_DELIVERY, EMPTY_DECLARATION } from "../../src/model/service.ts";
import type { Replica, Service } from "../../src/model/view.ts";

/** A worker that is alive at 192.0.2.1:7650. */
export function plainMember(id: string, name: string, changes: Partial<Member> = {}): Member {
  return {
    id,
    name,
    host: "192.0.2.1",
    port: 7650,
    zone: "",
    labels: {},
    role: "worker",
    software: "test",
    prefixes: [],
    state: "alive",
    incarnation: 1,
    sinceMs: 0,
    rttMs: null,
    via: null,
    settlesAtMs: null,
    self: false,
    ...changes,
  };
}

/** A replica on this host, `host-1`, ready, at an address that connections go to directly. */
export function plainReplica(
  id: string,
  changes: Partial<Replica> & Pick<Replica, "node" | "address">,
): Replica {
  return {
    id,
    name: id,
    slot: null,
    nodeName: "host-1",
    local: true,
    reach: "direct",
    ports: [],
    weight: 1,
    delivery: DEFAULT_DELIVERY,
    state: "ready",
    drainApplied: false,
    drainPending: [],
    tier: "eligible",
    keepsConnections: true,
    reason: "",
    saidBy: "host-1",
    sinceMs: 0,
    ...changes,
  };
}

/** A service without ports, replicas and VIP. */
export function plainService(network: string, name: string, changes: Partial<Service> = {}): Service {
  return {
    ...EMPTY_DECLARATION,
    key: `${network}/${name}`,
    network,
    name,
    stack: null,
    vip: null,
    vipTentative: false,
    aliasVips: [],
    replicas: [],
    problems: [],
    ...changes,
  };
}
