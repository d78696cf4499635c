/**
 * Changes: what has to be done to a WireGuard device so that it is what the plan says.
 *
 * Only what differs is touched: a peer that is as it should be keeps its session. Where a peer is at the moment
 * WireGuard learns from its packets, which it checks; so an endpoint is told once, and only again when the plan says
 * another one, or nobody knows any.
 *
 * Pure. device.ts carries them out.
 */

import type { WireguardDevice, WireguardPeer } from "./plan.ts";

/** A peer as it is there. */
export interface ObservedPeer extends Omit<WireguardPeer, "endpoint"> {
  readonly endpoint: string | null;
}

/** A device as it is there. */
export interface Observed {
  /** Its public key; null while it has none. */
  readonly key: string | null;
  readonly port: number;
  readonly mtu: number;
  readonly isUp: boolean;
  readonly addresses: readonly string[];
  readonly peers: readonly ObservedPeer[];
}

/** One thing to do. `identity`: gives the device our key and port. */
export type Change =
  | { readonly kind: "identity"; readonly port: number }
  | { readonly kind: "forget"; readonly key: string }
  | { readonly kind: "peer"; readonly peer: WireguardPeer }
  | { readonly kind: "drop-address" | "add-address"; readonly address: string }
  | { readonly kind: "mtu"; readonly mtu: number }
  | { readonly kind: "up" };

/** What the difference depends on beside the two sides. */
export interface DiffOptions {
  /** Our public key. */
  readonly key: string;
  /** The endpoint that we last told of each peer. */
  readonly toldByKey: ReadonlyMap<string, string>;
  /** False: nothing is taken away. */
  readonly mayRemove: boolean;
}

/** The changes from what is there to what should be, in the order in which they are to be made. */
export function changesBetween(
  observed: Observed,
  desired: WireguardDevice,
  { key, toldByKey, mayRemove }: DiffOptions,
): readonly Change[] {
  const changes: Change[] = [];
  if (observed.key !== key || observed.port !== desired.port) {
    changes.push({ kind: "identity", port: desired.port });
  }
  const wanted = new Set(desired.peers.map((peer) => peer.key));
  const dropped = mayRemove ? observed.peers.filter((peer) => !wanted.has(peer.key)) : [];
  changes.push(...dropped.map((peer): Change => ({ kind: "forget", key: peer.key })));
  const observedByKey = new Map(observed.peers.map((peer) => [peer.key, peer]));
  const promised = new Set(desired.peers.flatMap(({ allowed }) => allowed));
  for (const peer of desired.peers) {
    const there = observedByKey.get(peer.key);
    const kept = mayRemove ? [] : (there?.allowed ?? []).filter((address) => !promised.has(address));
    const allowed = [...peer.allowed, ...kept].sort();
    const isWhole =
      there !== undefined &&
      there.endpoint !== null &&
      isSame(there.allowed, allowed) &&
      (toldByKey.get(peer.key) ?? there.endpoint) === peer.endpoint;
    if (!isWhole) changes.push({ kind: "peer", peer: { ...peer, allowed } });
  }
  return [...changes, ...linkChanges(observed, desired, mayRemove)];
}

function linkChanges(observed: Observed, desired: WireguardDevice, mayRemove: boolean): readonly Change[] {
  const changes: Change[] = [];
  const gone = observed.addresses.filter((address) => !desired.addresses.includes(address));
  if (mayRemove) changes.push(...gone.map((address): Change => ({ kind: "drop-address", address })));
  const missing = desired.addresses.filter((address) => !observed.addresses.includes(address));
  changes.push(...missing.map((address): Change => ({ kind: "add-address", address })));
  if (observed.mtu !== desired.mtu) changes.push({ kind: "mtu", mtu: desired.mtu });
  if (!observed.isUp) changes.push({ kind: "up" });
  return changes;
}

function isSame(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((text, at) => text === other[at]);
}

/** Peers in one call of `wg`: far below what a system takes as arguments. */
const PEERS_A_CALL = 64;

/**
 * The arguments of `wg set` (wg(8)) for some changes, a list a call; empty where none concerns it.
 *
 * @param name  what `wg` knows the device by
 * @param keyPath  the file of the private key, which is never an argument itself
 */
export function renderSet(
  name: string,
  changes: readonly Change[],
  keyPath: string,
): readonly (readonly string[])[] {
  const identity = changes.flatMap((change) => {
    return change.kind === "identity"
      ? [["set", name, "private-key", keyPath, "listen-port", String(change.port)]]
      : [];
  });
  const peers = changes.flatMap((change) => {
    if (change.kind === "forget") return [["peer", change.key, "remove"]];
    if (change.kind !== "peer") return [];
    const { key, endpoint, allowed } = change.peer;
    return [["peer", key, "endpoint", endpoint, "allowed-ips", allowed.join(",")]];
  });
  const calls: string[][] = [...identity];
  for (let at = 0; at < peers.length; at += PEERS_A_CALL) {
    calls.push(["set", name, ...peers.slice(at, at + PEERS_A_CALL).flat()]);
  }
  return calls;
}

/** Lines for `ip -batch -` (ip(8)) for some changes; empty where none concerns it. */
export function renderBatch(device: string, changes: readonly Change[]): readonly string[] {
  return changes.flatMap((change) => {
    switch (change.kind) {
      case "drop-address":
        return [`address delete ${change.address} dev ${device}`];
      case "add-address":
        return [`address add ${change.address} dev ${device}`];
      case "mtu":
        return [`link set dev ${device} mtu ${change.mtu}`];
      case "up":
        return [`link set dev ${device} up`];
      case "identity":
      case "forget":
      case "peer":
        return [];
    }
  });
}
