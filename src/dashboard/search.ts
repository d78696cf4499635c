/**
 * Search: what of the cluster fits the few letters that somebody typed.
 *
 * Services, hosts, networks, replicas and the pages themselves, by name and by address, since an address in a log is
 * often all there is to begin with. Whole names come before starts of names, those before parts; a dozen hits are
 * enough, for who sees more types another letter.
 *
 * Pure.
 */

import type { TrafficReport } from "../admin/contract-live.ts";
import type { Explanation, ServiceLine } from "../admin/contract.ts";
import { serviceKey } from "../model/ids.ts";

import { keyOf, type Board } from "./board.ts";
import { nameOf } from "./judge.ts";
import { hostAddress, networkAddress, pageAddress, PAGES, serviceAddress } from "./route.ts";
import { textOf } from "./rows.ts";

/** One thing that was found. */
export interface Hit {
  readonly kind: "page" | "service" | "host" | "network" | "replica";
  readonly name: string;
  /** What tells it from others of its name. */
  readonly detail: string;
  readonly address: string;
}

/** Hits told at most. */
export const HITS_MAX = 12;

interface Candidate extends Hit {
  /** Everything it is found by, in lower case. */
  readonly text: string;
}

/** What fits; nothing for no letters. */
export function hitsFor(asked: string, board: Board, traffic: TrafficReport | null): readonly Hit[] {
  const text = asked.trim().toLowerCase();
  if (text === "") return [];
  const ranked = candidatesOf(board, traffic).flatMap((one) => {
    const rank = rankOf(one, text);
    return rank === null ? [] : [{ one, rank }];
  });
  return ranked
    .toSorted((a, b) => a.rank - b.rank)
    .slice(0, HITS_MAX)
    .map(({ one: { kind, name, detail, address } }) => ({ kind, name, detail, address }));
}

/**
 * The service whose replica a text may name, for those carry its name in theirs: `web-1`, `shop-web-1`. The picture has
 * no names of replicas, so somebody has to ask. The longest name counts; null when the text holds none.
 */
export function ownerOf(asked: string, services: readonly ServiceLine[]): ServiceLine | null {
  const text = asked.trim().toLowerCase();
  let owner: ServiceLine | null = null;
  for (const line of services) {
    const fits = text.length > line.name.length && text.includes(line.name);
    if (fits && line.name.length > (owner?.name.length ?? 0)) owner = line;
  }
  return owner;
}

/** The replicas of a service that a text fits, by name or by id. */
export function replicaHits(
  asked: string,
  { network, name: service, replicas }: Explanation,
): readonly Hit[] {
  const text = asked.trim().toLowerCase();
  const key = serviceKey(network, service);
  return replicas
    .filter(({ id, name }) => name.includes(text) || id.startsWith(text))
    .map(({ name, node }) => ({
      kind: "replica",
      name,
      detail: `${key} on ${node}`,
      address: serviceAddress(key),
    }));
}

/** 0 for the name itself, then what starts with it, then what holds it anywhere; null for no fit. */
function rankOf(one: Candidate, text: string): number | null {
  const name = one.name.toLowerCase();
  const bare = name.slice(name.indexOf("/") + 1);
  if (name === text || bare === text) return 0;
  if (name.startsWith(text) || bare.startsWith(text)) return 1;
  if (name.includes(text)) return 2;
  return text.split(/\s+/).every((word) => one.text.includes(word)) ? 3 : null;
}

function candidatesOf(board: Board, traffic: TrafficReport | null): readonly Candidate[] {
  return [
    ...board.members.map((line): Candidate => {
      const detail = [line.state, line.address, line.zone].filter((part) => part !== "").join(" · ");
      const text = `${line.name} ${line.id} ${line.address} ${line.zone}`.toLowerCase();
      const name = nameOf(board, line.id);
      return { kind: "host", name, detail, address: hostAddress(name), text };
    }),
    ...board.services.map((line): Candidate => {
      const detail = `${line.ready}/${line.replicas} ready${line.vip === null ? "" : ` · ${line.vip}`}`;
      const address = serviceAddress(keyOf(line));
      return { kind: "service", name: keyOf(line), detail, address, text: textOf(line) };
    }),
    ...board.networks.map((line): Candidate => {
      const detail = line.range ?? "a name only";
      const text = `${line.name} ${line.range ?? ""} ${line.range6 ?? ""}`.toLowerCase();
      return { kind: "network", name: line.name, detail, address: networkAddress(line.name), text };
    }),
    ...replicasOf(board, traffic),
    ...PAGES.map((page): Candidate => {
      const detail = "page";
      return { kind: "page", name: page, detail, address: pageAddress(page), text: page };
    }),
  ];
}

function replicasOf(board: Board, traffic: TrafficReport | null): readonly Candidate[] {
  const known = [
    ...(traffic?.replicas ?? []).map(({ id, name, node, service }) => ({ id, name, node, service })),
    ...board.drains.map(({ replica, name, node, service }) => ({ id: replica, name, node, service })),
  ];
  const byId = new Map(known.map((one) => [one.id, one]));
  return [...byId.values()].map(({ id, name, node, service }) => ({
    kind: "replica",
    name,
    detail: `${service} on ${node}`,
    address: serviceAddress(service),
    text: `${name} ${id} ${node}`.toLowerCase(),
  }));
}
