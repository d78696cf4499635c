/**
 * Lingering: a daemon that has handed over, for as long as it still carries something.
 *
 * What only one daemon of a host can have is given up first: sources, the node and its links, the doors, the data dir.
 * Peers hear no farewell: they see links end and come again, sooner than they would think ill of anybody, and so go on
 * using what runs here. DNS, the proxy and streams serve on with the last picture, until the successor says that it
 * serves; then they listen no more, and what is open is left to end by itself. Most of it ends within seconds; a
 * download or a database connection may take its time.
 *
 * Touches: timers, a setting of the kernel, through the parts it is handed.
 */

import { setTimeout as pause } from "node:timers/promises";

import { textOf } from "../base/failure.ts";
import type { DnsServer } from "../dns/server.ts";
import { openMigration } from "../kernel/migration.ts";
import type { View } from "../model/view.ts";
import type { Node } from "../node.ts";
import type { Proxy } from "../proxy/proxy.ts";
import type { Lifecycle } from "../runtime/lifecycle.ts";
import type { Log } from "../runtime/log.ts";
import { ownSockets } from "../runtime/sharing.ts";

import type { Legacy } from "./legacy.ts";
import type { Mesh } from "./mesh.ts";

/** A daemon that has handed over. */
export interface Lingering {
  readonly legacy: Legacy;
  /** Takes no streams any more from other hosts. To be called when the successor does. */
  stopRelaying(): void;
  /** Stops listening everywhere. To be called once, when the successor serves. */
  stopListening(): Promise<void>;
  /** Settles when everything is closed: once what is open has ended, at the latest ten minutes on or when hurried. */
  finish(hurried: AbortSignal): Promise<void>;
}

/** What goes on serving, and what it stands on. */
export interface LingeringParts {
  readonly lifecycle: Lifecycle;
  readonly node: Node;
  readonly view: () => View;
  readonly mesh: Mesh;
  readonly dns: Pick<DnsServer, "leave" | "close">;
  readonly proxy: Proxy;
  readonly log: Log;
}

/** For what is open to end by itself: longer than any request, shorter than anybody wants to see two daemons. */
const GRACE_MS = 600_000;
/** For handshakes that began with a listener that is closed by now. */
const HANDSHAKES_MS = 2000;
const POLL_MS = 50;

const UNSET = "net.ipv4.tcp_migrate_req is 0 and cannot be set from here";

/** Gives up what a successor needs. The daemon is to be given nothing any more. */
export async function handOver(parts: LingeringParts): Promise<Lingering> {
  const { lifecycle, node, mesh, dns, proxy, log } = parts;
  await lifecycle.yieldParts();
  mesh.retire();
  const legacy = { ...leftBy(node, parts.view()), sockets: await ownSockets() };
  // Before anything closes, and until nothing is under way any more.
  const migration = await openMigration();
  if (!migration.isOn) log.info(`connections under way will be lost: ${UNSET}`);
  const failed = (thrown: unknown): void => log.warn(`handing over: ${textOf(thrown)}`);
  let answered: Promise<void> = Promise.resolve();
  return {
    legacy,
    stopRelaying: () => mesh.stopListening(),
    async stopListening() {
      mesh.stopListening();
      await proxy.stopListening();
      answered = dns.leave().catch(failed);
    },
    async finish(hurried) {
      if (migration.isOn) await pause(HANDSHAKES_MS, null, { signal: hurried }).catch(() => null);
      const hurry = (): void => void Promise.all([proxy.close(0), dns.close()]).catch(failed);
      if (hurried.aborted) hurry();
      hurried.addEventListener("abort", hurry, { once: true });
      await Promise.all([proxy.close(GRACE_MS), answered, untilRelayed(mesh, hurried)]);
      hurried.removeEventListener("abort", hurry);
      await migration.restore();
      await lifecycle.close();
    },
  };
}

function leftBy(node: Node, view: View): Omit<Legacy, "sockets"> {
  const replicas = view.services.flatMap((service) => service.replicas);
  const ready = replicas.filter(({ local, state }) => local && state === "ready").map(({ id }) => id);
  const endpoints = node.found.endpoints.map(({ id, address, declaration: { ports } }) => {
    return { id, address, declaration: { ports } };
  });
  return { endpoints, ready };
}

/** Settles when no stream is relayed for other hosts any more, or at the end of the grace. */
async function untilRelayed(mesh: Mesh, hurried: AbortSignal): Promise<void> {
  const endMs = performance.now() + GRACE_MS;
  while (mesh.streamCount() > 0 && performance.now() < endMs && !hurried.aborted) await pause(POLL_MS);
}
