/**
 * Sources: what runs on this host, told to the node whole each time it changes.
 *
 * Static services come from the configuration and again with each reload; containers from Docker, where there is one.
 * A host without Docker runs on its static services alone, and says so.
 *
 * Touches: Docker, through its watch; DNS listeners on the gateways of its networks.
 */

import { isDeepStrictEqual } from "node:util";

import type { ProblemLine } from "../admin/contract.ts";
import { textOf } from "../base/failure.ts";
import { renderHostPort } from "../base/ip.ts";
import { latest, type Latest } from "../base/latest.ts";
import { DNS_PORT } from "../base/nameservers.ts";
import type { Config } from "../config/schema.ts";
import { probeTimesOf, staticServicesOf } from "../config/services.ts";
import type { DnsServer } from "../dns/server.ts";
import type { Discovery } from "../model/endpoint.ts";
import type { NodeId } from "../model/ids.ts";
import type { Input } from "../step.ts";
import { nowMs } from "../runtime/clock.ts";
import { locateDocker, renderTarget } from "../source/docker/client.ts";
import { watchDocker, type DockerWatch, type DockerWatchOptions } from "../source/docker/watch.ts";
import { discoverStatic } from "../source/static.ts";

import type { Askers } from "./askers.ts";
import type { Base } from "./base.ts";
import type { DaemonOptions } from "./options.ts";

const GATEWAYS_AGAIN_MS = 10_000;

/** The running sources. */
export interface Sources {
  /** Takes the services of a new configuration. */
  reload(config: Config): void;
  /** Settles when DNS answers on the gateways of all networks that are known, as far as it may. Never rejects. */
  answering(): Promise<void>;
}

/** The names of the sources that openSources opens: each of them tells its set soon. */
export function sourceNames({ config, env }: DaemonOptions): readonly string[] {
  return locateDocker(config.docker.socket, env) === null ? ["static"] : ["static", "docker"];
}

/** Opens every source that this host has. */
export function openSources(
  base: Base,
  parts: {
    readonly nodeId: NodeId;
    readonly feed: (input: Input) => void;
    readonly dns: DnsServer;
    readonly askers: Askers;
    readonly sourcesTold: () => void;
    readonly serving: Promise<void>;
  },
): Sources {
  const { options, lifecycle, metrics, report, random } = base;
  const tell = (discovery: Discovery): void => {
    const { source } = discovery;
    metrics.sourceProblems.set({ source }, discovery.problems.length);
    metrics.sourceStale.set({ source }, discovery.stale === null ? 0 : 1);
    parts.feed({ kind: "discovered", discovery });
    parts.sourcesTold();
  };
  let previous: Discovery | null = null;
  const load = (config: Config, loadedAtMs: number): void => {
    const services = staticServicesOf(config);
    previous = discoverStatic(services, { nodeId: parts.nodeId, loadedAtMs, previous });
    tell(previous);
    watch?.replan(planOf(config));
  };
  let watch: DockerWatch | null = null;
  const gateways = openGateways(base, parts);
  // The file's own time, not this start's: what it declares is no newer for a restart of the daemon.
  load(options.config, options.configChangedAtMs);

  const { socket } = options.config.docker;
  const target = locateDocker(socket, options.env);
  if (socket === "auto") {
    report.choose(
      "docker.socket",
      target === null ? "off" : renderTarget(target),
      target === null ? "no Docker socket" : "found",
    );
  }
  if (target !== null) {
    let wanted: readonly string[] = [];
    watch = watchDocker({
      target,
      plan: planOf(options.config),
      random,
      onDiscovery: tell,
      onNetworks(networks) {
        parts.askers.networksAre(networks);
        parts.dns.askersTold();
        if (isDeepStrictEqual(wanted, networks.gateways)) return;
        wanted = networks.gateways;
        report.gateways = wanted;
        gateways.set(wanted);
      },
    });
    const opened = watch;
    report.namePaths = () => opened.namePaths();
    report.onStranger = () => opened.lookAgain();
    // A port that was held for a moment must not leave a bridge's containers without names for good.
    const again = setInterval(() => gateways.set(wanted), GATEWAYS_AGAIN_MS);
    lifecycle.opened({ name: "gateway dns", close: () => clearInterval(again) });
    lifecycle.opened({ name: "docker watch", close: () => opened.close() });
  }
  return { reload: (config) => load(config, nowMs()), answering: () => gateways.idle() };
}

function planOf(config: Config): DockerWatchOptions["plan"] {
  return { exposeByDefault: config.docker.exposeByDefault, health: probeTimesOf(config) };
}

/** Takes the gateways to answer DNS on, from when all is served; always the newest. */
function openGateways(
  base: Base,
  { dns, serving }: { readonly dns: DnsServer; readonly serving: Promise<void> },
): Latest<readonly string[]> {
  return latest(
    async (addresses) => {
      await serving;
      await serveGateways(base, dns, addresses);
    },
    (thrown) => base.options.log.warn(`dns on bridge gateways: ${textOf(thrown)}`),
  );
}

/** Answers DNS on the host's own addresses on bridge networks, as far as this process may. */
async function serveGateways(
  { options, report }: Base,
  dns: DnsServer,
  gateways: readonly string[],
): Promise<void> {
  const configured = new Set(options.config.dns.listen.map(({ host, port }) => `${host}:${port}`));
  for (const { host, port } of dns.addresses) {
    if (port !== DNS_PORT || configured.has(`${host}:${port}`) || gateways.includes(host)) continue;
    await dns.stopListening({ host, port });
  }
  const unserved: ProblemLine[] = [];
  for (const host of gateways) {
    try {
      await dns.listenOn({ host, port: DNS_PORT });
    } catch (thrown) {
      // Not a failure of the daemon: another resolver may hold the port, and containers can be given another address.
      unserved.push({
        area: "bind",
        subject: renderHostPort({ host, port: DNS_PORT }),
        text: textOf(thrown),
      });
    }
  }
  const known = new Set(report.unservedGateways.map(({ subject, text }) => `${subject} ${text}`));
  for (const { subject, text } of unserved) {
    if (!known.has(`${subject} ${text}`))
      options.log.info(`no DNS on the bridge gateway ${subject}: ${text}`);
  }
  report.unservedGateways = unserved;
}
