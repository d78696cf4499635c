/**
 * Chart: the last five minutes of some numbers, drawn by uPlot, and told in words for those who do not see it.
 *
 * The box has a fixed height, so that a page does not move when numbers arrive. uPlot draws on a canvas and knows no
 * style sheet: its colours are those that its box would have, and the chart is made anew when the theme changes.
 * Numbers stand above the lines: the last ones, or those under the pointer with their time.
 *
 * Touches: the document, a canvas, the size of its box.
 */

import { useEffect, useRef, useState } from "preact/hooks";
import UPlot from "uplot";

import type { Series } from "../trail.ts";
import { clock } from "../words.ts";

import { useStore } from "./store.ts";

/** One line of a chart; `colour` names a variable of the style sheet. */
export interface Line {
  readonly name: string;
  readonly colour: "c1" | "c2" | "c3" | "bad";
  readonly filled?: boolean;
}

interface ChartProps {
  readonly title: string;
  readonly lines: readonly Line[];
  readonly series: Series;
  readonly say: (value: number | null) => string;
}

const HEIGHT = 132;
const SPAN_SECONDS = 300;
/** Marks of the time, in seconds: as many as fit. */
const STEPS = [60, 120, 300];

/** Some numbers over time, with the last of each above it. */
export function Chart({ title, lines, series, say }: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<UPlot | null>(null);
  const { isDark, nowMs } = useStore();
  const dark = isDark.value;
  const names = lines.map((line) => line.name).join();
  // Which row the pointer is on.
  const [pointed, point] = useState<number | null>(null);
  useEffect(() => {
    const { current } = box;
    if (current === null) return;
    const made = new UPlot(optionsOf(current, { lines, say, point }), dataOf(series), current);
    plot.current = made;
    const watcher = new ResizeObserver(() => made.setSize({ width: current.clientWidth, height: HEIGHT }));
    watcher.observe(current);
    return () => {
      watcher.disconnect();
      made.destroy();
      plot.current = null;
      point(null);
    };
  }, [dark, names]);
  useEffect(() => {
    plot.current?.setData(dataOf(series), false);
    // Between two ticks of the clock a report may be newer than it.
    const now = Math.max(nowMs.peek() / 1000, series.times.at(-1) ?? 0);
    plot.current?.setScale("x", { min: now - SPAN_SECONDS, max: now });
    // The pointer rests, and the lines move below it.
    const left = plot.current?.cursor.left ?? -1;
    point(left < 0 ? null : (plot.current?.posToIdx(left) ?? null));
  }, [series]);
  const shownOf = (at: number, row: number): string => say(series.values[at]?.at(row) ?? null);
  const told = lines.map((line, at) => `${line.name} ${shownOf(at, -1)}`).join(", ");
  const time = series.times[pointed ?? -1];
  return (
    <section class="card chart" aria-label={title}>
      <header class="card-head">
        <h2>
          {title}
          {time !== undefined && <time class="pointed num">{clock(time * 1000)}</time>}
        </h2>
        <ul class="legend">
          {lines.map((line, at) => (
            <li key={line.name}>
              <span class={`swatch ${line.colour}`} aria-hidden="true" />
              <span class="legend-name">{line.name}</span>
              <b class="num">{shownOf(at, pointed ?? -1)}</b>
            </li>
          ))}
        </ul>
      </header>
      <div class="plot" ref={box} role="img" aria-label={`${title}, last five minutes. Now: ${told}`} />
    </section>
  );
}

/** A colour of the style sheet, in the theme that is shown. */
function painted(box: HTMLElement, text: string): string {
  box.style.color = text;
  const { color } = getComputedStyle(box);
  box.style.removeProperty("color");
  return color;
}

function dataOf(series: Series): UPlot.AlignedData {
  return [[...series.times], ...series.values.map((column) => [...column])];
}

interface Drawing extends Pick<ChartProps, "lines" | "say"> {
  readonly point: (row: number | null) => void;
}

function optionsOf(box: HTMLElement, { lines, say, point }: Drawing): UPlot.Options {
  const colour = (name: string): string => painted(box, `var(--${name})`);
  const axis = {
    stroke: colour("muted"),
    font: "11px system-ui, sans-serif",
    ticks: { show: false },
    grid: { stroke: colour("grid"), width: 1 },
  };
  return {
    width: Math.max(120, box.clientWidth),
    height: HEIGHT,
    // Room for half of a time at the right edge.
    padding: [8, 18, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
    hooks: { setCursor: [({ cursor }) => point(cursor.idx ?? null)] },
    scales: { x: { time: true }, y: { range: (_, __, max) => [0, Math.max(1, (max || 0) * 1.15)] } },
    axes: [
      {
        ...axis,
        size: 22,
        space: 42,
        incrs: STEPS,
        values: (_, at) => at.map((second) => clock(second * 1000).slice(0, 5)),
      },
      { ...axis, size: 52, space: 34, values: (_, at) => at.map((value) => say(value)) },
    ],
    series: [
      {},
      ...lines.map((line) => ({
        label: line.name,
        stroke: colour(line.colour),
        width: 1.6,
        points: { show: false },
        ...(line.filled === true
          ? { fill: painted(box, `color-mix(in srgb, var(--${line.colour}) 13%, transparent)`) }
          : {}),
      })),
    ],
  };
}
