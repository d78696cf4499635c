/**
 * Peers: does this host reach the others, do they reach it, and do they agree on the time and the version?
 *
 * Both directions are tried by dialling, at the moment of the question: gossip goes round a broken link, so a cluster
 * may look whole while every request takes a detour. A host that is thought dead and is not reached is a warning: it
 * may be switched off on purpose; one that is thought alive and is not reached, or does not reach us, is a failure.
 * Hosts that are well share a row: with a hundred of them the ill ones must be seen.
 *
 * Pure. The daemon asks.
 */

import type { MemberState } from "../../model/member.ts";
import type { DoctorCheck } from "../contract-doctor.ts";

import { listed, made, type CheckId } from "./catalogue.ts";

/** What came of dialling one. `untried`: there was no time left for it. */
export type Reached =
  | { readonly kind: "reached" }
  | { readonly kind: "failed"; readonly reason: string }
  | { readonly kind: "untried" };

/** What it says of its way here. `unknown`: it could not be asked. */
export type ReachedBack =
  | { readonly kind: "reached" }
  | { readonly kind: "failed"; readonly address: string; readonly reason: string }
  | { readonly kind: "unknown"; readonly reason: string };

/** Another member. */
export interface PeerFacts {
  readonly name: string;
  readonly state: MemberState;
  /** Where it listens, `host:port`. */
  readonly address: string;
  readonly version: string;
  /** The name of the member through which gossip and streams reach it; null where directly, or not at all. */
  readonly via: string | null;
  readonly there: Reached;
  readonly back: ReachedBack;
  /** By how much its clock is ahead of ours, milliseconds, and by how much that may be wrong; null while not known. */
  readonly clock: { readonly aheadMs: number; readonly errorMs: number } | null;
}

/** How this host is to be reached. */
export interface Here {
  readonly name: string;
  readonly version: string;
  /** `host:port` */
  readonly address: string;
}

/** Beyond, nobody can say any more which of two declarations is the newer one. */
const SKEW_WARN_MS = 2000;
/** Rows of ill hosts of one kind; beyond, they are counted in the last one. */
const ROWS_MAX = 16;

/** All checks of them; a host alone has one row. */
export function judgePeers(peers: readonly PeerFacts[], here: Here): readonly DoctorCheck[] {
  if (peers.length === 0) {
    const text = "this cluster has no other host; how others join: skein token worker";
    return [made("peer.there", { subject: here.name, state: "ok", text })];
  }
  return [...ofWayThere(peers), ...ofWayBack(peers, here), ...ofClocks(peers), ...ofVersions(peers, here)];
}

function ofWayThere(peers: readonly PeerFacts[]): readonly DoctorCheck[] {
  const reached = peers.filter(({ there }) => there.kind === "reached");
  const untried = peers.filter(({ there }) => there.kind === "untried");
  const failed = peers.flatMap(({ name, state, address, there, via }) => {
    if (there.kind !== "failed") return [];
    const isGone = state === "dead" || state === "away";
    const detour = via === null ? "" : `; reached through ${via}`;
    const text = `is ${state}, and not reached from here: ${there.reason}${detour}`;
    const remedy = isGone
      ? `start it again, or let it go for good: skein node rm ${name}`
      : `let this host connect to TCP ${address} (firewalls of both hosts and between them)`;
    return [
      { name, check: made("peer.there", { subject: name, state: isGone ? "warn" : "fail", text, remedy }) },
    ];
  });
  return [
    ...rowOf(reached, "peer.there", { state: "ok", text: "reached from here" }),
    ...bounded("peer.there", failed),
    ...rowOf(untried, "peer.there", {
      state: "warn",
      text: "no time was left to try the way there; ask again",
    }),
  ];
}

function ofWayBack(peers: readonly PeerFacts[], here: Here): readonly DoctorCheck[] {
  // Who is not reached cannot be asked, which its own row says.
  const asked = peers.filter(({ there }) => there.kind === "reached");
  const reached = asked.filter(({ back }) => back.kind === "reached");
  const failed = asked.flatMap(({ name, back }) => {
    if (back.kind !== "failed") return [];
    const text = `does not reach this host at ${back.address}: ${back.reason}`;
    const other = "set mesh.advertise of this host to an address that it reaches";
    const remedy = `let ${name} connect to TCP ${back.address}, or ${other}`;
    return [{ name, check: made("peer.back", { subject: name, state: "fail", text, remedy }) }];
  });
  const unknown = asked.flatMap(({ name, back }) => {
    if (back.kind !== "unknown") return [];
    const text = `whether it reaches this host is not known: ${back.reason}`;
    return [{ name, check: made("peer.back", { subject: name, state: "warn", text }) }];
  });
  return [
    ...rowOf(reached, "peer.back", { state: "ok", text: `reaches this host at ${here.address}` }),
    ...bounded("peer.back", failed),
    ...bounded("peer.back", unknown),
  ];
}

function ofClocks(peers: readonly PeerFacts[]): readonly DoctorCheck[] {
  const isOff = ({ clock }: PeerFacts): boolean =>
    clock !== null && Math.abs(clock.aheadMs) - clock.errorMs > SKEW_WARN_MS;
  const known = peers.filter(({ clock }) => clock !== null);
  const agreeing = known.filter((peer) => !isOff(peer));
  const largestMs = Math.max(0, ...agreeing.map(({ clock }) => Math.abs(clock?.aheadMs ?? 0)));
  const off = known.filter(isOff).map(({ name, clock }) => {
    const aheadMs = clock?.aheadMs ?? 0;
    const side = aheadMs > 0 ? "ahead of" : "behind";
    const text = `its clock is ${spanText(Math.abs(aheadMs))} ${side} this host's`;
    const remedy = "let both hosts set their clocks by NTP (timedatectl set-ntp true; chronyc makestep)";
    return { name, check: made("clock.skew", { subject: name, state: "warn", text, remedy }) };
  });
  return [
    ...rowOf(agreeing, "clock.skew", { state: "ok", text: `clocks agree within ${spanText(largestMs)}` }),
    ...bounded("clock.skew", off),
  ];
}

function ofVersions(peers: readonly PeerFacts[], here: Here): readonly DoctorCheck[] {
  const running = peers.filter(({ state, version }) => state === "alive" && version !== "");
  if (running.length === 0) return [];
  const namesByVersion = new Map<string, string[]>();
  for (const { name, version } of running) {
    namesByVersion.set(version, [...(namesByVersion.get(version) ?? []), name]);
  }
  const others = Array.from(namesByVersion).filter(([version]) => version !== here.version);
  if (others.length === 0) {
    const text = `all ${running.length + 1} hosts run ${here.version}`;
    return [made("version.skew", { subject: here.version, state: "ok", text })];
  }
  return others.map(([version, names]) => {
    const text = `runs ${version}, and this host ${here.version}`;
    const remedy = "fine during an upgrade; go on host by host until all run the same";
    return made("version.skew", { subject: listed(names), state: "warn", text, remedy });
  });
}

function rowOf(
  peers: readonly PeerFacts[],
  id: CheckId,
  outcome: Pick<DoctorCheck, "state" | "text">,
): readonly DoctorCheck[] {
  return peers.length === 0 ? [] : [made(id, { ...outcome, subject: listed(peers.map(({ name }) => name)) })];
}

function bounded(
  id: CheckId,
  rows: readonly { readonly name: string; readonly check: DoctorCheck }[],
): readonly DoctorCheck[] {
  const [first] = rows;
  const rest = rows.slice(ROWS_MAX);
  const told = rows.slice(0, ROWS_MAX).map(({ check }) => check);
  if (first === undefined || rest.length === 0) return told;
  const { state } = first.check;
  const text = "the same of these";
  return [...told, made(id, { subject: listed(rest.map(({ name }) => name)), state, text })];
}

function spanText(ms: number): string {
  if (ms < 1000) return `${Math.ceil(ms)} ms`;
  if (ms < 120_000) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 7_200_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`;
}
