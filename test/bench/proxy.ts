/**
 * Proxy: what carrying traffic costs, beside the proxies that people know.
 *
 * wrk loads one proxy after the other, in turn and several times over, so that a machine that is busy for a while is
 * busy for all; what is told are medians and ratios. Proxies run on one CPU, wrk and the upstreams on another. That one
 * may be what bounds the fastest of them: so the time that each proxy's CPU spent on a request is told too, which does
 * not depend on who waits for whom.
 *
 * Touches: child processes, loopback sockets, /proc.
 */

import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { roundOf, untold, type OnStep } from "../support/steps.ts";

import { startDaemon, type MeasuredDaemon } from "./daemon.ts";
import { pin, pinWords } from "./dns-load.ts";
import {
  has,
  LARGE_BYTES,
  rivalsHere,
  startRival,
  startUpstreams,
  UPSTREAM_PORTS,
  type Mode,
  type Running,
} from "./proxy-rivals.ts";
import { quantile } from "./statistics.ts";

const run = promisify(execFile);

const PACE = fileURLToPath(new URL("proxy-pace.ts", import.meta.url));
const ADDRESS = "127.0.47.1";
const OURS = "skein";
const PUBLISHED: Readonly<Record<Mode, number>> = { http: 18_080, tcp: 18_081 };
const ROUNDS = 3;
const SECONDS = 3;
const PACE_SECONDS = 5;
const CONNECTIONS = 64;
/** Of /proc/<pid>/stat, Linux everywhere. */
const TICKS_PER_SECOND = 100;

/** What is loaded. */
interface Subject {
  readonly name: string;
  readonly mode: Mode;
  readonly host: string;
  readonly port: number;
  readonly pid: number;
}

/** What one kind of load measured of one proxy, medians. */
export interface ProxyRate {
  readonly name: string;
  readonly mode: Mode;
  /** `short`: requests over kept connections; `new`: one connection each; `large`: MB. */
  readonly load: Load;
  readonly perSecond: number;
  /** CPU time of the proxy for each request, or MB. */
  readonly cpuMicros: number;
}

/** Times added to each request at half the rate that was reached, milliseconds. */
export interface AddedLatency {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface ProxyFigures {
  readonly rates: readonly ProxyRate[];
  readonly added: AddedLatency;
  /** Proxies that are not installed here. */
  readonly missing: readonly string[];
}

type Load = "short" | "new" | "large";

const LOADS: readonly { readonly mode: Mode; readonly load: Load }[] = [
  { mode: "http", load: "short" },
  { mode: "tcp", load: "short" },
  { mode: "tcp", load: "new" },
  { mode: "tcp", load: "large" },
];

/** Why there is nothing to measure with, in words; false when there is. */
export function proxyObstacle(): string | false {
  const missing = ["wrk", "nginx", "taskset"].filter((program) => !has(program));
  return missing.length === 0 ? false : `${missing.join(", ")} not installed`;
}

/** Measures all proxies that are here. */
export async function measureProxy(rounds = ROUNDS, onStep: OnStep = untold): Promise<ProxyFigures> {
  const running: Running[] = [];
  let daemon: MeasuredDaemon | null = null;
  try {
    const upstreams = await startUpstreams();
    running.push(upstreams);
    pinToClients(upstreams);
    daemon = await startOurs();
    pin(daemon.child);
    const subjects = [...oursAt(daemon)];
    for (const rival of rivalsHere()) {
      const started = await startRival(rival);
      running.push(started);
      pin(started.child);
      const { name, mode, port } = rival;
      subjects.push({ name, mode, host: "127.0.0.1", port, pid: started.child.pid ?? 0 });
    }
    const rates: ProxyRate[] = [];
    for (const { mode, load } of LOADS) {
      rates.push(
        ...(await measureLoad(
          subjects.filter((subject) => subject.mode === mode),
          load,
          { rounds, onStep },
        )),
      );
    }
    const ours = rateOf(rates, OURS, { mode: "http", load: "short" });
    onStep("latency, at half the rate");
    const added = await measureAdded(subjects, Math.round((ours?.perSecond ?? 0) / 2));
    const missing = ["haproxy", "caddy"].filter((program) => !has(program));
    return { rates, added, missing };
  } finally {
    await daemon?.end();
    for (const one of running) await one.end();
  }
}

async function startOurs(): Promise<MeasuredDaemon> {
  const services = (["http", "tcp"] as const).map((mode) => ({
    name: mode,
    ports: [{ name: "web", port: 8000, protocol: mode }],
    replicas: UPSTREAM_PORTS.map((port) => `127.0.0.1:${port}`),
    publish: [`${PUBLISHED[mode]}:8000/tcp`],
    health: { interval: "1s" },
  }));
  return await startDaemon(ADDRESS, { services });
}

function oursAt({ address, child }: MeasuredDaemon): readonly Subject[] {
  const pid = child.pid ?? 0;
  return (["http", "tcp"] as const).map((mode) => ({
    name: OURS,
    mode,
    host: address,
    port: PUBLISHED[mode],
    pid,
  }));
}

/** Upstreams share the CPU of wrk. */
function pinToClients({ child }: Running): void {
  const [program = "", ...words] = pinWords?.client ?? [];
  // The words that start a program there also move one: `taskset -c 1` with `-p` and its id.
  if (program !== "") void run(program, ["-a", "-p", ...words, String(child.pid)]);
}

async function measureLoad(
  subjects: readonly Subject[],
  load: Load,
  { rounds, onStep }: { readonly rounds: number; readonly onStep: OnStep },
): Promise<readonly ProxyRate[]> {
  const seen = new Map(subjects.map((subject) => [subject, { rates: [] as number[], cpus: [] as number[] }]));
  // The first round warms up.
  for (let round = 0; round <= rounds; round += 1) {
    for (const [subject, { rates, cpus }] of seen) {
      onStep(`${subject.mode} ${load}, ${roundOf(round, rounds, { warmsUp: true })}, ${subject.name}`);
      const { perSecond, cpuMicros } = await loadOnce(subject, load, round === 0 ? 1 : SECONDS);
      if (round === 0) continue;
      rates.push(perSecond);
      cpus.push(cpuMicros);
    }
  }
  return [...seen].map(([{ name, mode }, { rates, cpus }]) => {
    return { name, mode, load, perSecond: quantile(rates, 0.5), cpuMicros: quantile(cpus, 0.5) };
  });
}

async function loadOnce(
  { host, port, pid }: Subject,
  load: Load,
  seconds: number,
): Promise<{ readonly perSecond: number; readonly cpuMicros: number }> {
  const path = load === "large" ? "large" : "";
  const closing = load === "new" ? ["--header", "Connection: close"] : [];
  const words = ["wrk", "--threads=1", `--connections=${CONNECTIONS}`, `--duration=${seconds}s`, ...closing];
  const [program, ...rest] = [...(pinWords?.client ?? []), ...words, `http://${host}:${port}/${path}`];
  const beforeSeconds = cpuSecondsOf(pid);
  const { stdout } = await run(program, rest, { timeout: 60_000 });
  const cpuSeconds = cpuSecondsOf(pid) - beforeSeconds;
  const [, requests = "0", took = "1"] = /(\d+) requests in ([\d.]+)s/.exec(stdout) ?? [];
  const failed = /Non-2xx[^\n]*: (\d+)|Socket errors: ([^\n]*)/.exec(stdout);
  // wrk counts the connections that close as read errors of its own when it asked for that.
  if (failed !== null && load !== "new") throw new Error(`${host}:${port}: ${failed[0]}`);
  const units = load === "large" ? (Number(requests) * LARGE_BYTES) / 1e6 : Number(requests);
  return { perSecond: units / Number(took), cpuMicros: (cpuSeconds * 1e6) / units };
}

/** CPU time that a process has used, all its threads. */
function cpuSecondsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** How much longer requests take through us than straight to an upstream, at one pace. */
async function measureAdded(subjects: readonly Subject[], perSecond: number): Promise<AddedLatency> {
  const ours = subjects.find(({ name, mode }) => name === OURS && mode === "http");
  const [upstream = 0] = UPSTREAM_PORTS;
  const direct = await paced("127.0.0.1", upstream, perSecond);
  const through = await paced(ours?.host ?? "", ours?.port ?? 0, perSecond);
  const addedAt = (part: number): number => quantile(through, part) - quantile(direct, part);
  return { perSecond, p50Ms: addedAt(0.5), p99Ms: addedAt(0.99) };
}

async function paced(host: string, port: number, perSecond: number): Promise<readonly number[]> {
  const asked = [process.execPath, PACE, host, String(port), String(perSecond), String(PACE_SECONDS)];
  const [program = "", ...rest] = [...(pinWords?.client ?? []), ...asked];
  const { stdout } = await run(program, rest, { maxBuffer: 64 * 1024 * 1024, timeout: 60_000 });
  return JSON.parse(stdout) as readonly number[];
}

/** One of the rates; undefined when that proxy is not here. */
export function rateOf(
  rates: readonly ProxyRate[],
  name: string,
  of: { readonly mode: Mode; readonly load: Load },
): ProxyRate | undefined {
  return rates.find((rate) => rate.name === name && rate.mode === of.mode && rate.load === of.load);
}

interface Line {
  readonly what: string;
  readonly promised: string;
  readonly measured: string;
  readonly others: string;
}

const PROMISES: readonly {
  readonly what: string;
  readonly of: { readonly mode: Mode; readonly load: Load };
  readonly beside: Readonly<Record<string, string>>;
}[] = [
  {
    what: "HTTP requests, connections kept",
    of: { mode: "http", load: "short" },
    beside: { "http-proxy": "1.0 x", caddy: "0.6 x", nginx: "-", haproxy: "-" },
  },
  {
    what: "requests over TCP, connections kept",
    of: { mode: "tcp", load: "short" },
    beside: { haproxy: "0.7 x" },
  },
  { what: "connections over TCP", of: { mode: "tcp", load: "new" }, beside: { haproxy: "0.7 x" } },
  { what: "MB over TCP", of: { mode: "tcp", load: "large" }, beside: { haproxy: "0.7 x" } },
];

/** The figures beside what is promised. */
export function linesOfProxy({ rates, added, missing }: ProxyFigures): readonly Line[] {
  const lines = PROMISES.flatMap(({ what, of, beside }) => {
    const ours = rateOf(rates, OURS, of);
    if (ours === undefined) return [];
    return Object.entries(beside).map(([name, promised]) => {
      const rival = rateOf(rates, name, of);
      if (rival === undefined)
        return { what: `${what}, of ${name}`, promised, measured: "-", others: "not installed" };
      const ratio = (ours.perSecond / rival.perSecond).toFixed(2);
      const measured = `${ratio} x (${inWords(ours)} beside ${inWords(rival)})`;
      return { what: `${what}, of ${name}`, promised, measured, others: "" };
    });
  });
  const { perSecond, p50Ms, p99Ms } = added;
  const at = `at ${perSecond}/s, half of what it can`;
  const latency = [
    {
      what: "latency added to an HTTP request, p50",
      promised: "0.3 ms",
      measured: `${p50Ms.toFixed(2)} ms`,
      others: at,
    },
    {
      what: "latency added to an HTTP request, p99",
      promised: "2 ms",
      measured: `${p99Ms.toFixed(2)} ms`,
      others: at,
    },
  ];
  const absent = missing.map((name) => ({
    what: `(${name})`,
    promised: "-",
    measured: "not installed",
    others: "",
  }));
  return [...lines, ...latency, ...absent];
}

function inWords({ perSecond, cpuMicros }: ProxyRate): string {
  return `${perSecond.toFixed(0)}/s at ${cpuMicros.toFixed(0)} us of CPU`;
}
