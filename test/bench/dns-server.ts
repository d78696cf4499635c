/**
 * Dns-server: the DNS server as a child process, for measuring what happens inside while it is asked from outside.
 *
 * It serves the bench's names and one service of many replicas. Told to, it takes a new zone many times a second; on
 * request it tells how long its event loop stood still.
 *
 * Touches: sockets, timers, the channel to its parent.
 */

import { monitorEventLoopDelay } from "node:perf_hooks";

import { seededRandom } from "../../src/base/random.ts";
import { openDnsServer } from "../../src/dns/server.ts";
import { planZone } from "../../src/dns/names/zone.ts";
import type { Log } from "../../src/runtime/log.ts";
import { openMetrics } from "../../src/runtime/metrics.ts";
import { OPTIONS, replicas, service, view } from "../dns/fixture.ts";

import { NAMES } from "./dns-load.ts";

/** What the parent says. */
export type Order =
  | { readonly kind: "change"; readonly perSecond: number }
  | { readonly kind: "block" }
  | { readonly kind: "forget" };

/** What it is told: where it listens; how long the loop stood still at most since it was asked before. */
export type Told = { readonly port: number } | { readonly blockMs: number };

const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {}, setLevel() {} };
const MANY = 5000;
const RESOLUTION_MS = 1;

const named = NAMES.map((name, at) => {
  return service("default", name, { vip: `10.96.0.${at + 1}`, replicas: replicas(name, 3, 1) });
});
const many = service("default", "many", { replicas: replicas("many", MANY, 2) });

let version = 1;
let zone = planZone(view([...named, many]), OPTIONS);

const server = await openDnsServer({
  listen: [{ host: "127.0.0.1", port: 0 }],
  zone,
  askerOf: () => ({ kind: "host" }),
  isAllowed: () => true,
  upstreams: [],
  log: SILENT,
  metrics: openMetrics(),
  random: seededRandom(1),
});
const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
delay.enable();

/** Another VIP for one of the names, in turn. */
function change(): void {
  version += 1;
  const at = version % named.length;
  const vip = `10.96.1.${version % 200}`;
  named[at] = { ...(named[at] ?? service("default", "none")), vip };
  zone = planZone({ ...view([...named, many]), version }, OPTIONS, zone);
  server.setZone(zone);
}

process.on("message", (order: Order) => {
  if (order.kind === "change") setInterval(change, 1000 / order.perSecond);
  if (order.kind === "forget") server.setZone(planZone({ ...view([...named, many]), version }, OPTIONS));
  if (order.kind !== "block") return;
  tell({ blockMs: Math.max(0, delay.max / 1e6 - RESOLUTION_MS) });
  delay.reset();
});
process.on("disconnect", () => process.exit(0));

function tell(told: Told): void {
  process.send?.(told);
}

tell({ port: server.addresses[0]?.port ?? 0 });
