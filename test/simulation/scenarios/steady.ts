/**
 * Steady: what a healthy cluster costs, how fast one change spreads, and what a newcomer has to learn.
 */

import { pick } from "../../../src/base/random.ts";
import type { Scenario } from "../run.ts";
import { hasWhole, replicaOf } from "./seen.ts";

/** Nothing happens. */
export const idle: Scenario = (run) => {
  const { sim, options, pictures } = run;
  run.assemble();
  sim.run(3000);
  run.reset();
  const views = sim.hosts.reduce((sum, { viewCount }) => sum + viewCount, 0);
  sim.run((options.seconds ?? 10) * 1000);
  run.measured();
  const more = sim.hosts.reduce((sum, { viewCount }) => sum + viewCount, 0) - views;
  const links = sim.hosts.map(({ endByLink }) => endByLink.size);
  run.remarks.push(`links per node: ${Math.min(...links)} to ${Math.max(...links)}`);
  for (const [kind, count] of run.meter.messagesByKind) {
    const each = count / options.nodes / (options.seconds ?? 10);
    const bytes = (run.meter.bytesByKind.get(kind) ?? 0) / options.nodes / (options.seconds ?? 10);
    run.remarks.push(`${kind}: ${each.toFixed(2)} messages, ${bytes.toFixed(0)} bytes a node and second`);
  }
  if (more > 0) run.remarks.push(`${more} new views though nothing happened`);
  for (const host of sim.running) pictures.project(host, sim.view(host));
  run.checkDeep();
};

/** One change after the other, each of one host. */
export const change: Scenario = (run) => {
  const { sim, options, samples, work } = run;
  run.assemble();
  const times = options.seconds === null ? 20 : Number.POSITIVE_INFINITY;
  const endMs = sim.nowMs + (options.seconds ?? 3600) * 1000;
  for (let done = 0; done < times && sim.nowMs < endMs; done += 1) {
    const owner = pick(sim.random, sim.running);
    if (owner === undefined) break;
    const made = work.make(owner, "fresh");
    const took = run.change(
      { shows: (view) => replicaOf(view, "fresh", made.id) !== undefined, among: sim.running, owner },
      () => sim.runs(owner, [...owner.endpoints, made]),
    );
    if (took !== null) samples.convergence.push(took);
    sim.run(500);
    run.onProgress(`change ${done + 1}: ${took?.toFixed(1)} ms`);
  }
  run.measured();
  sim.run(2000);
  run.settle("the last change", 60_000);
  run.checkDeep();
};

/** A new node comes into a cluster that holds much. */
export const joiner: Scenario = (run) => {
  const { sim, samples, meter, remarks } = run;
  run.assemble();
  const seeds = sim.hosts.slice(0, 3).map(({ address }) => address);
  const host = sim.add("newcomer", { seeds });
  const others = sim.running;
  run.reset();
  const shows = (view: Parameters<typeof hasWhole>[0], at: typeof host): boolean =>
    at === host ? view.complete && others.every((other) => hasWhole(view, other)) : hasWhole(view, host);
  const watch = meter.watch({ shows, among: [...others, host], owner: null }, () => void sim.start(host));
  const took = run.await(watch);
  run.measured();
  if (took !== null) samples.convergence.push(took);
  remarks.push(`the newcomer knew all after ${watch.seenMs.get(host)?.toFixed(1)} ms`);
  const bytes = (meter.bytesByKind.get("delta") ?? 0) + (meter.bytesByKind.get("hello") ?? 0);
  remarks.push(`${(bytes / 1024).toFixed(0)} KiB of deltas and hellos were sent meanwhile, by all`);
  run.settle("the newcomer came", 60_000);
  run.checkDeep();
};
