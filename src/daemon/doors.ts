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
import type { Happening } from "../model/event.ts";
import type { Replica } from "../model/view.ts";
import type { Node } from "../node.ts";
import { nowMs } from "../runtime/clock.ts";

import type { Base } from "./base.ts";
import type { Consumers } from "./consumers.ts";
import { drain, undrain } from "./departure.ts";
import { doctorFacts } from "./doctor-facts.ts";
import type { Driver } from "./driver.ts";
import { networkCommands } from "./network-commands.ts";
import { expectManager, expectSuccessor, trustCommands, type TrustParts } from "./trust-commands.ts";

/** What the doors lead to. */
export interface DoorsParts {
  readonly node: Node;
  readonly driver: Driver;
  readonly consumers: Consumers;
  readonly desk: TrustParts;
  /** What VIPs are taken from. */
  readonly pool: Prefix;
  readonly onHappenings: (happenings: readonly Happening[]) => void;
  /** Settles when farewell is said. */
  readonly departed: Promise<LeaveResult>;
}

/** Opens both. @throws Failure as openAdmin, or when the admin token cannot be used */
export async function openDoors(base: Base, parts: DoorsParts): Promise<void> {
  const { options, lifecycle, metrics, journal, report } = base;
  const { node, driver, consumers, desk, departed } = parts;
  const { credentials } = desk;
  const { listen } = options.config.admin;
  const { proxy, dns, served } = consumers;
  const expectRight = ({ local, nodeName }: Replica): void => {
    if (!local) expectManager(desk, `draining a replica of another host (${nodeName})`);
  };
  const draining = { node, driver, view: desk.view, expectRight };
  const admin = await openAdmin({
    tcp: listen === "off" ? null : listen,
    adminToken: await adminTokenOf(options.config),
    socket: options.socket,
    snapshot: () =>
      report.snapshot({ served: served(), node, credentials, proxy, dns, events: journal.events }),
    doctorFacts: () => doctorFacts(report, dns, served().view),
    resolve: (name, type, as) => report.resolve(served(), node, { name, type, as }),
    drain: (replica, waits) => drain(draining, replica, waits),
    undrain: (replica) => undrain(draining, replica),
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
    metricsText: () => metrics.registry.metrics(),
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
