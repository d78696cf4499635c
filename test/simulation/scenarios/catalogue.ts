/**
 * Catalogue: each scenario by its name.
 */

import type { ScenarioName } from "../options.ts";
import type { Scenario } from "../run.ts";
import { chaos } from "./chaos.ts";
import { crash, flap, halves, lossy, oneWay, pauses, rolling, silent } from "./outages.ts";
import {
  churn,
  create,
  join,
  joinPopulated,
  leaving,
  remove,
  update,
  writeAfterJoin,
} from "./perturbations.ts";
import { change, idle, joiner } from "./steady.ts";

/** Every scenario that `npm run simulate` knows. */
export const SCENARIO_BY_NAME: Readonly<Record<ScenarioName, Scenario>> = {
  create,
  update,
  delete: remove,
  join,
  leave: leaving,
  "write-after-join": writeAfterJoin,
  "join-populated": joinPopulated,
  churn,
  idle,
  change,
  joiner,
  crash,
  silent,
  partition: halves,
  flap,
  pause: pauses,
  lossy,
  oneway: oneWay,
  rolling,
  chaos,
};
