// Clusters of gossips that are up and agree, for tests of what happens then.

import assert from "node:assert/strict";

import type { MemberState } from "../../src/model/member.ts";
import type { Host } from "./gossip-host.ts";
import { GossipNetwork } from "./gossip-network.ts";

/** The longest time a frame is under way. */
export const DELAY_MS = 5;
/** A crash is seen within half a second, silence within three, healing within two. */
export const CRASH_SEEN_MS = 500;
export const SILENCE_SEEN_MS = 3000;
export const HEALED_MS = 2000;

/** A cluster whose members all agree, and have for a while. */
export interface Settled {
  readonly network: GossipNetwork;
  readonly hosts: readonly Host[];
}

/** Starts so many hosts and waits until they agree, and until nobody holds back his judgement because he is new. */
export function settled(count: number, seed = 1): Settled {
  const network = new GossipNetwork({ seed, delayMs: DELAY_MS });
  const hosts = network.startMany(count);
  network.runUntil("all agree", 5000, () => network.agrees);
  network.runFor(2500);
  return { network, hosts };
}

/** One of them. */
export function at(hosts: readonly Host[], index: number): Host {
  const host = hosts[index];
  assert.ok(host !== undefined, `there is a host number ${index}`);
  return host;
}

/** Waits until all running hosts but the subject see it in a state. @returns how long that took */
export function untilSeen(
  network: GossipNetwork,
  subject: Host,
  { state, withinMs }: { state: MemberState; withinMs: number },
): number {
  const observers = network.running.filter((host) => host !== subject);
  return network.runUntil(`${subject.name} is ${state} to all`, withinMs, () =>
    observers.every((host) => network.stateOf(host, subject) === state),
  );
}

/** How often a host was told of something. */
export function toldOf(host: Host, kind: string): string[] {
  return host.happenings.filter((one) => one.kind === kind).map(({ subject }) => subject);
}

/** The kinds of frames that leave the hosts in a time. */
export function kindsSaid(network: GossipNetwork, ms: number): ReadonlySet<string> {
  const kinds = new Set<string>();
  network.onFrame = ({ kind }) => kinds.add(kind);
  network.runFor(ms);
  network.onFrame = () => undefined;
  return kinds;
}
