/**
 * Doors: the admin API of one daemon, over its unix socket and its loopback port.
 *
 * What it tells comes from the report, what it does from the parts that can do it; here is who may drain what, and who
 * may leave.
 *
 * Touches: the admin socket and port, through their shells; the file of the admin token.
 */

import type { LeaveResult } from "../admin/contract.ts";
import { openAdmin } from "../admin/server.ts";
import { Failure } from "../base/failure.ts";
import { renderHostPort, type Prefix } from "../base/ip.ts";
import { BEARER_TOKEN_FORM, isBearerToken, type Config } from "../config/schema.ts";
import { secretOf } from "../config/secret-file.ts";
import { readCounters } from "../kernel/rules/nft.ts";
import type { Happening } from "../model/event.ts";
import type { Node } from "../node.ts";
import { nowMs } from "../runtime/clock.ts";

import type { Base } from "./base.ts";
import type { Consumers } from "./consumers.ts";
import { drain, drainMember, undrain, type DrainParts } from "./departure.ts";
import { doctorFacts } from "./doctor-facts.ts";
import type { Driver } from "./driver.ts";
import type { Kernel } from "./kernel-ground.ts";
import type { Mesh } from "./mesh.ts";
import { networkCommands } from "./network-commands.ts";
import { openTrafficWatch } from "./traffic.ts";
import { expectManager, expectSuccessor, trustCommands, type TrustParts } from "./trust-commands.ts";

/** What the doors lead to. */
export interface DoorsParts {
  readonly node: Node;
  readonly driver: Driver;
  readonly consumers: Consumers;
  readonly mesh: Pick<Mesh, "ask" | "trafficIs">;
  readonly kernel: Pick<Kernel, "isChosen">;
  readonly desk: TrustParts;
  /** What VIPs are taken from. */
  readonly pool: Prefix;
  /** By how much timers are late. */
  readonly loopDelayMs: () => number;
  readonly onHappenings: (happenings: readonly Happening[]) => void;
  /** Settles when farewell is said. */
  readonly departed: Promise<LeaveResult>;
}

/** Opens both. @throws Failure as openAdmin, or when the admin token cannot be used */
export async function openDoors(base: Base, parts: DoorsParts): Promise<void> {
  const { options, lifecycle, metrics, journal, report } = base;
  const { node, driver, consumers, desk, departed, mesh } = parts;
  const { credentials } = desk;
  const { listen } = options.config.admin;
  const { proxy, dns, served } = consumers;
  const expectRight: DrainParts["expectRight"] = ({ local, nodeName }, what) => {
    if (!local) expectManager(desk, `${what} (${nodeName})`);
  };
  const readKernel = parts.kernel.isChosen ? readCounters : null;
  const traffic = openTrafficWatch(base, { node, proxy, view: desk.view, ask: mesh.ask, readKernel });
  mesh.trafficIs(traffic.answer);
  const draining = { node, driver, view: desk.view, expectRight };
  const admin = await openAdmin({
    tcp: listen === "off" ? null : listen,
    adminToken: await adminTokenOf(options.config),
    socket: options.socket,
    snapshot: () =>
      report.snapshot({ served: served(), node, credentials, proxy, dns, events: journal.events }),
    listening: (addresses) => proxy.listening(addresses),
    doctorFacts() {
      const { pool, loopDelayMs } = parts;
      return doctorFacts({ options, report, dns, view: served().view, pool, ask: mesh.ask, loopDelayMs });
    },
    resolve: (name, type, as) => report.resolve(served(), node, { name, type, as }),
    drain: (replica, waits) => drain(draining, replica, waits),
    undrain: (replica) => undrain(draining, replica),
    drainMember: (member, how) => drainMember(draining, member, how),
    async leave(force) {
      if (!force) expectSuccessor(desk);
      options.onLeave();
      return await departed;
    },
    ...trustCommands(base, desk),
    ...networkCommands({
      desk,
      overlayPool: options.config.overlay.pool,
      pool: parts.pool,
      clients: () => node.found.clients,
      bridged() {
        const bridges = report.kernelFacts()?.bridges;
        return bridges === undefined ? null : new Set(bridges.map(({ network }) => network));
      },
    }),
    traffic: traffic.report,
    dashboardDir: options.dashboardDir,
    // Loaded when it is asked for: large, and hardly ever wanted.
    async openapi() {
      const { default: document } = await import("../../config/openapi.json", { with: { type: "json" } });
      return document;
    },
    async metricsText() {
      await traffic.settle();
      return await metrics.text();
    },
    subscribe: (onEvent) => journal.subscribe(onEvent),
    onRefused({ reason, detail }) {
      metrics.adminRefused.inc({ reason });
      const happening = { level: "warn", subject: "admin listener", text: detail, atMs: nowMs() } as const;
      parts.onHappenings([{ kind: "admin.refused", ...happening }]);
    },
    onHandover: options.onHandover,
    log: options.log,
  });
  lifecycle.opened({ name: "admin", close: () => admin.close(), deadlineMs: 2500 });
  const { tcp, socket } = admin.addresses;
  report.listen("admin", () =>
    [socket, tcp === null ? null : renderHostPort(tcp)].filter((at) => at !== null),
  );
}

/** The token of the TCP door; null for none. @throws Failure `invalid` for one that its file holds in another form */
async function adminTokenOf({ admin }: Config): Promise<string | null> {
  const token = await secretOf(admin, "admin token file (admin.tokenFile)");
  if (token === null || isBearerToken(token)) return token;
  throw new Failure(
    "invalid",
    `admin token in ${admin.tokenFile} is malformed; expected ${BEARER_TOKEN_FORM}`,
  );
}
