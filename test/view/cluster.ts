// Small clusters for tests of the view: nodes with records, as logs and standings.

import type { Prefix } from "../../src/base/ip.ts";
import { parsePrefix } from "../../src/base/ip.ts";
import type { NodeId } from "../../src/model/ids.ts";
import type { Entry, OwnerLog } from "../../src/model/log.ts";
import type { Member, MemberState, Standing } from "../../src/model/member.ts";
import type { NetworkRange } from "../../src/model/network.ts";
import {
  recordKey,
  renderRecord,
  type NodeLogRecord,
  type ReplicaRecord,
  type VipRecord,
} from "../../src/model/record.ts";
import { DEFAULT_DELIVERY, EMPTY_DECLARATION, type ServiceDeclaration } from "../../src/model/service.ts";
import type { MergeInput } from "../../src/view/merge.ts";
import { idOf } from "../support/gossip-network.ts";
import { plainMember } from "../support/view.ts";

/** A node and what it publishes. */
export interface TestNode {
  readonly name: string;
  readonly state?: MemberState;
  readonly records: readonly NodeLogRecord[];
}

/** The pool of all tests: 10.96.0.0/16. */
export const POOL: Prefix = prefix("10.96.0.0/16");

/** A prefix that is known to be well-formed. */
export function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (!parsed.ok) throw parsed.failure;
  return parsed.value;
}

/** A network of that range; its number follows from the range's second octet. */
export function range(name: string, text: string, sliceBits: number): NetworkRange {
  const vni = 4096 + Number(text.split(".")[1]);
  return { name, range: prefix(text), sliceBits, vni, encrypted: false };
}

/** A declaration of one port, 80 to 8080, and more. */
export function declare(more: Partial<ServiceDeclaration> = {}): ServiceDeclaration {
  const ports = [{ name: "web", port: 80, target: 8080, protocol: "tcp" as const }];
  return { ...EMPTY_DECLARATION, ports, ...more };
}

/** A ready replica of default/web, and what is different about it. */
export function replica(id: string, part: Partial<ReplicaRecord> = {}): ReplicaRecord {
  return {
    kind: "replica",
    id,
    name: id,
    slot: null,
    network: "default",
    service: "web",
    stack: null,
    address: "10.0.0.1",
    reach: "direct",
    declaration: declare(),
    weight: 1,
    delivery: DEFAULT_DELIVERY,
    startedAtMs: 1000,
    state: "ready",
    reason: "probe: passed",
    drainApplied: false,
    drainPending: [],
    ...part,
  };
}

/** A claim of an address for a service of the default network, settled. */
export function claim(service: string, address: string, order = 1): VipRecord {
  return { kind: "vip", network: "default", service, address, order, settled: true };
}

/** A node's log: its node record and these; or bodies by key, well-formed or not. */
export function logOf(
  name: string,
  records: readonly NodeLogRecord[],
  bodies: Readonly<Record<string, string | null>> = {},
): OwnerLog {
  const node: NodeLogRecord = {
    kind: "node",
    name,
    host: `${name}.example`,
    port: 7650,
    zone: "",
    labels: {},
    software: "0.1.0",
    prefixes: [],
  };
  const texts = [node, ...records].map((record) => [recordKey(record), renderRecord(record)] as const);
  const entryByKey = new Map<string, Entry>();
  for (const [key, body] of [...texts, ...Object.entries(bodies)])
    entryByKey.set(key, { version: entryByKey.size + 1, body });
  return { owner: idOf(name), incarnation: 3, version: entryByKey.size, floor: 0, entryByKey };
}

/** What a merge on the first of these nodes starts from. */
export function inputOf(nodes: readonly TestNode[], part: Partial<MergeInput> = {}): MergeInput {
  const logs = nodes.map(({ name, records }) => logOf(name, records));
  return {
    self: idOf(nodes[0]?.name ?? "a"),
    incarnation: 3,
    standings: nodes.slice(1).map(({ name, state }) => standing(name, state)),
    logs: new Map(logs.map((log): [NodeId, OwnerLog] => [log.owner, log])),
    roleOf: () => "manager",
    complete: true,
    pool: POOL,
    networks: [],
    startedAtMs: 500,
    nowMs: 10_000,
    ...part,
  };
}

/** How this node judges another. */
export function standing(name: string, state: MemberState = "alive"): Standing {
  return { id: idOf(name), state, sinceMs: 700, rttMs: 2, via: null, settlesAtMs: null };
}

/** A member as another node sees it. */
export function member(name: string, part: Partial<Member> = {}): Member {
  const judged = { software: "0.1.0", incarnation: 3, sinceMs: 700, rttMs: 2 };
  return plainMember(idOf(name), name, { host: `${name}.example`, role: "manager", ...judged, ...part });
}
