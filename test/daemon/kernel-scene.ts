// A data plane over parts of the test's own: what it is told, and what it tells.

import { Journal } from "../../src/admin/journal.ts";
import { seededRandom } from "../../src/base/random.ts";
import type { Base } from "../../src/daemon/base.ts";
import type { KernelSources } from "../../src/daemon/kernel-ground.ts";
import { Report } from "../../src/daemon/report.ts";
import type { Served } from "../../src/daemon/served.ts";
import type { KernelGiven } from "../../src/kernel/given.ts";
import type { Applied } from "../../src/kernel/part.ts";
import type { PartName, PlannedPart } from "../../src/kernel/planned.ts";
import type { Bridge } from "../../src/model/network.ts";
import type { View } from "../../src/model/view.ts";
import { openMetrics } from "../../src/runtime/metrics.ts";
import type { NetworkWishes } from "../../src/source/docker/network-plan.ts";
import type { Input } from "../../src/step.ts";
import { openSilentLog } from "../support/silence.ts";

/** A part that keeps what it was given. */
export class Kept implements PlannedPart {
  readonly broken: ReadonlySet<string> = new Set();
  readonly given: KernelGiven[] = [];
  readonly mayRemove: boolean[] = [];
  repairs = 0;
  removals = 0;
  failure: Error | null = null;
  left: readonly string[] = [];
  /** True where it can be taken away though it cannot be made. */
  canGo = false;
  readonly name: PartName;

  constructor(name: PartName) {
    this.name = name;
  }

  async apply(given: KernelGiven, { mayRemove }: { readonly mayRemove: boolean }): Promise<Applied> {
    if (this.failure !== null) throw this.failure;
    this.given.push(given);
    this.mayRemove.push(mayRemove);
    return { changes: 0, problems: [] };
  }

  async repair(): Promise<Applied> {
    this.repairs += 1;
    return { changes: 0, problems: [] };
  }

  async remove(): Promise<Applied> {
    this.removals += 1;
    if (this.failure !== null && !this.canGo) throw this.failure;
    return { changes: 0, problems: this.left };
  }
}

/** What surrounds a data plane; what it is to see is set by the test. */
export interface Surround {
  readonly base: Base;
  readonly report: Report;
  readonly sources: KernelSources;
  readonly log: ReturnType<typeof openSilentLog>;
  /** What the node was told. */
  readonly fed: Input[];
  readonly wishes: NetworkWishes[];
  view: View;
  bridges: readonly Bridge[] | null;
  heardAll: boolean;
  isAwaiting: boolean;
  stale: string | null;
  carriedTold: number;
  networksRemoved: number;
}

export function surround(view: View): Surround {
  const log = openSilentLog();
  const config = { ingress: { address: "0.0.0.0" } };
  const options = { log, config } as unknown as Base["options"];
  const report = new Report(options, 0);
  const parts = { metrics: openMetrics(), random: seededRandom(1), journal: new Journal(), report };
  const base = { options, ...parts } as unknown as Base;
  const fed: Input[] = [];
  const wishes: NetworkWishes[] = [];
  const networks = {
    problems: [],
    set: (wish: NetworkWishes) => wishes.push(wish),
    async remove() {
      around.networksRemoved += 1;
      return [];
    },
  };
  const sources = {
    served: () => ({ view: around.view, table: { frontends: [] } }) as unknown as Served,
    proxy: { stats: () => ({ ejected: [], listeners: [] }) },
    sources: {
      kernelGiven: () => ({ bridges: around.bridges, guests: [], askers: [] }),
      networks,
    },
    found: {
      get isAwaiting() {
        return around.isAwaiting;
      },
      get heardAll() {
        return around.heardAll;
      },
      get all() {
        return [{ stale: around.stale }];
      },
    },
    feed: (input: Input) => fed.push(input),
    onCarried: () => (around.carriedTold += 1),
  } as unknown as KernelSources;
  const seen = { bridges: [], heardAll: true, isAwaiting: false, stale: null };
  const told = { carriedTold: 0, networksRemoved: 0 };
  const around: Surround = { base, report, sources, log, fed, wishes, view, ...seen, ...told };
  return around;
}
