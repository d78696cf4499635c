/**
 * Options: what a daemon is made from.
 *
 * Touches: nothing; types only.
 */

import type { Config } from "../config/schema.ts";
import type { Log } from "../runtime/log.ts";

/** What the process hands to its daemon. */
export interface DaemonOptions {
  readonly config: Config;
  /** When the configuration was last changed, Unix milliseconds: since when its services are as they are. */
  readonly configChangedAtMs: number;
  readonly env: NodeJS.ProcessEnv;
  readonly version: string;
  /** Path of the admin socket; null for none. */
  readonly socket: string | null;
  readonly log: Log;
  /** Told when somebody asked that this daemon leave for good: it is to be closed so, by whoever opened it. */
  readonly onLeave: () => void;
}
