/**
 * Served: what the consumers of one daemon serve at a moment, all of it from one view.
 *
 * Touches: nothing; types only.
 */

import type { Zone } from "../dns/names/zone.ts";
import type { View } from "../model/view.ts";
import type { RouteTable } from "../proxy/routes.ts";

/** A view and its projections. */
export interface Served {
  readonly view: View;
  readonly zone: Zone;
  readonly table: RouteTable;
}
