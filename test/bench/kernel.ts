/**
 * Kernel: what a VIP in the kernel costs beside going straight to a replica, and beside HAProxy; what our overlay costs
 * beside one made by hand; and what many services cost.
 *
 * A container on one host asks a web server in a container on another. Each host has a CPU: wrk and what the first host
 * forwards, HAProxy too, share one, the web server has the other. All are loaded in turn, several times over, so that a
 * machine that is busy for a while is busy for all; what is told are medians of ratios, each of neighbours in time.
 *
 * Touches: network namespaces, child processes, temporary folders.
 */

import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { skipReason } from "../lab/requirements.ts";
import { roundOf, untold, type OnStep } from "../support/steps.ts";

import { FEW_SERVICES, MANY_REPLICAS, nearCpu, placeOf, startServers, type Way } from "./kernel-servers.ts";
import { openWire, type Wire } from "./kernel-wire.ts";
import type { MemoryFigures } from "./memory.ts";
import { has, LARGE_BYTES } from "./proxy-rivals.ts";
import { quantile } from "./statistics.ts";

const run = promisify(execFile);

const MEMORY_PROGRAM = fileURLToPath(new URL("kernel-memory.ts", import.meta.url));
const MEMORY_MS = 180_000;

const ROUNDS = 5;
const SECONDS = 2;
const CONNECTIONS = 64;
const MANY_SERVICES = 10_000;
/** What one change is measured in, as promised. */
const CLUSTER = { services: 1000, replicas: 10 };
const CHANGES = 20;

/** `short`: requests over kept connections; `new`: one connection each; `large`: MB. */
type Load = "short" | "new" | "large";

const LOADS: readonly Load[] = ["short", "new", "large"];

/** A rate of each way, in requests, connections or MB a second, medians. */
export type Rates = Readonly<Record<Way, number>>;

export interface KernelFigures {
  readonly ratesByLoad: Readonly<Record<Load, Rates>>;
  /** Medians of the ratios of each round. */
  readonly ratiosByLoad: Readonly<Record<Load, { vip: number; haproxy: number; vxlan: number }>>;
  /** With few services and with many: connections a second, and milliseconds for each when there is but one client. */
  readonly few: ScaleFigures;
  readonly many: ScaleFigures;
  /** For 1,000 services of 10 replicas, milliseconds. */
  readonly applied: AppliedFigures;
  /** Of a daemon with that many, and how many replicas were in its rules. */
  readonly memory: MemoryFigures & { readonly upstreams: number };
}

export interface ScaleFigures {
  readonly services: number;
  readonly connectionsPerSecond: number;
  readonly medianMs: number;
  readonly applyMs: number;
}

export interface AppliedFigures {
  readonly planMs: number;
  readonly fullMs: number;
  readonly restartMs: number;
  readonly changePlanMs: number;
  readonly changeMs: number;
  readonly slowestChangeMs: number;
}

/** Why there is nothing to measure with, in words; false when there is. */
export function kernelObstacle(): string | false {
  const missing = ["wrk", "nginx", "haproxy", "nft", "conntrack", "taskset"].filter((name) => !has(name));
  return missing.length === 0 ? skipReason() : `${missing.join(", ")} not installed`;
}

/** Measures all of it. */
export async function measureKernel(rounds = ROUNDS, onStep: OnStep = untold): Promise<KernelFigures> {
  const dir = mkdtempSync(join(tmpdir(), "skein-bench-"));
  onStep("memory");
  const memory = await measureHeld();
  const wire = await openWire();
  try {
    onStep("rules of a whole cluster");
    const applied = await measureApplied(wire);
    await startServers(wire, dir);
    const loads = await measureLoads(wire, rounds, onStep);
    const scale = await measureScale(wire, rounds, onStep);
    return { ...loads, ...scale, applied, memory };
  } finally {
    await wire.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

async function measureHeld(): Promise<KernelFigures["memory"]> {
  const argv = ["--net", process.execPath, MEMORY_PROGRAM];
  const { stdout } = await run("unshare", argv, { timeout: MEMORY_MS });
  return JSON.parse(stdout) as KernelFigures["memory"];
}

async function measureLoads(
  wire: Wire,
  rounds: number,
  onStep: OnStep,
): Promise<Pick<KernelFigures, "ratesByLoad" | "ratiosByLoad">> {
  const byLoad = new Map<Load, readonly Rates[]>();
  for (const load of LOADS) {
    const seen: Rates[] = [];
    // The first round warms up.
    for (let round = 0; round <= rounds; round += 1) {
      onStep(`${load}, ${roundOf(round, rounds, { warmsUp: true })}`);
      const seconds = round === 0 ? 1 : SECONDS;
      const rates = await ratesOf(wire, load, seconds);
      if (round > 0) seen.push(rates);
    }
    byLoad.set(load, seen);
  }
  const each = <T>(of: (rates: readonly Rates[]) => T): Record<Load, T> => {
    const [short, fresh, large] = LOADS.map((load) => of(byLoad.get(load) ?? []));
    return { short: short as T, new: fresh as T, large: large as T };
  };
  const middle = (rates: readonly Rates[], one: (rate: Rates) => number): number =>
    quantile(rates.map(one), 0.5);
  return {
    ratesByLoad: each((rates) => ({
      direct: middle(rates, ({ direct }) => direct),
      vip: middle(rates, ({ vip }) => vip),
      haproxy: middle(rates, ({ haproxy }) => haproxy),
      vxlan: middle(rates, ({ vxlan }) => vxlan),
      handmade: middle(rates, ({ handmade }) => handmade),
    })),
    ratiosByLoad: each((rates) => ({
      vip: middle(rates, ({ vip, direct }) => vip / direct),
      haproxy: middle(rates, ({ vip, haproxy }) => vip / haproxy),
      vxlan: middle(rates, ({ vxlan, handmade }) => vxlan / handmade),
    })),
  };
}

/** One round: each neighbour in a ratio right after the other. */
async function ratesOf(wire: Wire, load: Load, seconds: number): Promise<Rates> {
  const rate = async (way: Way): Promise<number> => (await loadOnce(wire, way, { load, seconds })).perSecond;
  const direct = await rate("direct");
  const vip = await rate("vip");
  const haproxy = await rate("haproxy");
  const vxlan = await rate("vxlan");
  const handmade = await rate("handmade");
  return { direct, vip, haproxy, vxlan, handmade };
}

interface LoadPlan {
  readonly load: Load;
  readonly seconds: number;
  readonly connections?: number;
}

async function loadOnce(
  { hosts }: Wire,
  way: Way,
  { load, seconds, connections = CONNECTIONS }: LoadPlan,
): Promise<{ readonly perSecond: number; readonly medianMs: number }> {
  for (const host of hosts) await host.forgetConnections();
  const { box, url } = placeOf(way);
  const closing = load === "new" ? ["--header", "Connection: close"] : [];
  const shape = [
    "--threads=1",
    `--connections=${connections}`,
    `--duration=${seconds}s`,
    "--latency",
    "--timeout=10s",
  ];
  const target = load === "large" ? `${url}large` : url;
  const said = await hosts[0].run([...nearCpu(), "wrk", ...shape, ...closing, target], box);
  const [, requests = "0", took = "1"] = /(\d+) requests in ([\d.]+)s/.exec(said) ?? [];
  const failed = /Non-2xx[^\n]*: (\d+)|Socket errors: ([^\n]*)/.exec(said);
  // wrk counts the connections that close as read errors of its own when it asked for that.
  if (failed !== null && load !== "new") throw new Error(`${way}: ${failed[0]}`);
  const units = load === "large" ? (Number(requests) * LARGE_BYTES) / 1e6 : Number(requests);
  return { perSecond: units / Number(took), medianMs: medianMsIn(said) };
}

/** Of wrk's line `50%  123.00us`. */
function medianMsIn(said: string): number {
  const [, amount = "NaN", unit = "ms"] = /50%\s+([\d.]+)(us|ms|s)/.exec(said) ?? [];
  const msByUnit: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000 };
  return Number(amount) * (msByUnit[unit] ?? Number.NaN);
}

async function measureScale(
  wire: Wire,
  rounds: number,
  onStep: OnStep,
): Promise<Pick<KernelFigures, "few" | "many">> {
  const few: Seen[] = [];
  const many: Seen[] = [];
  for (let round = 0; round < rounds; round += 1) {
    onStep(`few services and many, ${roundOf(round, rounds)}`);
    few.push(await scaleOnce(wire, FEW_SERVICES));
    many.push(await scaleOnce(wire, MANY_SERVICES));
  }
  return { few: scaleOf(FEW_SERVICES, few), many: scaleOf(MANY_SERVICES, many) };
}

interface Seen {
  readonly perSecond: number;
  readonly medianMs: number;
  readonly applyMs: number;
}

async function scaleOnce(wire: Wire, services: number): Promise<Seen> {
  // From nothing: of so many upstreams that go at once not all flows are looked for, and that would be told.
  await wire.hosts[0].order({ kind: "clear" });
  const { applyMs } = await wire.hosts[0].order({ kind: "rules", services, replicas: MANY_REPLICAS });
  const { perSecond } = await loadOnce(wire, "vip", { load: "new", seconds: SECONDS });
  const { medianMs } = await loadOnce(wire, "vip", { load: "new", seconds: SECONDS, connections: 1 });
  return { perSecond, medianMs, applyMs };
}

function scaleOf(services: number, seen: readonly Seen[]): ScaleFigures {
  const middle = (one: (seen: Seen) => number): number => quantile(seen.map(one), 0.5);
  return {
    services,
    connectionsPerSecond: middle(({ perSecond }) => perSecond),
    medianMs: middle(({ medianMs }) => medianMs),
    applyMs: middle(({ applyMs }) => applyMs),
  };
}

/** On the first host, which is left with no rules. */
async function measureApplied({ hosts: [near] }: Wire): Promise<AppliedFigures> {
  const full = await near.order({ kind: "rules", ...CLUSTER });
  const again = await near.order({ kind: "rules", ...CLUSTER });
  const changes = [];
  for (let at = 0; at < CHANGES; at += 1) {
    changes.push(await near.order({ kind: "change", index: 1 + at * 7 }));
  }
  await near.order({ kind: "remove" });
  const tookMs = changes.map(({ planMs, applyMs }) => planMs + applyMs);
  return {
    planMs: full.planMs,
    fullMs: full.applyMs,
    restartMs: again.applyMs,
    changePlanMs: quantile(
      changes.map(({ planMs }) => planMs),
      0.5,
    ),
    changeMs: quantile(tookMs, 0.5),
    slowestChangeMs: Math.max(...tookMs),
  };
}

interface Line {
  readonly what: string;
  readonly promised: string;
  readonly measured: string;
  readonly others?: string;
}

const WORDS: Readonly<Record<Load, { what: string; unit: string; direct: string }>> = {
  short: { what: "requests, connections kept", unit: "/s", direct: "0.95 x" },
  new: { what: "a connection for each request", unit: "/s", direct: "0.9 x" },
  large: { what: "MB", unit: " MB/s", direct: "0.95 x" },
};

/** The figures beside what is promised. */
export function linesOfKernel({
  ratesByLoad,
  ratiosByLoad,
  few,
  many,
  applied,
  memory,
}: KernelFigures): readonly Line[] {
  const traffic = LOADS.flatMap((load): readonly Line[] => {
    const { what, unit, direct } = WORDS[load];
    const { vip, haproxy, vxlan } = ratiosByLoad[load];
    const rates = ratesByLoad[load];
    const beside = (ratio: number, [one, other]: readonly [Way, Way]): string =>
      `${ratio.toFixed(2)} x (${rates[one].toFixed(0)} beside ${rates[other].toFixed(0)}${unit})`;
    return [
      { what: `VIP, of direct: ${what}`, promised: direct, measured: beside(vip, ["vip", "direct"]) },
      { what: `VIP, of HAProxy: ${what}`, promised: "1.4 x", measured: beside(haproxy, ["vip", "haproxy"]) },
      {
        what: `overlay, of VXLAN by hand: ${what}`,
        promised: "0.95 x",
        measured: beside(vxlan, ["vxlan", "handmade"]),
      },
    ];
  });
  const flat = many.connectionsPerSecond / few.connectionsPerSecond;
  const each = ({ connectionsPerSecond, medianMs }: ScaleFigures): string =>
    `${connectionsPerSecond.toFixed(0)}/s, ${medianMs.toFixed(2)} ms`;
  const { services, replicas } = CLUSTER;
  const cluster = `${services.toLocaleString("en")} services x ${replicas}`;
  const inMs = (ms: number): string => `${ms.toFixed(0)} ms`;
  return [
    ...traffic,
    {
      what: `connections, with ${many.services} services of with ${few.services}`,
      promised: "flat",
      measured: `${flat.toFixed(2)} x (${each(many)} beside ${each(few)})`,
    },
    {
      what: `rules applied: ${cluster}`,
      promised: "2,000 ms",
      measured: `${inMs(applied.fullMs)} (planned in ${inMs(applied.planMs)})`,
    },
    { what: `rules compared: ${cluster}`, promised: "-", measured: inMs(applied.restartMs) },
    {
      what: `one change: ${cluster}`,
      promised: "50 ms",
      measured: `median ${inMs(applied.changeMs)}, slowest ${inMs(applied.slowestChangeMs)}`,
    },
    {
      what: `resident memory, in kernel mode: ${cluster}`,
      promised: "200 MB",
      measured: `${memory.rssMb.toFixed(0)} MB (${memory.upstreams} replicas in the rules)`,
    },
  ];
}
