/**
 * Judge: how well a thing is, in one of four tones, and what of all there is somebody should look at first.
 *
 * `good`: as it should be. `fair`: it works, but costs something or may soon not. `poor`: somebody is not served.
 * `idle`: nothing is expected of it. A tone never stands alone on the page: the word beside it says what it means, for
 * those who do not see colours.
 *
 * Pure.
 */

import type { LinkLine, TrafficReport } from "../admin/contract-live.ts";
import type { MemberLine, ReplicaReport, ServiceLine } from "../admin/contract.ts";

import { keyOf, type Board } from "./board.ts";
import { pairsOf } from "./ring.ts";
import { hostAddress, networkAddress, pageAddress, serviceAddress } from "./route.ts";
import { count } from "./words.ts";

/** How well a thing is. */
export type Tone = "good" | "fair" | "poor" | "idle";

/** A tone and its word. */
export interface Verdict {
  readonly tone: Tone;
  readonly word: string;
}

/** States of a service, by which lists are filtered. */
export const SERVICE_STATES = ["ready", "partly", "down", "empty"] as const;

/** The state of a service. */
export type ServiceState = (typeof SERVICE_STATES)[number];

const TONE_OF_STATE: Readonly<Record<ServiceState, Tone>> = {
  ready: "good",
  partly: "fair",
  down: "poor",
  empty: "idle",
};

/** `ready`: all replicas are in. `partly`: some are. `down`: none of them is. `empty`: there are none. */
export function serviceState(line: Pick<ServiceLine, "replicas" | "ready">): ServiceState {
  if (line.replicas === 0) return "empty";
  if (line.ready === 0) return "down";
  return line.ready < line.replicas ? "partly" : "ready";
}

/** How well a service is; problems with its labels make a ready one fair. */
export function serviceVerdict(line: Pick<ServiceLine, "replicas" | "ready" | "problems">): Verdict {
  const word = serviceState(line);
  const tone = TONE_OF_STATE[word];
  return { tone: tone === "good" && line.problems.length > 0 ? "fair" : tone, word };
}

/** How well a host is. */
export function memberVerdict(line: Pick<MemberLine, "state" | "via" | "settlesAtMs" | "draining">): Verdict {
  if (line.state === "dead") return { tone: "poor", word: "dead" };
  if (line.state === "suspect") return { tone: "fair", word: "suspect" };
  if (line.state !== "alive") return { tone: "idle", word: line.state };
  if (line.draining) return { tone: "fair", word: "draining" };
  if (line.settlesAtMs !== null) return { tone: "fair", word: "settling" };
  return line.via === null ? { tone: "good", word: "alive" } : { tone: "fair", word: "alive" };
}

/** How well a replica is: in or out, by what the cluster says and by what this host's proxy saw. */
export function replicaVerdict(
  replica: Pick<ReplicaReport, "eligible" | "tier" | "ejected" | "state">,
): Verdict {
  if (replica.tier === "draining" || replica.state === "draining") return { tone: "fair", word: "draining" };
  if (!replica.eligible) return { tone: "poor", word: "out" };
  return replica.ejected === null ? { tone: "good", word: "in" } : { tone: "fair", word: "ejected" };
}

/** How well a link is. */
export function linkVerdict(state: LinkLine["state"]): Verdict {
  switch (state) {
    case "open":
      return { tone: "good", word: "open" };
    case "via":
      return { tone: "fair", word: "via another host" };
    case "broken":
      return { tone: "poor", word: "broken" };
    case "none":
      return { tone: "idle", word: "not linked" };
  }
}

/** Something to look at. */
export interface Concern {
  readonly tone: Tone;
  /** What it is about: a name. */
  readonly subject: string;
  readonly text: string;
  readonly address: string;
}

/** What somebody should look at first: what serves nobody before what merely costs something. */
export function concernsOf(board: Board, traffic: TrafficReport | null): readonly Concern[] {
  const all = [
    ...board.members.flatMap((line) => ofMember(line, nameOf(board, line.id))),
    ...brokenLinks(board, traffic),
    ...board.services.flatMap(ofService),
    ...(traffic?.services ?? []).flatMap((one) =>
      one.ejected === 0
        ? []
        : [concern("fair", one.key, `${count(one.ejected, "replica")} ejected`, serviceAddress(one.key))],
    ),
    ...board.networks
      .filter((line) => !line.sound)
      .map((line) => concern("poor", line.name, line.problems[0] ?? "not made", networkAddress(line.name))),
    ...board.status.sources
      .filter((source) => source.stale !== null)
      .map((source) => concern("fair", source.name, source.stale ?? "", pageAddress("problems"))),
    ...board.status.problems.map((one) => concern("fair", one.subject, one.text, pageAddress("problems"))),
    ...board.status.warnings.map((text) => concern("fair", "this host", text, pageAddress("problems"))),
  ];
  return all.toSorted((a, b) => RANK[a.tone] - RANK[b.tone]);
}

const RANK: Readonly<Record<Tone, number>> = { poor: 0, fair: 1, idle: 2, good: 3 };

function concern(tone: Tone, subject: string, text: string, address: string): Concern {
  return { tone, subject, text, address };
}

/** What a host is called; its id for one that is not known. */
export function nameOf(board: Board, id: string): string {
  return board.hostNames.get(id) ?? id;
}

/** Links as they count: one to a host that said it goes, to be back soon, is none, and not a broken one. */
export function linksNow(board: Board, traffic: TrafficReport | null): readonly LinkLine[] {
  const links = traffic?.links ?? [];
  const away = new Set(board.members.filter(({ state }) => state === "away").map(({ id }) => id));
  if (away.size === 0) return links;
  const isAway = ({ fromId, toId }: LinkLine): boolean => away.has(fromId) || away.has(toId);
  return links.map((link) => (isAway(link) ? { ...link, state: "none", rttMs: null } : link));
}

function ofMember(line: MemberLine, name: string): readonly Concern[] {
  const { tone, word } = memberVerdict(line);
  if (tone !== "poor" && tone !== "fair") return [];
  const through = line.via === null ? "" : `reached through ${line.via}`;
  const text = [word === "alive" ? "" : `host is ${word}`, through].filter((part) => part !== "").join(", ");
  return [concern(tone, name, text, hostAddress(name))];
}

function ofService(line: ServiceLine): readonly Concern[] {
  const state = serviceState(line);
  const address = serviceAddress(keyOf(line));
  const found = line.problems.map((text) => concern("fair", keyOf(line), text, address));
  if (state === "down") found.unshift(concern("poor", keyOf(line), "no replica is ready", address));
  const part = `${line.ready} of ${line.replicas} replicas ready`;
  if (state === "partly") found.unshift(concern("fair", keyOf(line), part, address));
  return found;
}

/** Links between hosts that live: that nobody reaches a dead one is said by its own line. */
function brokenLinks(board: Board, traffic: TrafficReport | null): readonly Concern[] {
  const alive = new Set(board.members.filter((line) => line.state === "alive").map((line) => line.id));
  return pairsOf(traffic?.links ?? [])
    .filter(({ a, b, state }) => state === "broken" && alive.has(a) && alive.has(b))
    .map(({ a, b }) => {
      const [one, other] = [nameOf(board, a), nameOf(board, b)].toSorted();
      return concern(
        "poor",
        `${one} and ${other}`,
        "the link between them is broken",
        hostAddress(one ?? ""),
      );
    });
}
