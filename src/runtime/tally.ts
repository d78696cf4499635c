/**
 * Tally: metrics that count a hundred thousand times a second.
 *
 * prom-client looks up the labels at each count, a tenth of what a cached DNS answer may cost in all. Here the labels
 * are looked up once, and from then on counting is an addition to a plain number. The registry sees metrics like any
 * other, and asks for the numbers when it is scraped.
 *
 * Touches: prom-client's registry.
 */

import type { Counter, Histogram, Registry } from "prom-client";

import type { Sample } from "./exposition.ts";

/** A count under one set of labels; whoever counts adds to it. */
export interface Cell {
  count: number;
}

/** A counter whose cells are kept by those who count. */
export interface TalliedCounter<L extends string> {
  /** The cell of these labels, the same one each time. */
  cell(labels: Readonly<Record<L, string>>): Cell;
  /** All that was counted so far. */
  counts(): readonly { readonly labels: Readonly<Record<L, string>>; readonly count: number }[];
}

/** Makes a counter; `name` with its prefix. */
export function openTalliedCounter<L extends string>(
  registry: Registry,
  about: { readonly name: string; readonly help: string; readonly labelNames: readonly L[] },
): TalliedCounter<L> {
  const cellByKey = new Map<string, { readonly labels: Readonly<Record<L, string>>; readonly cell: Cell }>();
  registerRead(registry, { ...about, type: "counter" }, function* () {
    for (const { labels, cell } of cellByKey.values()) yield { labels, value: cell.count };
  });
  return {
    cell(labels) {
      const key = JSON.stringify(labels);
      const there = cellByKey.get(key);
      if (there !== undefined) return there.cell;
      const cell = { count: 0 };
      cellByKey.set(key, { labels, cell });
      return cell;
    },
    counts: () => Array.from(cellByKey.values(), ({ labels, cell: { count } }) => ({ labels, count })),
  };
}

/** A histogram without labels. */
export interface TalliedHistogram {
  /** The upper ends of its buckets, rising, in seconds; what is above the last falls into one more. */
  readonly bounds: readonly number[];
  observe(seconds: number): void;
  /** How many fell into each bucket so far, the one above all bounds last. */
  counts(): readonly number[];
}

/** Makes a histogram; `bounds` are the upper ends of its buckets, rising. */
export function openTalliedHistogram(
  registry: Registry,
  {
    name,
    help,
    bounds,
  }: { readonly name: string; readonly help: string; readonly bounds: readonly number[] },
): TalliedHistogram {
  const buckets = new Buckets(bounds);
  registerRead(registry, { name, help, labelNames: [], type: "histogram" }, () => buckets.samples(name, {}));
  return buckets;
}

/** Counts of one kind for each service, by one more label; the label's values are a closed set. */
export interface ServiceCounter<L extends string> {
  inc(labels: { readonly service: string } & Readonly<Record<L, string>>, by?: number): void;
  /**
   * The cell of these labels, for who counts often; not to be kept for longer than the service is known to `keepOnly`.
   */
  cell(labels: { readonly service: string } & Readonly<Record<L, string>>): Cell;
  /** What was counted of each service so far, by the further label's value; an empty one where there is none. */
  readonly byService: ReadonlyMap<string, ReadonlyMap<string, Readonly<Cell>>>;
}

/** A histogram for each service. */
export interface ServiceHistogram {
  /** As TalliedHistogram's. */
  readonly bounds: readonly number[];
  observe(labels: { readonly service: string }, seconds: number): void;
  /** As TalliedHistogram's; null for a service of which nothing was observed. */
  counts(service: string): readonly number[] | null;
}

/** What a metric of services is called, and what it says. */
interface About {
  readonly name: string;
  readonly help: string;
}

/** How long the numbers of a service that has left are still told: whoever scrapes gets the last of them. */
const FORGET_MS = 10 * 60_000;

/**
 * All metrics that have a series for each service. Services come and go for as long as a daemon runs, and so must their
 * series: those of a service that has left are told for a while, and then forgotten.
 */
export class ServiceTallies {
  readonly #registry: Registry;
  readonly #families: Map<string, unknown>[] = [];
  readonly #leftAtMsByService = new Map<string, number>();

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** Makes a counter; `name` with its prefix. */
  counter<L extends string>(about: About, label: L): ServiceCounter<L>;
  counter(about: About): ServiceCounter<never>;
  counter(about: About, label: string | null = null): ServiceCounter<string> {
    const cellsByService = this.#family<Map<string, Cell>>();
    const labelNames = label === null ? ["service"] : ["service", label];
    registerRead(this.#registry, { ...about, labelNames, type: "counter" }, function* () {
      for (const [service, cells] of cellsByService) {
        for (const [value, { count }] of cells)
          yield { labels: label === null ? { service } : { service, [label]: value }, value: count };
      }
    });
    const cellOf = (labels: { readonly service: string } & Readonly<Record<string, string>>): Cell => {
      let cells = cellsByService.get(labels.service);
      if (cells === undefined) cellsByService.set(labels.service, (cells = new Map<string, Cell>()));
      const value = label === null ? "" : (labels[label] ?? "");
      let cell = cells.get(value);
      if (cell === undefined) cells.set(value, (cell = { count: 0 }));
      return cell;
    };
    return {
      inc(labels, by = 1) {
        cellOf(labels).count += by;
      },
      cell: cellOf,
      byService: cellsByService,
    };
  }

  /** Makes a histogram; `bounds` are the upper ends of its buckets, rising. */
  histogram(about: About, bounds: readonly number[]): ServiceHistogram {
    const bucketsByService = this.#family<Buckets>();
    registerRead(this.#registry, { ...about, labelNames: ["service"], type: "histogram" }, function* () {
      for (const [service, buckets] of bucketsByService) yield* buckets.samples(about.name, { service });
    });
    return {
      bounds,
      observe({ service }, seconds) {
        let buckets = bucketsByService.get(service);
        if (buckets === undefined) bucketsByService.set(service, (buckets = new Buckets(bounds)));
        buckets.observe(seconds);
      },
      counts: (service) => bucketsByService.get(service)?.counts() ?? null,
    };
  }

  /** Told of the services that there are, from time to time; forgets those that left a while ago. */
  keepOnly(services: ReadonlySet<string>, nowMs: number): void {
    for (const family of this.#families) {
      for (const service of family.keys()) {
        if (!services.has(service) && !this.#leftAtMsByService.has(service))
          this.#leftAtMsByService.set(service, nowMs);
      }
    }
    for (const [service, leftAtMs] of this.#leftAtMsByService) {
      const isOver = nowMs - leftAtMs >= FORGET_MS;
      if (isOver) for (const family of this.#families) family.delete(service);
      if (isOver || services.has(service)) this.#leftAtMsByService.delete(service);
    }
  }

  #family<T>(): Map<string, T> {
    const family = new Map<string, T>();
    this.#families.push(family);
    return family;
  }
}

/** The buckets of one histogram. */
class Buckets {
  readonly bounds: readonly number[];
  readonly #counts: Float64Array;
  #sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  observe(seconds: number): void {
    let at = 0;
    while (at < this.bounds.length && seconds > (this.bounds[at] ?? 0)) at += 1;
    this.#counts[at] = (this.#counts[at] ?? 0) + 1;
    this.#sum += seconds;
  }

  counts(): readonly number[] {
    return Array.from(this.#counts);
  }

  samples(name: string, labels: Sample["labels"]): readonly Sample[] {
    let below = 0;
    const buckets = [...this.bounds, "+Inf"].map((le, at) => {
      below += this.#counts[at] ?? 0;
      return { metricName: `${name}_bucket`, labels: { le, ...labels }, value: below };
    });
    const totals = { [`${name}_sum`]: this.#sum, [`${name}_count`]: below };
    return [
      ...buckets,
      ...Object.entries(totals).map(([metricName, value]) => ({ metricName, labels, value })),
    ];
  }
}

/**
 * Registers a metric of which nothing is kept but what `samples` tells when it is asked for: all that is told at once,
 * such as the buckets of one histogram, belongs together.
 */
export function registerRead(
  registry: Registry,
  about: {
    readonly name: string;
    readonly help: string;
    readonly labelNames: readonly string[];
    readonly type: "counter" | "gauge" | "histogram";
  },
  samples: () => Iterable<Sample>,
): void {
  const metric = {
    ...about,
    aggregator: "sum",
    samples,
    get: () => Promise.resolve({ ...about, aggregator: "sum", values: [...samples()] }),
    reset: () => {},
  };
  // Its types know only its own classes, but the registry only ever asks for the name and calls get().
  registry.registerMetric(metric as unknown as Counter | Histogram);
}
