/**
 * Perturbations: the eight that moby published for its NetworkDB, so that figures compare line by line.
 *
 * Each is made again and again in a cluster of constant size, and timed from the moment of the change until every
 * running node's view shows it.
 */

import { pick } from "../../../src/base/random.ts";
import { leave } from "../faults.ts";
import type { Host } from "../host.ts";
import type { Run, Scenario } from "../run.ts";
import { hasNothing, hasWhole, holds, replicaOf } from "./seen.ts";

/** How often each change is made when no length is given. */
const TIMES = 20;
/** Changes a second under churn: one for each node, up to so many. */
const DISTURBED_MAX = 50;
/** Replicas in the cluster that is joined: so many on each host, and so many in all. */
const POPULATED = { each: 100, all: 2500 };

export const create: Scenario = (run) => {
  run.assemble();
  repeat(run, TIMES, () => {
    const owner = anyOf(run);
    const made = run.work.make(owner, "fresh");
    time(
      run,
      owner,
      (view) => replicaOf(view, "fresh", made.id) !== undefined,
      () => {
        run.sim.runs(owner, [...owner.endpoints, made]);
      },
    );
  });
};

export const update: Scenario = (run) => {
  run.assemble();
  for (const host of run.sim.hosts) run.work.create(host, "changing");
  run.settle("replicas were added", 30_000);
  let weight = 1;
  repeat(run, TIMES, () => {
    const owner = anyOf(run);
    const { id } = owner.endpoints.find(({ service }) => service === "changing") ?? { id: "" };
    weight = (weight % 99) + 1;
    time(
      run,
      owner,
      (view) => replicaOf(view, "changing", id)?.weight === weight,
      () => {
        run.work.update(owner, id, weight);
      },
    );
  });
};

export const remove: Scenario = (run) => {
  run.assemble();
  for (const host of run.sim.hosts) for (let at = 0; at < TIMES; at += 1) run.work.create(host, "leaving");
  run.settle("replicas were added", 30_000);
  repeat(run, TIMES, () => {
    const owner = anyOf(run);
    const gone = owner.endpoints.find(({ service }) => service === "leaving");
    if (gone === undefined) return;
    time(
      run,
      owner,
      (view) => replicaOf(view, "leaving", gone.id) === undefined,
      () => {
        run.work.remove(owner, gone.id);
      },
    );
  });
};

export const join: Scenario = (run) => joining(run, { toldAfterMs: 20, replicas: 1 });
export const writeAfterJoin: Scenario = (run) => joining(run, { toldAfterMs: 0, replicas: 1 });

export const joinPopulated: Scenario = (run) => {
  const hosts = run.assemble(Math.max(1, run.options.nodes - 1));
  for (const host of hosts) {
    const count = Math.min(POPULATED.each, Math.ceil(POPULATED.all / hosts.length));
    const more = Array.from({ length: count }, () => run.work.make(host, "crowd"));
    run.sim.runs(host, [...host.endpoints, ...more]);
  }
  run.settle("replicas were added", 30_000);
  comeAndGo(run, { toldAfterMs: 20, replicas: 0 });
};

export const leaving: Scenario = (run) => {
  run.assemble();
  repeat(run, Math.ceil(TIMES / 4), () => {
    const host = anyOf(run);
    const others = run.sim.running.filter((other) => other !== host);
    const gone = (view: Parameters<typeof holds>[0]): boolean =>
      hasNothing(view, host) && !holds(view, host, "alive");
    const took = run.change({ shows: gone, among: others, owner: null }, () => leave(run.sim, host, "left"));
    if (took !== null) run.samples.convergence.push(took);
    run.sim.until(() => !host.isRunning, 5000);
    run.sim.run(1000);
    run.sim.start(host);
    run.settle(`${host.name} came back`, 60_000);
  });
};

/** Changes timed while other changes, joins and departures go on. */
export const churn: Scenario = (run) => {
  const { sim, work, options, meter, samples } = run;
  const hosts = run.assemble();
  const endMs = sim.nowMs + (options.seconds ?? 30) * 1000;
  let isLeaving = false;
  const disturb = (): void => {
    if (sim.nowMs > endMs) return;
    const host = anyOf(run);
    const dice = sim.random();
    if (dice < 0.1 && !isLeaving && sim.running.length > 1 + options.nodes / 2) {
      isLeaving = true;
      leave(sim, host, "left");
      sim.after(2000 + sim.random() * 2000, () => {
        isLeaving = false;
        if (!host.isRunning) sim.start(host);
      });
    } else if (!host.isLeaving) {
      const some = pick(sim.random, host.endpoints);
      if (dice < 0.4 && some !== undefined) work.update(host, some.id, 1 + Math.floor(sim.random() * 99));
      else if (dice < 0.7 && host.endpoints.length > options.replicas) work.remove(host, some?.id ?? "");
      else work.create(host, "churned");
    }
    sim.after(sim.random() * (2000 / Math.min(options.nodes, DISTURBED_MAX)), disturb);
  };
  disturb();
  while (sim.nowMs < endMs) {
    const owner = anyOf(run);
    const among = sim.running.filter((host) => !host.isLeaving && sim.nowMs - host.startedAtMs > 2000);
    if (owner.isLeaving || !among.includes(owner)) {
      sim.run(20);
      continue;
    }
    const made = work.make(owner, "timed");
    const watch = meter.watch(
      { shows: (view) => replicaOf(view, "timed", made.id) !== undefined, among, owner },
      () => sim.runs(owner, [...owner.endpoints, made]),
    );
    sim.after(100 + sim.random() * 200, () => undefined);
    sim.until(() => {
      meter.drop((host) => !host.isRunning || host.isLeaving);
      return watch.doneMs !== null || owner.isLeaving || !owner.isRunning;
    }, 60_000);
    meter.stop(watch);
    if (watch.doneMs !== null) samples.convergence.push(watch.doneMs);
    else if (!owner.isLeaving && owner.isRunning) run.remarks.push("a change was not seen by all in 60 s");
    sim.run(50 + sim.random() * 100);
  }
  run.measured();
  sim.until(() => hosts.every((host) => !host.isLeaving || !host.isRunning), 5000);
  for (const host of hosts) if (!host.isRunning) sim.start(host);
  samples.heal.push(run.settle("churn", 60_000));
  run.checkDeep();
};

function joining(run: Run, how: { toldAfterMs: number; replicas: number }): void {
  run.assemble(Math.max(1, run.options.nodes - 1));
  comeAndGo(run, how);
}

/** A new node comes, and goes again, several times; each time it is another one. */
function comeAndGo(run: Run, { toldAfterMs, replicas }: { toldAfterMs: number; replicas: number }): void {
  const { sim, work, samples } = run;
  const seeds = sim.hosts.slice(0, 3).map(({ address }) => address);
  repeat(run, Math.ceil(TIMES / 4), () => {
    const host = sim.add(`new${sim.hosts.length}`, { seeds });
    sim.runs(
      host,
      Array.from({ length: replicas }, () => work.make(host, "newcomer")),
    );
    const others = sim.running;
    const shows = (view: Parameters<typeof holds>[0], at: Host): boolean =>
      at === host ? view.complete && others.every((other) => hasWhole(view, other)) : hasWhole(view, host);
    const took = run.change({ shows, among: [...others, host], owner: null }, () => {
      sim.start(host, { toldAfterMs });
    });
    if (took !== null) samples.convergence.push(took);
    sim.run(1000);
    leave(sim, host, "left");
    sim.until(() => !host.isRunning, 5000);
    run.settle(`${host.name} left`, 60_000);
    sim.run(1000);
  });
}

/** Does something several times, with random pauses, or for as long as was asked. */
function repeat(run: Run, times: number, act: () => void): void {
  const { sim, options } = run;
  const endMs = options.seconds === null ? Number.POSITIVE_INFINITY : sim.nowMs + options.seconds * 1000;
  for (let done = 0; options.seconds !== null || done < times; done += 1) {
    if (sim.nowMs >= endMs) break;
    act();
    sim.run(100 + sim.random() * 400);
  }
  run.measured();
  run.settle("the last change", 60_000);
  run.checkDeep();
}

/** Makes a change of one host's log and times it at all. */
// oxlint-disable-next-line max-params -- who, what shows it, and what does it
function time(run: Run, owner: Host, shows: Parameters<Run["change"]>[0]["shows"], act: () => void): void {
  const took = run.change({ shows, among: run.sim.running, owner }, act);
  if (took !== null) run.samples.convergence.push(took);
}

function anyOf({ sim }: Run): Host {
  const host = pick(sim.random, sim.running);
  if (host === undefined) throw new Error("no host runs");
  return host;
}
