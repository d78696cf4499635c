/**
 * Zone: what one change costs the names of a large cluster, and what reverse names cost to look up.
 *
 * A thousand services with ten replicas each, as a view holds them: what a change does not touch stays the same object,
 * and the zone is planned from the one before, as the daemon does it.
 *
 * Touches: nothing.
 */

import { seededRandom } from "../../src/base/random.ts";
import { answer, basisOf } from "../../src/dns/names/answer.ts";
import { TYPE } from "../../src/dns/codes.ts";
import { planZone, type Zone, type ZoneOptions } from "../../src/dns/names/zone.ts";
import type { View } from "../../src/model/view.ts";
import { member, replica, service, view } from "../dns/fixture.ts";

import { quantile } from "./statistics.ts";

const SERVICES = 1000;
const REPLICAS = 10;
const MEMBERS = 1000;
/** Replicas of one service, in the bench of a very large one. */
const MANY = 5000;
/** Of each kind of change, before it is measured: the first ones run uncompiled. */
const WARM_UP = 100;
const ROUNDS = 300;

const OPTIONS: ZoneOptions = {
  domain: "skein.internal",
  ttlSeconds: 5,
  reverseRanges: ["10.96.0.0/12"],
  software: "bench",
};

/** One kind of change, or of question, in milliseconds each. */
export interface ZoneFigures {
  readonly firstMs: number;
  readonly tookMs: Readonly<Record<string, { readonly medianMs: number; readonly worstMs: number }>>;
}

/** Measures; takes a second or two. */
export function measureZone(): ZoneFigures {
  const first = clusterOf();
  const startMs = performance.now();
  const zone = planZone(first, OPTIONS);
  const firstMs = performance.now() - startMs;
  const { members, self } = first;
  const replicas = Array.from({ length: MANY }, (_, at) => copy("many", at, 5));
  const many = view([service("default", "many", { vip: "10.96.0.1", replicas })], { members, self });
  const manyZone = planZone(many, OPTIONS);
  return {
    firstMs,
    tookMs: {
      "a replica's state": changes(first, (now, round) => withReplica(now, round % SERVICES, round)),
      "a new service": changes(first, (now, round) => {
        const come = service("default", `new-${round}`, { vip: "10.97.0.1" });
        return { ...now, services: [...now.services, come].sort(byKey) };
      }),
      "a member away and back": changes(first, (now, round) => {
        const state = round % 2 === 0 ? ("away" as const) : ("alive" as const);
        const members = now.members.map((one, at) => (at === 7 ? { ...one, state } : one));
        return { ...now, members };
      }),
      "a replica of 5,000": changes(many, (now, round) => withReplica(now, 0, round)),
      "a reverse name": asked(zone, "9.3.1.10.in-addr.arpa", TYPE.PTR),
      "a reverse name nobody has": asked(zone, "9.3.96.10.in-addr.arpa", TYPE.PTR),
      "4,000 of 5,000 addresses": asked(manyZone, "tasks.many", TYPE.A),
      "whether an answer holds": timed((round) => {
        const question = { name: `web-${round}.default.skein.internal`, typeCode: TYPE.A, classCode: 1 };
        return () => basisOf(zone, question, { kind: "host" });
      }),
    },
  };
}

/** The figures, a line each, beside what is promised. */
export function linesOfZone({
  firstMs,
  tookMs,
}: ZoneFigures): readonly { readonly what: string; readonly promised: string; readonly measured: string }[] {
  const first = {
    what: "zone of 10,000 replicas, from nothing",
    promised: "-",
    measured: `${firstMs.toFixed(1)} ms`,
  };
  const promises: Readonly<Record<string, string>> = {
    "a replica's state": "5 ms",
    "a new service": "5 ms",
    "a member away and back": "5 ms",
    "a reverse name": "1 ms",
    "a reverse name nobody has": "1 ms",
  };
  const lines = Object.entries(tookMs).map(([what, { medianMs, worstMs }]) => {
    const measured = `median ${medianMs.toFixed(3)} ms, worst ${worstMs.toFixed(1)} ms`;
    return { what: `zone: ${what}`, promised: promises[what] ?? "-", measured };
  });
  return [first, ...lines];
}

function clusterOf(): View {
  const services = Array.from({ length: SERVICES }, (_, index) =>
    service("default", `web-${index}`, {
      stack: `stack-${index % 50}`,
      vip: `10.96.${index >> 8}.${index & 255}`,
      replicas: Array.from({ length: REPLICAS }, (_, at) => copy(`web-${index}`, index * REPLICAS + at, 1)),
    }),
  );
  const members = Array.from({ length: MEMBERS }, (_, index) =>
    member(`node-${index}`, { self: index === 0, host: `10.9.${index >> 8}.${index & 255}` }),
  );
  return view(services, { members, self: "id-node-0" });
}

function copy(name: string, number: number, net: number) {
  const node = `node-${number % MEMBERS}`;
  const id = number.toString(16).padStart(12, "0");
  const address = `10.${net}.${number >> 8}.${number & 255}`;
  return replica(`${name}-${number}`, address, { id, node: `id-${node}`, nodeName: node, slot: number });
}

function byKey(one: { readonly key: string }, other: { readonly key: string }): number {
  return one.key < other.key ? -1 : 1;
}

/** The view with one replica of a service changed: out of traffic, or back. */
function withReplica(now: View, place: number, round: number): View {
  const services = [...now.services];
  const changed = services[place];
  if (changed === undefined) throw new Error(`there is no service ${place}`);
  const at = (round * 7) % changed.replicas.length;
  const replicas = changed.replicas.map((one, other) => {
    return other === at
      ? { ...one, tier: one.tier === "never" ? ("eligible" as const) : ("never" as const) }
      : one;
  });
  services[place] = { ...changed, replicas };
  return { ...now, version: now.version + 1, services };
}

/** Each change on top of the one before; only the planning is timed. */
function changes(first: View, change: (now: View, round: number) => View): Took {
  let now = first;
  let zone: Zone = planZone(now, OPTIONS);
  return timed((round) => {
    now = change(now, round);
    return () => (zone = planZone(now, OPTIONS, zone));
  });
}

function asked(zone: Zone, name: string, typeCode: number): Took {
  const random = seededRandom(1);
  const question = { name, typeCode, classCode: 1 };
  return timed(() => () => answer(zone, question, { kind: "host" }, { random, sizeBytesMax: 65_535 }));
}

interface Took {
  readonly medianMs: number;
  readonly worstMs: number;
}

/** @param prepare  gives what is to be timed */
function timed(prepare: (round: number) => () => unknown): Took {
  const tookMs: number[] = [];
  for (let round = 0; round < WARM_UP + ROUNDS; round += 1) {
    const act = prepare(round);
    const startMs = performance.now();
    act();
    if (round >= WARM_UP) tookMs.push(performance.now() - startMs);
  }
  return { medianMs: quantile(tookMs, 0.5), worstMs: Math.max(...tookMs) };
}
