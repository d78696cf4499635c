/**
 * Bench: speed and memory, each beside what we promise.
 *
 *     npm run bench                     all that this machine allows
 *     npm run bench -- start memory     some
 *     npm run bench -- --json           for programs
 *
 * Not tests: a shared machine's timing proves nothing by itself, so nothing here fails a build.
 *
 * Touches: standard output, and what each measurement touches.
 */

import { skipReason } from "../lab/requirements.ts";

import { measureFailover } from "./failover.ts";
import { measureFlood } from "./flood.ts";
import { measureMemory } from "./memory.ts";
import { linesOfMerge, measureMerge } from "./merge.ts";
import { measureStart } from "./start.ts";
import { measureVisible } from "./visible.ts";

interface Line {
  readonly what: string;
  readonly promised: string;
  readonly measured: string;
}

interface Bench {
  readonly name: string;
  readonly run: () => Promise<{ readonly figures: unknown; readonly lines: readonly Line[] }>;
  /** Why it cannot run here, in words; false when it can. */
  readonly obstacle: () => string | false;
}

const always = (): false => false;

const BENCHES: readonly Bench[] = [
  {
    name: "start",
    obstacle: always,
    async run() {
      const figures = await measureStart();
      const measured = `median ${figures.medianMs.toFixed(0)} ms, slowest ${figures.slowestMs.toFixed(0)} ms`;
      return { figures, lines: [{ what: "ready after start", promised: "1,000 ms", measured }] };
    },
  },
  {
    name: "memory",
    obstacle: always,
    async run() {
      const figures = await measureMemory();
      const measured = `${figures.rssMb.toFixed(0)} MB (idle ${figures.idleRssMb.toFixed(0)} MB)`;
      const learnt = `${figures.learntMs.toFixed(0)} ms`;
      return {
        figures,
        lines: [
          { what: "resident memory, 1,000 services x 10 replicas", promised: "120 MB", measured },
          { what: "10,000 replicas learnt from 10 members", promised: "-", measured: learnt },
        ],
      };
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
    async run() {
      const figures = await measureFlood();
      const lines = figures.flatMap(({ links, rssGrowthMb, slowestPongMs, unanswered, framesHandled }) => {
        const by = links === 1 ? "1 flooding link" : `${links} flooding links`;
        const lost = unanswered === 0 ? "" : `, ${unanswered} unanswered`;
        const handled = `${framesHandled.toLocaleString("en")} frames handled`;
        return [
          {
            what: `resident memory grows by, ${by}`,
            promised: "64 MB",
            measured: `${rssGrowthMb.toFixed(0)} MB`,
          },
          {
            what: `slowest pong to another member, ${by}`,
            promised: "500 ms",
            measured: `${slowestPongMs.toFixed(0)} ms${lost} (${handled})`,
          },
        ];
      });
      return { figures, lines };
    },
  },
  {
    name: "visible",
    obstacle: skipReason,
    async run() {
      const figures = await measureVisible();
      const { medianMs, p90Ms, maxMs, changes } = figures;
      const spread = `p90 ${p90Ms.toFixed(0)} ms, most ${maxMs.toFixed(0)} ms`;
      const measured = `median ${medianMs.toFixed(0)} ms, ${spread}, of ${changes}`;
      return {
        figures,
        lines: [{ what: "a change in another host's DNS, in the lab", promised: "100 ms", measured }],
      };
    },
  },
];

const words = process.argv.slice(2);
const asJson = words.includes("--json");
const asked = words.filter((word) => !word.startsWith("--"));
const unknown = asked.filter((word) => !BENCHES.some(({ name }) => name === word));
if (unknown.length > 0) {
  const known = BENCHES.map(({ name }) => name).join(", ");
  process.stderr.write(`bench "${unknown.join(" ")}" is unknown; expected some of ${known}\n`);
  process.exit(2);
}

const all: Record<string, unknown> = {};
for (const bench of BENCHES) {
  if (asked.length > 0 && !asked.includes(bench.name)) continue;
  const reason = bench.obstacle();
  if (reason !== false) {
    process.stderr.write(`${bench.name}: skipped, ${reason}\n`);
    continue;
  }
  process.stderr.write(`${bench.name} ...\n`);
  const { figures, lines } = await bench.run();
  all[bench.name] = figures;
  if (asJson) continue;
  for (const { what, promised, measured } of lines) {
    process.stdout.write(`${what.padEnd(48)} ${promised.padEnd(10)} ${measured}\n`);
  }
}
if (asJson) process.stdout.write(`${JSON.stringify(all, null, 2)}\n`);
