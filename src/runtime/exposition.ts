/**
 * Exposition: a registry as Prometheus reads it (text format 0.0.4).
 *
 * With a thousand services that is two megabytes, which prom-client writes in one go: a tenth of a second in which
 * nothing else runs. Here it is written line by line, with a turn for everybody else in between; those who ask while it
 * is being written get the same text, so that the work is bounded by the time it takes and not by who asks.
 *
 * Touches: prom-client's registry, the event loop's turns.
 */

import { setImmediate as nextTurn } from "node:timers/promises";

import type { Registry } from "prom-client";

/** Numbers under labels, as the registry asks for them. */
export interface Sample {
  readonly metricName?: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/** What is read of a metric; one of ours tells its samples one after the other. */
interface Read {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly samples?: () => Iterable<Sample>;
  get(): Promise<{ readonly values: readonly Sample[] }>;
}

/** Lines between two turns: a few milliseconds' work. */
const LINES_A_TURN = 2000;

/** Makes what writes a registry's text. */
export function openExposition(registry: Registry): () => Promise<string> {
  let writing: Promise<string> | null = null;
  return () => {
    writing ??= write(registry).finally(() => (writing = null));
    return writing;
  };
}

async function write(registry: Registry): Promise<string> {
  let text = "";
  let lines = 0;
  for (const metric of registry.getMetricsAsArray() as unknown as readonly Read[]) {
    const { name, help, type } = metric;
    text += `# HELP ${name} ${help.replace(/[\\\n]/g, escaped)}\n# TYPE ${name} ${type}\n`;
    for (const sample of metric.samples?.() ?? (await metric.get()).values) {
      text += lineOf(name, sample);
      lines += 1;
      if (lines % LINES_A_TURN === 0) await nextTurn();
    }
  }
  return text;
}

function lineOf(name: string, { metricName = name, labels, value }: Sample): string {
  let inner = "";
  for (const label in labels) {
    const text = String(labels[label]);
    const safe = NEEDS_ESCAPE.test(text) ? text.replace(ESCAPED, escaped) : text;
    inner += `${inner === "" ? "" : ","}${label}="${safe}"`;
  }
  return `${metricName}${inner === "" ? "" : `{${inner}}`} ${valueOf(value)}\n`;
}

const NEEDS_ESCAPE = /["\\\n]/;
const ESCAPED = /["\\\n]/g;

function escaped(char: string): string {
  return char === "\n" ? "\\n" : `\\${char}`;
}

function valueOf(value: number): string {
  if (value === Infinity) return "+Inf";
  return value === -Infinity ? "-Inf" : String(value);
}
