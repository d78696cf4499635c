/**
 * Bench: speed and memory, each beside what we promise.
 *
 *     npm run bench                     all that this machine allows
 *     npm run bench -- start memory     some
 *     npm run bench -- --json           for programs
 *     npm run bench -- partition --rounds 3
 *
 * How far it is stands on standard error; what was measured, on standard output.
 *
 * Not tests: a shared machine's timing proves nothing by itself, so nothing here fails a build.
 *
 * Touches: standard output and error, and what each measurement touches.
 */

import { existsSync } from "node:fs";
import { parseArgs } from "node:util";

import { skipReason } from "../lab/requirements.ts";
import { withSteps, type OnStep } from "../support/steps.ts";

import { measureConnections } from "./connections.ts";
import { PROGRAMS, type Program } from "./daemon.ts";
import { linesOfDns, measureDns } from "./dns.ts";
import { embeddedObstacle, measureEmbedded } from "./dns-embedded.ts";
import { dnsLoadObstacle } from "./dns-load.ts";
import { measureFailover } from "./failover.ts";
import { measureFlood } from "./flood.ts";
import { measureJoin } from "./join.ts";
import { kernelObstacle, linesOfKernel, measureKernel } from "./kernel.ts";
import { measureMemory, type MemoryFigures } from "./memory.ts";
import { linesOfMerge, measureMerge } from "./merge.ts";
import { EVENTS, measurePartition, type PartitionEvent, type PartitionFigures } from "./partition.ts";
import { linesOfProxy, measureProxy, proxyObstacle } from "./proxy.ts";
import { measureSeals } from "./seals.ts";
import { measureStart, type StartFigures } from "./start.ts";
import { measureStreams } from "./streams.ts";
import { measureVisible } from "./visible.ts";
import { linesOfZone, measureZone } from "./zone.ts";

interface Line {
  readonly what: string;
  readonly promised: string;
  readonly measured: string;
  /** What others took, where that is known. */
  readonly others?: string;
}

/** How to measure. */
interface How {
  /** For those that are measured in rounds; undefined: as many as they think right. */
  readonly rounds: number | undefined;
  readonly onStep: OnStep;
}

interface Bench {
  readonly name: string;
  readonly run: (how: How) => Promise<{ readonly figures: unknown; readonly lines: readonly Line[] }>;
  /** Why it cannot run here, in words; false when it can. */
  readonly obstacle: () => string | false;
}

const always = (): false => false;

const BENCHES: readonly Bench[] = [
  {
    name: "start",
    obstacle: always,
    async run({ rounds, onStep }) {
      const figures = await measureStart(rounds, onStep);
      return { figures, lines: figures.flatMap(linesOfStart) };
    },
  },
  {
    name: "memory",
    obstacle: always,
    async run({ onStep }) {
      const programs = (["source", "bundle"] as const).filter((program) => existsSync(PROGRAMS[program]));
      const figures: Partial<Record<Program, MemoryFigures>> = {};
      for (const program of programs) {
        onStep(program);
        figures[program] = await measureMemory({ program });
      }
      const lines = Object.entries(figures).flatMap(([program, { rssMb, learntMs }]) => [
        {
          what: `resident, 1,000 services x 10 replicas, ${program}`,
          promised: "120 MB",
          measured: `${rssMb.toFixed(0)} MB`,
        },
        {
          what: `10,000 replicas of 10 members learnt, ${program}`,
          promised: "-",
          measured: `${learntMs.toFixed(0)} ms`,
        },
      ]);
      return { figures, lines };
    },
  },
  {
    name: "merge",
    obstacle: always,
    async run() {
      const figures = measureMerge();
      return { figures, lines: linesOfMerge(figures) };
    },
  },
  {
    name: "zone",
    obstacle: always,
    async run() {
      const figures = measureZone();
      return { figures, lines: linesOfZone(figures) };
    },
  },
  {
    name: "join",
    obstacle: always,
    async run({ onStep }) {
      const figures = await measureJoin(onStep);
      const asked = `${figures.medianMs.toFixed(0)} ms (the first ${figures.firstMs.toFixed(0)} ms)`;
      const started = `${figures.startedMs.toFixed(0)} ms`;
      return {
        figures,
        lines: [
          { what: "a certificate for a token", promised: "500 ms", measured: asked },
          { what: "a host's first start with a token, until it serves", promised: "-", measured: started },
        ],
      };
    },
  },
  {
    name: "seals",
    obstacle: always,
    async run() {
      const figures = measureSeals();
      const inWords = (perSecond: number): string =>
        `${(Math.floor(perSecond / 100) * 100).toLocaleString("en")}/s`;
      const { sealedPerSecond, checkedPerSecond, bothPerSecond } = figures;
      return {
        figures,
        lines: [
          { what: "changes sealed, one core", promised: "-", measured: inWords(sealedPerSecond) },
          { what: "changes checked, one core", promised: "-", measured: inWords(checkedPerSecond) },
          {
            what: "as many sealed as checked, one core",
            promised: "5,000/s",
            measured: inWords(bothPerSecond),
          },
        ],
      };
    },
  },
  {
    name: "streams",
    obstacle: always,
    async run({ onStep }) {
      const figures = await measureStreams(onStep);
      const { downMbps, upMbps, firstByteMs } = figures;
      const rate = ({ ours, ratio }: typeof downMbps): string =>
        `${(ratio * 100).toFixed(0)} % (${ours.toFixed(0)} MB/s)`;
      const { tcp, ready, cold } = firstByteMs;
      const first = `+${(ready - tcp).toFixed(0)} ms (without one kept ready +${(cold - tcp).toFixed(0)} ms)`;
      return {
        figures,
        lines: [
          { what: "relayed stream, of a bare TLS pipe, down", promised: "70 %", measured: rate(downMbps) },
          { what: "relayed stream, of a bare TLS pipe, up", promised: "70 %", measured: rate(upMbps) },
          { what: "first byte, beside TCP, at 20 ms there and back", promised: "+20 ms", measured: first },
        ],
      };
    },
  },
  {
    name: "dns",
    obstacle: dnsLoadObstacle,
    async run({ rounds, onStep }) {
      const figures = await measureDns(rounds, onStep);
      return { figures, lines: linesOfDns(figures) };
    },
  },
  {
    name: "dns-embedded",
    obstacle: embeddedObstacle,
    async run({ rounds, onStep }) {
      const figures = await measureEmbedded(rounds, onStep);
      const rates = `${figures.oursPerSecond.toFixed(0)}/s beside ${figures.dockersPerSecond.toFixed(0)}/s`;
      const measured = `${figures.ofDocker.toFixed(1)} x (${rates}, ${figures.lost} lost)`;
      return { figures, lines: [{ what: "DNS over UDP, of Docker's own", promised: "2 x", measured }] };
    },
  },
  {
    name: "proxy",
    obstacle: proxyObstacle,
    async run({ rounds, onStep }) {
      const figures = await measureProxy(rounds, onStep);
      return { figures, lines: linesOfProxy(figures) };
    },
  },
  {
    name: "kernel",
    obstacle: kernelObstacle,
    async run({ rounds, onStep }) {
      const figures = await measureKernel(rounds, onStep);
      return { figures, lines: linesOfKernel(figures) };
    },
  },
  {
    name: "connections",
    obstacle: always,
    async run({ onStep }) {
      const figures = await measureConnections(onStep);
      const lines = [
        { what: `memory of each of ${figures.held} TCP connections`, bytes: figures.tcpBytesEach },
        { what: "the same over HTTP, kept alive", bytes: figures.httpBytesEach },
      ];
      const inKilobytes = (bytes: number): string => `${(bytes / 1000).toFixed(1)} kB`;
      return {
        figures,
        lines: lines.map(({ what, bytes }) => ({ what, promised: "40 kB", measured: inKilobytes(bytes) })),
      };
    },
  },
  {
    name: "failover",
    obstacle: always,
    async run() {
      const figures = await measureFailover();
      const slowest = `slowest ${figures.slowestMs.toFixed(0)} ms`;
      const measured = `${figures.failed} failed of ${figures.requests}, ${slowest}`;
      return {
        figures,
        lines: [{ what: "a replica killed at 200 requests/s", promised: "0 failed", measured }],
      };
    },
  },
  {
    name: "flood",
    obstacle: always,
    async run({ onStep }) {
      const figures = await measureFlood(onStep);
      const lines = figures.flatMap((run) => {
        const by = run.links === 1 ? "1 flooding link" : `${run.links} flooding links`;
        const lost = run.unanswered === 0 ? "" : `, ${run.unanswered} unanswered`;
        const pongs = `${run.slowestPongMs.toFixed(0)} ms (before ${run.calmPongMs.toFixed(0)} ms)${lost}`;
        const grown = `${run.rssGrowthMb.toFixed(0)} MB (${run.framesHandled} frames handled)`;
        return [
          { what: `resident memory grows, ${by}`, promised: "64 MB", measured: grown },
          { what: `slowest pong elsewhere, ${by}`, promised: "500 ms", measured: pongs },
        ];
      });
      return { figures, lines };
    },
  },
  {
    name: "visible",
    obstacle: skipReason,
    async run({ onStep }) {
      const figures = await measureVisible(onStep);
      const { medianMs, p90Ms, maxMs, changes } = figures;
      const spread = `p90 ${p90Ms.toFixed(0)} ms, most ${maxMs.toFixed(0)} ms`;
      const measured = `median ${medianMs.toFixed(0)} ms, ${spread}, of ${changes}`;
      return {
        figures,
        lines: [{ what: "a change in another host's DNS, in the lab", promised: "100 ms", measured }],
      };
    },
  },
  {
    name: "partition",
    obstacle: skipReason,
    async run({ rounds, onStep }) {
      const figures = await measurePartition(rounds, onStep);
      return { figures, lines: EVENTS.map((event) => lineOfPartition(figures, event)) };
    },
  },
];

function linesOfStart(figures: StartFigures): readonly Line[] {
  const { program, first, later, idleRssMb, ownRssMb, statusCpuMs, versionCpuMs } = figures;
  const inWords = ({ medianMs, slowestMs, cpuMs }: StartFigures["first"]): string =>
    `median ${medianMs.toFixed(0)} ms, slowest ${slowestMs.toFixed(0)} ms, processor ${cpuMs.toFixed(0)} ms`;
  const promised = program === "bundle" ? { start: "300 ms", idle: "80 MB" } : { start: "-", idle: "-" };
  return [
    { what: `ready after a first start, ${program}`, promised: promised.start, measured: inWords(first) },
    { what: `ready after a later start, ${program}`, promised: promised.start, measured: inWords(later) },
    {
      what: `resident when idle, ${program}`,
      promised: promised.idle,
      measured: `${idleRssMb.toFixed(0)} MB (its own ${ownRssMb.toFixed(0)} MB)`,
    },
    {
      what: `processor time of status --quiet, ${program}`,
      promised: "-",
      measured: `${statusCpuMs.toFixed(0)} ms (--version ${versionCpuMs.toFixed(0)} ms)`,
    },
  ];
}

const PARTITION: Readonly<Record<PartitionEvent, { readonly what: string; readonly promised: string }>> = {
  cut: { what: "a host's link cut: out of DNS on the others", promised: "3,000 ms" },
  healed: { what: "the link back: in DNS again on all hosts", promised: "2,000 ms" },
  killed: { what: "a daemon killed (-9): out of DNS on the others", promised: "500 ms" },
  frozen: { what: "a daemon frozen: out of DNS on the others", promised: "3,000 ms" },
};

function lineOfPartition({ spreadByEvent, others, rounds }: PartitionFigures, event: PartitionEvent): Line {
  const { medianMs, worstMs } = spreadByEvent[event];
  const { swarm, serf } = others;
  const beside = Object.entries({ Swarm: swarm, Serf: serf }).flatMap(([name, tookMs]) => {
    const took = Object.entries(tookMs).find(([what]) => what === event);
    return took === undefined ? [] : [`${name} ${took[1]} ms`];
  });
  const measured = `median ${medianMs} ms, worst ${worstMs} ms, of ${rounds}`;
  return { ...PARTITION[event], measured, others: beside.join(", ") };
}

interface Words {
  readonly asJson: boolean;
  readonly rounds?: number;
  readonly asked: readonly string[];
}

/** What is asked for, or in words what is wrong with it. */
function parseWords(): Words | string {
  try {
    const options = { json: { type: "boolean", default: false }, rounds: { type: "string" } } as const;
    const { values, positionals: asked } = parseArgs({ options, allowPositionals: true });
    const unknown = asked.filter((word) => !BENCHES.some(({ name }) => name === word));
    const known = BENCHES.map(({ name }) => name).join(", ");
    if (unknown.length > 0) return `bench "${unknown.join(" ")}" is unknown; expected some of ${known}`;
    const asJson = values.json;
    if (values.rounds === undefined) return { asJson, asked };
    const isCount = /^[1-9]\d{0,3}$/.test(values.rounds);
    return isCount
      ? { asJson, asked, rounds: Number(values.rounds) }
      : `rounds is "${values.rounds}"; expected 1..9999`;
  } catch (thrown) {
    return String(thrown);
  }
}

const words = parseWords();
if (typeof words === "string") {
  process.stderr.write(`${words}\n`);
  process.exit(2);
}
const { asJson, asked, rounds } = words;

const { stderr, env } = process;
const screen = {
  surroundings: {
    stderr,
    stderrColumns: stderr.isTTY ? stderr.columns : 0,
    env,
    nowMs: () => performance.now(),
  },
  quiet: false,
};
const all: Record<string, unknown> = {};
const chosen = BENCHES.filter(({ name }) => asked.length === 0 || asked.includes(name));
for (const [index, bench] of chosen.entries()) {
  const reason = bench.obstacle();
  if (reason !== false) {
    stderr.write(`${bench.name}: skipped, ${reason}\n`);
    continue;
  }
  const title = `${bench.name} (${index + 1} of ${chosen.length})`;
  const { figures, lines } = await withSteps(screen, title, (onStep) => bench.run({ rounds, onStep }));
  all[bench.name] = figures;
  if (asJson) continue;
  for (const { what, promised, measured, others = "" } of lines) {
    const beside = others === "" ? "" : `  (${others})`;
    process.stdout.write(`${what.padEnd(48)} ${promised.padEnd(10)} ${measured}${beside}\n`);
  }
}
if (asJson) process.stdout.write(`${JSON.stringify(all, null, 2)}\n`);
