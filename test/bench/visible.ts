/**
 * Visible: how long until a change on one Docker host is seen in the DNS of another.
 *
 * Two real engines in the lab, our daemon on each. A container on the first is paused and unpaused; the change is the
 * moment Docker itself gives it in its event, and it is visible with the first answer of the second host's daemon that
 * differs. Both are read from one clock, that of this machine. So the figure holds everything between: Docker's event
 * stream, the inspection, the record, the link, the merge and the zone; and up to a millisecond of polling.
 *
 * Pausing, not stopping: what a stop takes is up to the program that is stopped, and what a start takes up to the
 * first check that it passes.
 *
 * Touches: a lab of two hosts.
 */

import { fileURLToPath } from "node:url";

import type { LabProgram } from "../lab/program.ts";
import { skipReason } from "../lab/requirements.ts";
import { openCluster, type SkeinCluster } from "../lab/skein.ts";
import type { SeenAnswer } from "../lab/watch-name.ts";
import { untold, type OnStep } from "../support/steps.ts";
import { until } from "../support/wait.ts";

/** Times from a change to its being visible, in milliseconds. */
export interface VisibleFigures {
  readonly medianMs: number;
  readonly p90Ms: number;
  readonly maxMs: number;
  readonly changes: number;
}

const WATCHER = fileURLToPath(new URL("../lab/watch-name.ts", import.meta.url));

/** Even: the last one unpauses. */
const CHANGES = 50;

/** What `docker events` tells of one change. */
interface DockerLine {
  readonly Action: string;
  readonly timeNano: number;
}

/**
 * Measures 50 changes; takes some 20 seconds. There are no thresholds here: figures are for people to compare.
 *
 * @throws when this machine cannot open the lab, or a change does not become visible at all
 */
export async function measureVisible(onStep: OnStep = untold): Promise<VisibleFigures> {
  const reason = skipReason();
  if (reason !== false) throw new Error(reason);
  const cluster = await openCluster({ hosts: 2 });
  try {
    return await measureOn(cluster, onStep);
  } finally {
    await cluster.close();
  }
}

async function measureOn(cluster: SkeinCluster, onStep: OnStep): Promise<VisibleFigures> {
  const [changed, seen] = [cluster.node(1).host, cluster.node(2).host];
  const replicas = await cluster.runReplicas("web", [1, 2], { "skein.port": "80:8080" });
  await cluster.untilEligible("web", replicas);
  // Since 0: what happens before the engine has taken the subscription is told all the same.
  const format = ["--since=0", "--format={{json .}}", "--filter=event=pause", "--filter=event=unpause"];
  const events = await changed.spawn(["docker", "events", ...format], { log: "events" });
  const argv = [process.execPath, WATCHER, seen.bridgeGateway, "53", "tasks.web.default.skein.internal"];
  const answers = await seen.spawn(argv, { log: "answers" });
  // The first answer is no change.
  await until(() => linesOf(answers).length === 1, { what: "the name is watched" });

  const tookMs: number[] = [];
  for (let change = 0; change < CHANGES; change += 1) {
    onStep(`change ${change + 1} of ${CHANGES}`);
    const told = linesOf(events).length;
    const before = linesOf(answers).length;
    await changed.docker(change % 2 === 0 ? "pause" : "unpause", "web-1");
    const event = await until(() => linesOf(events)[told] as DockerLine | undefined, {
      what: "docker tells of the change",
    });
    const answer = await until(() => linesOf(answers)[before] as SeenAnswer | undefined, {
      what: "the change is visible",
    });
    tookMs.push(answer.atMs - event.timeNano / 1e6);
  }
  return figuresOf(tookMs);
}

/** What a program has printed so far, a line of JSON each; a last line half written is left for later. */
function linesOf(program: LabProgram): readonly unknown[] {
  const whole = program.log().split("\n").slice(0, -1);
  return whole.map((line): unknown => JSON.parse(line));
}

function figuresOf(tookMs: readonly number[]): VisibleFigures {
  const sorted = tookMs.toSorted((one, other) => one - other);
  const at = (part: number): number => {
    const value = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
    return Math.round(value * 10) / 10;
  };
  return { medianMs: at(0.5), p90Ms: at(0.9), maxMs: at(1), changes: sorted.length };
}

if (import.meta.main) console.log(JSON.stringify(await measureVisible()));
