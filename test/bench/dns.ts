/**
 * Dns: the daemon's name server beside dnsmasq and unbound, asked by dnsperf in turn.
 *
 * The machine has good and bad minutes, so what counts is the ratio in the same round, and of those the median. Each
 * server answers the same 200 names from memory, on one thread of the same CPU. The daemon is the whole daemon, with
 * its services, probes and timers.
 *
 * Touches: child processes, loopback sockets, the clock.
 */

import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import type { HostPort } from "../../src/base/ip.ts";
import { answersOf, askTcp, query } from "../dns/fixture.ts";
import { roundOf, untold, type OnStep } from "../support/steps.ts";

import { startDaemon } from "./daemon.ts";
import {
  answering,
  DOMAIN,
  load,
  NAMES,
  pin,
  questionsIn,
  startDnsmasq,
  startUnbound,
  type Load,
  type Server,
} from "./dns-load.ts";
import type { Order, Told } from "./dns-server.ts";
import { quantile } from "./statistics.ts";

const ROUNDS = 5;
const SECONDS = 3;
const DAEMON_ADDRESS = "127.0.85.1";
const LARGE_ANSWERS = 20;
const CHANGES_PER_SECOND = 50;

/** A line of the bench's report. */
interface Line {
  readonly what: string;
  readonly promised: string;
  readonly measured: string;
}

/** The figures in words, each beside what we promise. */
export function linesOfDns(figures: DnsFigures): readonly Line[] {
  const { perSecond, ofDnsmasq, ofUnbound, p99, tcp, large, changing, lost } = figures;
  const rate = (one = Number.NaN): string => `${Math.round(one / 1000)}k/s`;
  const beside = (ratio: number, name: string): string =>
    `${ratio.toFixed(2)} x (${rate(perSecond["skein"])} beside ${rate(perSecond[name])})`;
  const ms = (one: number): string => `${one.toFixed(1)} ms`;
  const half = `${p99.ratio.toFixed(2)} x (${ms(p99.oursMs)} beside ${ms(p99.dnsmasqMs)})`;
  const block = `${ms(large.blockMs)} (${large.addresses} told, in ${ms(large.slowestMs)} at most)`;
  const changed = `${changing.lost} of ${changing.queries}`;
  return [
    { what: "DNS over UDP, of dnsmasq", promised: "0.75 x", measured: beside(ofDnsmasq, "dnsmasq") },
    { what: "DNS over UDP, of unbound", promised: "0.75 x", measured: beside(ofUnbound, "unbound") },
    { what: "DNS queries lost meanwhile", promised: "-", measured: String(lost) },
    { what: "p99 at half dnsmasq's load, of dnsmasq", promised: "2 x", measured: half },
    {
      what: "DNS over TCP, of unbound",
      promised: "0.5 x",
      measured: `${tcp.ofUnbound.toFixed(2)} x (${rate(tcp.perSecond)})`,
    },
    { what: "5,000 replicas over TCP: the loop stands still", promised: "10 ms", measured: block },
    { what: "lost while the zone changes 50 times a second", promised: "0", measured: changed },
    {
      what: "DNS over UDP while the zone changes 50 times a second, of at rest",
      promised: "-",
      measured: `${changing.ofRest.toFixed(2)} x`,
    },
  ];
}

/** Medians over the rounds; ratios of ours to theirs, each within its round. */
export interface DnsFigures {
  readonly perSecond: Readonly<Record<string, number>>;
  readonly lost: number;
  readonly ofDnsmasq: number;
  readonly ofUnbound: number;
  /** At half of what dnsmasq takes, the 99th percentile beside dnsmasq's. */
  readonly p99: { readonly oursMs: number; readonly dnsmasqMs: number; readonly ratio: number };
  readonly tcp: { readonly perSecond: number; readonly ofUnbound: number };
  /** A name of thousands of addresses over TCP. */
  readonly large: { readonly addresses: number; readonly slowestMs: number; readonly blockMs: number };
  readonly changing: {
    readonly queries: number;
    readonly lost: number;
    /** What it takes at most, of what it takes while nothing changes. */
    readonly ofRest: number;
  };
}

/** One round: the same load on each. */
interface Round {
  readonly udp: Readonly<Record<string, Load>>;
  readonly half: Readonly<Record<string, Load>>;
  readonly tcp: Readonly<Record<string, Load>>;
}

/** Measures with real servers. */
export async function measureDns(rounds = ROUNDS, onStep: OnStep = untold): Promise<DnsFigures> {
  const dir = mkdtempSync(join(tmpdir(), "skein-bench-"));
  const questions = questionsIn(
    dir,
    NAMES.map((name) => `${name}.${DOMAIN}`),
  );
  const servers: Server[] = [];
  try {
    servers.push(await startOurs(), await startDnsmasq(5391), await startUnbound(5392));
    // The first seconds are those of compilers, caches and addresses that are still tentative.
    onStep("warming up");
    for (const server of servers) await load(server, { questions, seconds: SECONDS });
    const seen: Round[] = [];
    for (let round = 0; round < rounds; round += 1) {
      onStep(roundOf(round, rounds));
      seen.push(await measureRound(servers, questions));
    }
    await Promise.all(servers.splice(0).map((server) => server.end()));
    onStep("large answers and changes");
    return { ...summary(seen), ...(await measureChild(dir)) };
  } finally {
    await Promise.all(servers.map((server) => server.end()));
    rmSync(dir, { recursive: true, force: true });
  }
}

async function startOurs(): Promise<Server> {
  // All services are one listener, so that they are ready and their probes are few.
  const replica = createServer((socket) => socket.destroy());
  replica.listen(0, DAEMON_ADDRESS);
  await once(replica, "listening");
  const { port } = replica.address() as AddressInfo;
  const services = NAMES.map((name) => {
    return {
      name,
      ports: [{ port: 80 }],
      replicas: [`${DAEMON_ADDRESS}:${port}`],
      health: { interval: "30s" },
    };
  });
  const daemon = await startDaemon(DAEMON_ADDRESS, { services });
  pin(daemon.child);
  const end = async (): Promise<void> => {
    await daemon.end();
    replica.close();
  };
  const server = { name: "skein", host: DAEMON_ADDRESS, port: 5300, end };
  await answering(server);
  return server;
}

async function measureRound(servers: readonly Server[], questions: string): Promise<Round> {
  const all = async (
    of: readonly Server[],
    options: { readonly transport?: "tcp"; readonly perSecond?: number } = {},
  ): Promise<Record<string, Load>> => {
    const loads: Record<string, Load> = {};
    for (const server of of)
      loads[server.name] = await load(server, { questions, seconds: SECONDS, ...options });
    return loads;
  };
  const only = (...names: string[]): readonly Server[] => servers.filter(({ name }) => names.includes(name));
  const udp = await all(servers);
  const half = await all(only("skein", "dnsmasq"), { perSecond: (udp["dnsmasq"]?.perSecond ?? 0) / 2 });
  const tcp = await all(only("skein", "unbound"), { transport: "tcp" });
  return { udp, half, tcp };
}

function summary(rounds: readonly Round[]): Omit<DnsFigures, "large" | "changing"> {
  const median = (pick: (round: Round) => number): number => quantile(rounds.map(pick), 0.5);
  const rate = (loads: Readonly<Record<string, Load>>, name: string): number =>
    loads[name]?.perSecond ?? Number.NaN;
  const p99 = (round: Round, name: string): number => round.half[name]?.p99Ms ?? Number.NaN;
  const names = ["skein", "dnsmasq", "unbound"];
  return {
    perSecond: Object.fromEntries(names.map((name) => [name, median(({ udp }) => rate(udp, name))])),
    lost: rounds.reduce(
      (sum, { udp, half }) => sum + (udp["skein"]?.lost ?? 0) + (half["skein"]?.lost ?? 0),
      0,
    ),
    ofDnsmasq: median(({ udp }) => rate(udp, "skein") / rate(udp, "dnsmasq")),
    ofUnbound: median(({ udp }) => rate(udp, "skein") / rate(udp, "unbound")),
    p99: {
      oursMs: median((round) => p99(round, "skein")),
      dnsmasqMs: median((round) => p99(round, "dnsmasq")),
      ratio: median((round) => p99(round, "skein") / p99(round, "dnsmasq")),
    },
    tcp: {
      perSecond: median(({ tcp }) => rate(tcp, "skein")),
      ofUnbound: median(({ tcp }) => rate(tcp, "skein") / rate(tcp, "unbound")),
    },
  };
}

/** What has to be seen from inside: a child that tells how long its event loop stood still. */
async function measureChild(dir: string): Promise<Pick<DnsFigures, "large" | "changing">> {
  const script = fileURLToPath(new URL("./dns-server.ts", import.meta.url));
  const child = fork(script, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const told = async (): Promise<Told> => ((await once(child, "message")) as [Told])[0];
  const order = (given: Order): boolean => child.send(given);
  const block = async (): Promise<number> => {
    order({ kind: "block" });
    const answer = await told();
    return "blockMs" in answer ? answer.blockMs : Number.NaN;
  };
  try {
    const first = await told();
    const server = { host: "127.0.0.1", port: "port" in first ? first.port : 0 };
    pin(child);
    const large = await measureLarge(server, { block, forget: () => order({ kind: "forget" }) });
    // As clients ask: for both families at once, of which a service has one.
    const names = NAMES.map((name) => `${name}.${DOMAIN}`);
    const asked = { questions: questionsIn(dir, names, ["A", "AAAA"]), seconds: SECONDS };
    const rest = await load(server, asked);
    order({ kind: "change", perSecond: CHANGES_PER_SECOND });
    const { perSecond, lost } = await load(server, { ...asked, perSecond: 20_000 });
    const most = await load(server, asked);
    const ofRest = most.perSecond / rest.perSecond;
    return { large, changing: { queries: Math.round(perSecond * SECONDS), lost, ofRest } };
  } finally {
    const exited = once(child, "exit");
    child.disconnect();
    await exited;
  }
}

async function measureLarge(
  server: HostPort,
  inside: { readonly block: () => Promise<number>; readonly forget: () => void },
): Promise<DnsFigures["large"]> {
  const asked = query(`tasks.many.${DOMAIN}`, "A");
  const ask = async (): Promise<number> => answersOf((await askTcp(server, [asked]))[0] ?? asked).length;
  // The first one also compiles the code.
  let addresses = await ask();
  await inside.block();
  let slowestMs = 0;
  let blockMs = 0;
  for (let at = 0; at < LARGE_ANSWERS; at += 1) {
    inside.forget();
    // What the new zone cost is not what the answer costs.
    await inside.block();
    const startMs = performance.now();
    addresses = Math.min(addresses, await ask());
    slowestMs = Math.max(slowestMs, performance.now() - startMs);
    blockMs = Math.max(blockMs, await inside.block());
  }
  return { addresses, slowestMs, blockMs };
}
