/**
 * Settings: what a simulation, a host and a daemon are made with.
 */

import type { HostPort } from "../../src/base/ip.ts";
import type { NodeId } from "../../src/model/ids.ts";

import type { Weather } from "./weather.ts";

/** What a simulation is made with. */
export interface SimulationOptions {
  readonly seed: number;
  readonly pool?: string;
  readonly weather?: Partial<Weather>;
  /** True when hosts' clocks are off, by up to an hour and a ten-thousandth. */
  readonly drift?: boolean;
}

/** What a host is added with. */
export interface AddOptions {
  readonly id?: NodeId;
  readonly seeds?: readonly HostPort[];
  readonly address?: HostPort;
}

/** What a daemon is started with. */
export interface StartOptions {
  /** Sources it waits for; `static` unless told. */
  readonly sources?: readonly string[];
  /** How long after its start the sources tell; null for never. A random moment within 50 ms unless told. */
  readonly toldAfterMs?: number | null;
}

/** A good network. */
export const CALM: Weather = { latencyMs: { low: 1, high: 5 }, loss: 0, raw: null };
