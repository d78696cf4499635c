/**
 * Options: what a daemon is made from.
 *
 * Touches: nothing.
 */

import type { Duplex } from "node:stream";

import type { Config } from "../config/schema.ts";
import type { Log } from "../runtime/log.ts";
import type { Backup } from "../trust/backup.ts";
import type { SharedSockets } from "../runtime/sharing.ts";
import type { Joined } from "../trust/joining.ts";

import type { Predecessor } from "./handover.ts";

/** How a daemon comes to be a member of a cluster when it opens. */
export type Opening =
  /** As its data dir says; else it joins as it is configured to; else it makes a cluster of its own. */
  | { readonly kind: "usual" }
  /** By what a manager gave, in place of a cluster of its own. */
  | { readonly kind: "adopt"; readonly joined: Joined }
  /** As a new node by a backup, in place of a cluster of its own. */
  | { readonly kind: "restore"; readonly backup: Backup };

/** How fast certificates come and go; the values of trust/ unless told. For tests: no configuration sets it. */
export interface TrustPace {
  /** How long certificates are good that this daemon issues. */
  readonly lifeMs?: number;
  /** When members renew after a rotation of the authority: the grace, and the time over which they spread. */
  readonly graceMs?: number;
  readonly spreadMs?: number;
  /** How old the newest authority has to be before older ones are retired. */
  readonly retireMs?: number;
}

/** What the process hands to its daemon. */
export interface DaemonOptions {
  readonly config: Config;
  /** When the configuration was last changed, Unix milliseconds: since when its services are as they are. */
  readonly configChangedAtMs: number;
  readonly env: NodeJS.ProcessEnv;
  readonly version: string;
  /** Path of the admin socket; null for none. */
  readonly socket: string | null;
  /** Folder of the built dashboard; null where there is none. */
  readonly dashboardDir: string | null;
  readonly log: Log;
  readonly opening: Opening;
  readonly pace: TrustPace;
  /** Aborted when the process is to stop: who still waits to join gives up. */
  readonly stopping: AbortSignal;
  /** Told when somebody asked that this daemon leave for good: it is to be closed so, by whoever opened it. */
  readonly onLeave: () => void;
  /** Told when this daemon is to be closed and opened anew, in this way. */
  readonly onAnew: (opening: Opening) => void;
  /** The daemon that this one takes over from; null when it starts by itself. */
  readonly predecessor: Predecessor | null;
  /** Given each connection on which another daemon asks to take over from this one. */
  readonly onHandover: (connection: Duplex) => void;
}

/** Sockets of the daemon that is taken over from: where they listen, this one may listen as well. */
export function sharedWith({ predecessor }: Pick<DaemonOptions, "predecessor">): SharedSockets {
  return new Set(predecessor?.legacy.sockets);
}
