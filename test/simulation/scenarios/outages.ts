/**
 * Outages: daemons and hosts that fail, each in one way, and how soon the others know.
 */

import { pick } from "../../../src/base/random.ts";
import { heal, isolate, leave, partition, pauseFor, reconnect, startAgain } from "../faults.ts";
import type { Host } from "../host.ts";
import { Violation } from "../observer.ts";
import type { Run, Scenario } from "../run.ts";
import { hasWhole, holds } from "./seen.ts";

const TIMES = 5;
/** How long a host is left alone after a fault, where there are few. */
const SPARED_MS = 70_000;
/** A death must be seen by then, or it never is. */
const SEEN_WITHIN_MS = 60_000;
const HEALED_WITHIN_MS = 60_000;

/** A daemon is killed and comes back, again and again. */
export const crash: Scenario = (run) => {
  run.assemble();
  each(run, (victim) => {
    fault(run, victim, () => run.sim.crash(victim));
    run.sim.run(2000);
    startAgain(run.sim, victim, "kept");
    back(run, `${victim.name} was started again`);
  });
};

/** A host is cut off without a word and comes back. */
export const silent: Scenario = (run) => {
  run.assemble();
  each(run, (victim) => {
    run.deaths.excuse([victim]);
    fault(run, victim, () => isolate(run.sim, victim));
    run.sim.run(5000);
    run.deaths.excuse([victim]);
    reconnect(run.sim, victim, "either");
    back(run, `${victim.name} was connected again`);
  });
};

/** Two halves lose each other for half a minute, and both go on. */
export const halves: Scenario = (run) => {
  const { sim, work } = run;
  run.assemble();
  const half = sim.hosts.filter((_, at) => at % 2 === 1);
  partition(sim, half);
  sim.run(5000);
  for (const host of sim.hosts) work.create(host, "meanwhile");
  sim.run((run.options.seconds ?? 30) * 1000 - 5000);
  run.deaths.excuse(sim.hosts);
  heal(sim, "either");
  run.samples.heal.push(run.settle("the halves met", HEALED_WITHIN_MS));
  run.measured();
  run.checkDeep();
};

/** A host comes and goes every few seconds; nobody else may suffer from it. */
export const flap: Scenario = (run) => {
  const { sim } = run;
  run.assemble();
  const [victim] = sim.hosts;
  if (victim === undefined) return;
  for (let time = 0; time < 8; time += 1) {
    run.deaths.excuse([victim]);
    isolate(sim, victim);
    sim.run(2500 + sim.random() * 2000);
    run.deaths.excuse([victim]);
    reconnect(sim, victim, "either");
    sim.run(1500 + sim.random() * 2000);
  }
  run.samples.heal.push(run.settle("the last return", HEALED_WITHIN_MS));
  run.measured();
  run.checkDeep();
};

/** Processes stop for a second, one at a time: nobody is to be given up for that. */
export const pauses: Scenario = (run) => {
  const { sim, options } = run;
  run.assemble();
  const endMs = sim.nowMs + (options.seconds ?? 60) * 1000;
  while (sim.nowMs < endMs) {
    const host = pick(sim.random, sim.running);
    if (host !== undefined)
      pauseFor(sim, host, { ms: 1000, lateTick: sim.random() < 0.5 ? "first" : "last" });
    sim.run(1500 + sim.random() * 1500);
  }
  run.measured();
  run.settle("the last pause", HEALED_WITHIN_MS);
  run.checkDeep();
};

/** A bad network and processes that stop: how many are given up though they live, in so many node hours. */
export const lossy: Scenario = (run) => {
  const { sim, options } = run;
  run.assemble();
  const { weather } = sim.network;
  const bad = { ...weather, loss: Math.max(options.loss, 0.05), latencyMs: { low: 1, high: 200 } };
  sim.network.weather = bad;
  const hours = (options.nodeHours ?? options.nodes / 60) / options.nodes;
  const endMs = sim.nowMs + hours * 3_600_000;
  let tells = sim.nowMs;
  while (sim.nowMs < endMs) {
    const host = pick(sim.random, sim.running);
    if (host !== undefined)
      pauseFor(sim, host, { ms: 1000, lateTick: sim.random() < 0.5 ? "first" : "last" });
    sim.run((5000 + sim.random() * 10_000) / Math.max(1, options.nodes / 10));
    if (sim.nowMs < tells) continue;
    tells = sim.nowMs + 60_000;
    run.onProgress(
      `${((endMs - sim.nowMs) / 60_000).toFixed(0)} min to go, ${run.deaths.found.length} given up`,
    );
  }
  run.measured();
  const nodeHours = (options.nodes * hours).toFixed(1);
  run.remarks.push(`${run.deaths.found.length} given up though they lived, in ${nodeHours} node hours`);
  sim.network.weather = { ...bad, loss: 0, latencyMs: weather.latencyMs };
  run.samples.heal.push(run.settle("the network became good", HEALED_WITHIN_MS));
  run.checkDeep();
};

/** Packets pass one way only between two nodes: a fault of their link, not a death. */
export const oneWay: Scenario = (run) => {
  const { sim, samples } = run;
  run.assemble();
  each(run, (one) => {
    const other = pick(
      sim.random,
      sim.running.filter((host) => host !== one),
    );
    if (other === undefined) return;
    sim.network.cut(one, other);
    sim.run(20_000);
    sim.network.mend(one, other, "either");
    samples.heal.push(run.settle(`packets from ${one.name} to ${other.name} passed again`, HEALED_WITHIN_MS));
  });
};

/** Every daemon restarts, one after the other, as in an upgrade. */
export const rolling: Scenario = (run) => {
  const { sim, samples } = run;
  run.assemble();
  const before = vipsOf(run);
  for (const host of sim.hosts) {
    leave(sim, host, "away");
    sim.until(() => !host.isRunning, 5000);
    sim.run(500 + sim.random() * 1000);
    const among = sim.running;
    const watch = run.meter.watch({ shows: (view) => hasWhole(view, host), among, owner: null }, () => {
      startAgain(sim, host, "kept");
    });
    const took = run.await(watch);
    if (took !== null) samples.convergence.push(took);
  }
  run.measured();
  samples.heal.push(run.settle("the last restart", HEALED_WITHIN_MS));
  run.checkDeep();
  expectVips(run, before);
};

/**
 * Does something to one random host after the other, for as long as was asked. None twice within a minute: who comes
 * and goes is let settle for longer each time, which flap measures.
 */
function each(run: Run, act: (victim: Host) => void): void {
  const { sim, options } = run;
  const before = vipsOf(run);
  const endMs = sim.nowMs + (options.seconds ?? Number.POSITIVE_INFINITY) * 1000;
  const spared = new Set<Host>();
  for (let time = 0; (options.seconds === null ? time < TIMES : true) && sim.nowMs < endMs; time += 1) {
    let victim = pick(
      sim.random,
      sim.running.filter((host) => !spared.has(host)),
    );
    if (victim === undefined) {
      sim.run(SPARED_MS);
      spared.clear();
      victim = pick(sim.random, sim.running);
    }
    if (victim === undefined) break;
    spared.add(victim);
    act(victim);
    sim.run(3000);
    run.onProgress(`time ${time + 1}`);
  }
  run.measured();
  run.settle("the last fault", HEALED_WITHIN_MS);
  run.checkDeep();
  expectVips(run, before);
}

/** The address of each service, where all agree. */
function vipsOf({ sim }: Run): ReadonlyMap<string, string | null> {
  const [first] = sim.running;
  const services = first === undefined ? [] : sim.view(first).services;
  return new Map(services.map(({ key, vip }) => [key, vip]));
}

/** Nothing but the failure of hosts happened: every service is there, and has the address it had. */
function expectVips(run: Run, before: ReadonlyMap<string, string | null>): void {
  const after = vipsOf(run);
  for (const [key, vip] of before) {
    if (after.get(key) !== vip)
      throw new Violation(`${key} had the address ${vip}, and now ${after.get(key)}`);
  }
}

/** Lets a host fail, and times until nobody holds it alive, and until all hold it dead. */
function fault(run: Run, victim: Host, act: () => void): void {
  const { sim, samples, meter } = run;
  const among = sim.running.filter((host) => host !== victim);
  const doubted = meter.watch({ shows: (view) => !holds(view, victim, "alive"), among, owner: null }, act);
  const dead = meter.watch(
    { shows: (view) => holds(view, victim, "dead"), among, owner: null },
    () => undefined,
  );
  const took = run.await(dead, SEEN_WITHIN_MS);
  meter.stop(doubted);
  if (doubted.doneMs !== null) samples.doubted.push(doubted.doneMs);
  if (took !== null) samples.detection.push(took);
  else run.remarks.push(`${victim.name} was not seen dead by all in ${SEEN_WITHIN_MS} ms`);
}

/** Times until a host that is back is in rotation everywhere. */
function back(run: Run, what: string): void {
  run.samples.heal.push(run.settle(what, HEALED_WITHIN_MS));
}
