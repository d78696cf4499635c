/**
 * Schemas: all of them, by the name of the type that each is of.
 *
 * Pure.
 */

import type { GenericSchema } from "valibot";

import * as core from "./core.ts";
import * as doctor from "./doctor.ts";
import * as live from "./live.ts";
import * as network from "./network.ts";
import * as trust from "./trust.ts";

const EXPORTED = { ...core, ...trust, ...network, ...live, ...doctor };

/** By name; what begins in capitals throughout is a part of others and has no name of its own. */
export const SCHEMAS: Readonly<Record<string, GenericSchema>> = Object.fromEntries(
  Object.entries(EXPORTED).filter(([name]) => /[a-z]/.test(name)),
);
