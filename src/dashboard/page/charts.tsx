/**
 * Charts: which numbers are charted together, of the whole cluster and of one service.
 *
 * Read at each report, which is once a second: `traffic` is what makes them new.
 *
 * Touches: the document, through preact.
 */

import type { Track } from "../trail.ts";
import { bytes, millis, short } from "../words.ts";

import { Chart, type Line } from "./chart.tsx";
import { useStore } from "./store.ts";

interface Shown {
  readonly title: string;
  readonly tracks: readonly Track[];
  readonly lines: readonly Line[];
  readonly say: (value: number | null) => string;
}

/** Of the whole and of each service. */
const COMMON: readonly Shown[] = [
  {
    title: "Traffic",
    tracks: ["requests", "connections"],
    lines: [
      { name: "requests/s", colour: "c1", filled: true },
      { name: "connections/s", colour: "c2" },
    ],
    say: short,
  },
  {
    title: "Latency",
    tracks: ["p50", "p95", "p99"],
    lines: [
      { name: "p50", colour: "c1" },
      { name: "p95", colour: "c2" },
      { name: "p99", colour: "c3" },
    ],
    say: millis,
  },
  {
    title: "Errors and retries",
    tracks: ["errors", "retries"],
    lines: [
      { name: "errors/s", colour: "bad", filled: true },
      { name: "retries/s", colour: "c3" },
    ],
    say: short,
  },
];
const VOLUME: Shown = {
  title: "Volume",
  tracks: ["received", "sent"],
  lines: [
    { name: "in/s", colour: "c1", filled: true },
    { name: "out/s", colour: "c2" },
  ],
  say: bytes,
};
const QUESTIONS: readonly Line[] = [
  { name: "questions/s", colour: "c2", filled: true },
  { name: "failed/s", colour: "bad" },
];

/** Four charts of the whole. */
export function TotalCharts() {
  return (
    <div class="charts">
      <Tracks charts={COMMON} service={null} />
      <DnsChart />
    </div>
  );
}

/** Four charts of one service. */
export function ServiceCharts({ service }: { readonly service: string }) {
  return (
    <div class="charts">
      <Tracks charts={[...COMMON, VOLUME]} service={service} />
    </div>
  );
}

function Tracks({ charts, service }: { readonly charts: readonly Shown[]; readonly service: string | null }) {
  const { trail, nowMs } = useTrail();
  return (
    <>
      {charts.map(({ title, tracks, lines, say }) => (
        <Chart
          key={title}
          title={title}
          lines={lines}
          series={trail.series(tracks, service, nowMs)}
          say={say}
        />
      ))}
    </>
  );
}

/** Questions for names. */
export function DnsChart() {
  const { trail, nowMs } = useTrail();
  const { times, values } = trail.dns(nowMs);
  return <Chart title="DNS" lines={QUESTIONS} series={{ times, values: values.slice(0, 2) }} say={short} />;
}

/** The trail as it is after the last report. */
function useTrail() {
  const { trail, traffic, nowMs } = useStore();
  void traffic.value;
  return { trail, nowMs: nowMs.peek() };
}
