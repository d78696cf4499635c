/**
 * Base: what every part of a daemon may need while it is put together.
 *
 * Not a bag to pass around: the parts themselves get the few values they use; only the wiring in this folder sees it.
 *
 * Touches: nothing; types only.
 */

import type { Journal } from "../admin/journal.ts";
import type { Random } from "../base/random.ts";
import type { Lifecycle } from "../runtime/lifecycle.ts";
import type { Metrics } from "../runtime/metrics.ts";

import type { DaemonOptions } from "./options.ts";
import type { Report } from "./report.ts";

/** What the parts are opened with. */
export interface Base {
  readonly options: DaemonOptions;
  readonly lifecycle: Lifecycle;
  readonly metrics: Metrics;
  readonly random: Random;
  readonly journal: Journal;
  readonly report: Report;
}
