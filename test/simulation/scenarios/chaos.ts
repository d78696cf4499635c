/**
 * Chaos: every fault at random, one over the other, and then peace.
 *
 * What must always hold is checked at every step meanwhile; once the faults stop all must agree within a bound. It is
 * what the search runs with seed after seed. Only the script draws from its generator, at times that the product has no
 * part in, so a change of the product changes what happens to the cluster as little as can be.
 */

import { below, pick, shuffled } from "../../../src/base/random.ts";
import {
  backUp,
  clog,
  heal,
  isolate,
  jumpClock,
  leave,
  partition,
  pauseFor,
  reconnect,
  resetLinks,
  startAgain,
  type DiskFound,
} from "../faults.ts";
import type { Host } from "../host.ts";
import type { Run, Scenario } from "../run.ts";

/** Length of the chaos when none is given. */
const CHAOS_MS = 25_000;
/**
 * All must agree this long after the last fault: who came and went too often settles for up to half a minute, and a
 * redial of a large cluster waits as long.
 */
const SETTLED_WITHIN_MS = { small: 40_000, large: 90_000 };
const SMALL_CLUSTER = 24;
/** Nothing runs more than this on one host. */
const REPLICAS_MAX = 12;

type Fault = (run: Run, host: Host) => void;

/** Faults and changes with their weights. */
const FAULTS: readonly (readonly [number, Fault])[] = [
  [10, (run, host) => void (host.endpoints.length < REPLICAS_MAX && run.work.create(host, serviceOf(run)))],
  [6, (run, host) => void run.work.update(host, someId(run, host), 1 + below(run.sim.random, 99))],
  [6, (run, host) => run.work.remove(host, someId(run, host))],
  [4, (run, host) => drain(run, host)],
  [3, (run, host) => sicken(run, host)],
  [6, (run, host) => crash(run, host)],
  [2, (run, host) => losePower(run, host)],
  [4, (run, host) => stop(run, host)],
  [4, (run, host) => pauseIt(run, host)],
  [4, (run, host) => isolateIt(run, host)],
  [3, (run, host) => cutOne(run, host)],
  [2, (run) => part(run)],
  [3, (run, host) => resetSome(run, host)],
  [2, (run, host) => clogIt(run, host)],
  [1, (run, host) => jumpClock(host, 100 + run.sim.random() * 20_000)],
  [1, (run) => badWeather(run)],
];
const WEIGHT = FAULTS.reduce((sum, [weight]) => sum + weight, 0);

export const chaos: Scenario = (run) => {
  const { sim, options } = run;
  const hosts = run.addHosts(options.nodes);
  for (const host of hosts) sim.after(sim.random() * 3000, () => start(run, host));
  const endMs = sim.nowMs + (options.seconds === null ? CHAOS_MS : options.seconds * 1000);
  const everyMs = Math.max(50, 1500 / Math.sqrt(options.nodes));
  const disturb = (): void => {
    if (sim.nowMs > endMs) return;
    const host = pick(sim.random, hosts);
    const fault = drawn(sim.random() * WEIGHT);
    if (host !== undefined) fault(run, host);
    sim.after(2 * everyMs * sim.random(), disturb);
  };
  sim.after(sim.random() * 4000, disturb);
  sim.run(endMs - sim.nowMs);
  peace(run);
};

/** Ends all faults and waits until all agree. */
export function peace(run: Run): void {
  const { sim, options } = run;
  sim.network.weather = { latencyMs: options.latencyMs, loss: 0, raw: null };
  sim.unhealthyIds.clear();
  for (const host of sim.hosts) {
    clog(host, Number.POSITIVE_INFINITY);
    if (host.isPaused) sim.resume(host, "last");
  }
  heal(sim, "either");
  // Clean stops that are under way come to their end first.
  sim.until(() => sim.hosts.every(({ isLeaving, isRunning }) => !isLeaving || !isRunning), 5000, 50);
  for (const host of sim.hosts) start(run, host);
  const withinMs = sim.hosts.length <= SMALL_CLUSTER ? SETTLED_WITHIN_MS.small : SETTLED_WITHIN_MS.large;
  run.measured();
  run.samples.heal.push(run.settleForGood("the faults stopped", withinMs));
  run.checkDeep();
  for (const host of sim.running) run.pictures.project(host, sim.view(host));
}

function drawn(at: number): Fault {
  let left = at;
  for (const [weight, fault] of FAULTS) {
    left -= weight;
    if (left < 0) return fault;
  }
  return () => undefined;
}

function serviceOf(run: Run): string {
  return `c${below(run.sim.random, 4)}`;
}

function someId(run: Run, host: Host): string {
  return pick(run.sim.random, host.endpoints)?.id ?? "";
}

function start(run: Run, host: Host, disk: DiskFound = "kept"): void {
  if (host.isRunning) return;
  // Its sources may be slow to tell, but not so slow that it goes on without them.
  startAgain(run.sim, host, disk, { toldAfterMs: run.sim.random() * 2500 });
  run.deaths.excuse([host]);
}

function startLater(run: Run, host: Host, withinMs: number, disk: DiskFound = "kept"): void {
  const { sim } = run;
  sim.after(100 + sim.random() * withinMs, () => start(run, host, disk));
}

function crash(run: Run, host: Host): void {
  const dice = run.sim.random();
  const disk: DiskFound = dice < 0.75 ? "kept" : dice < 0.85 ? "lost" : "old";
  if (disk === "old" && host.backup === null) backUp(host);
  if (host.isRunning) run.sim.crash(host);
  startLater(run, host, 6000, disk);
}

function losePower(run: Run, host: Host): void {
  run.sim.powerOff(host);
  startLater(run, host, 8000, run.sim.random() < 0.8 ? "kept" : "old");
}

function stop(run: Run, host: Host): void {
  leave(run.sim, host, run.sim.random() < 0.5 ? "left" : "away");
  if (run.sim.random() < 0.3) backUp(host);
  run.sim.after(3000 + run.sim.random() * 3000, () => start(run, host));
}

function pauseIt(run: Run, host: Host): void {
  const { random } = run.sim;
  const lateTick = random() < 0.5 ? "first" : "last";
  pauseFor(run.sim, host, { ms: 50 + random() * random() * 6000, lateTick });
  run.deaths.excuse([host]);
}

function isolateIt(run: Run, host: Host): void {
  const { sim } = run;
  isolate(sim, host);
  sim.after(100 + sim.random() * 8000, () => {
    reconnect(sim, host, "either");
    run.deaths.excuse([host]);
  });
}

function cutOne(run: Run, host: Host): void {
  const { sim } = run;
  const other = pick(sim.random, sim.hosts);
  const isBoth = sim.random() < 0.4;
  const ms = 100 + sim.random() * 8000;
  if (other === undefined || other === host) return;
  sim.network.cut(host, other);
  if (isBoth) sim.network.cut(other, host);
  sim.after(ms, () => {
    sim.network.mend(host, other, "either");
    if (isBoth) sim.network.mend(other, host, "either");
  });
}

function part(run: Run): void {
  const { sim } = run;
  const count = 1 + below(sim.random, Math.max(1, sim.hosts.length - 1));
  const group = shuffled(sim.random, sim.hosts).slice(0, count);
  const way = pick(sim.random, ["both", "both", "leaving", "entering"] as const) ?? "both";
  partition(sim, group, way);
  sim.after(100 + sim.random() * 8000, () => {
    heal(sim, "either");
    run.deaths.excuse(sim.hosts);
  });
}

function resetSome(run: Run, host: Host): void {
  const other = pick(run.sim.random, run.sim.hosts);
  if (other !== undefined) resetLinks(run.sim, host, other);
}

function clogIt(run: Run, host: Host): void {
  const { sim } = run;
  clog(host, 1 + sim.random() * 20);
  sim.after(500 + sim.random() * 5000, () => clog(host, Number.POSITIVE_INFINITY));
}

/** Loss, delay, or what is harsher than TCP, for a while. */
function badWeather(run: Run): void {
  const { sim, options } = run;
  const { weather } = sim.network;
  const isRaw = options.raw || sim.random() < 0.2;
  const raw = isRaw
    ? { drop: 0.1 * sim.random(), repeat: 0.1 * sim.random(), reorder: 0.3 * sim.random() }
    : null;
  sim.network.weather = {
    latencyMs: { low: 1, high: 1 + sim.random() * 300 },
    loss: sim.random() * 0.2,
    raw,
  };
  sim.after(500 + sim.random() * 5000, () => {
    sim.network.weather = weather;
  });
}

/** A replica's probes fail for a while. */
function sicken(run: Run, host: Host): void {
  const { sim } = run;
  const id = someId(run, host);
  sim.unhealthyIds.add(id);
  sim.after(200 + sim.random() * 6000, () => sim.unhealthyIds.delete(id));
}

/** A replica is drained or activated from any host; now and then all of a host, for some seconds. */
function drain(run: Run, host: Host): void {
  const { sim } = run;
  const replica = someId(run, host);
  const draw = sim.random();
  const asked = pick(sim.random, sim.hosts);
  if (asked === undefined) return;
  const drainNode = (draining: boolean): void =>
    sim.feed(asked, { kind: "drainNode", node: host.id, draining });
  if (draw < 0.1) {
    drainNode(true);
    sim.after(1000 + draw * 60_000, () => drainNode(false));
  } else if (replica !== "") {
    sim.feed(asked, { kind: "drain", replica, draining: draw < 0.6 });
  }
}
