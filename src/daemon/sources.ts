/**
 * Sources: what runs on this host, told to the node whole each time it changes.
 *
 * Static services come from the configuration and again with each reload; containers from Docker, where there is one.
 * A host without Docker runs on its static services alone, and says so.
 *
 * Docker is also told what overlay networks are to be there, and the kernel's rules what containers may do.
 *
 * Touches: Docker, through its watch and its networks.
 */

import { isDeepStrictEqual } from "node:util";

import { DNS_PORT } from "../base/nameservers.ts";
import type { Config } from "../config/schema.ts";
import { probeTimesOf, staticServicesOf } from "../config/services.ts";
import type { DnsServer } from "../dns/server.ts";
import type { KernelGiven } from "../kernel/given.ts";
import type { Discovery, LocalClient } from "../model/endpoint.ts";
import type { NodeId } from "../model/ids.ts";
import type { Bridge } from "../model/network.ts";
import type { Input } from "../step.ts";
import { nowMs } from "../runtime/clock.ts";
import { locateDocker, renderTarget, type DockerTarget } from "../source/docker/client.ts";
import { isOurs, type EngineNetworks } from "../source/docker/engine-networks.ts";
import { openDockerNetworks, type DockerNetworks } from "../source/docker/networks.ts";
import { watchDocker, type DockerWatch, type DockerWatchOptions } from "../source/docker/watch.ts";
import { discoverStatic } from "../source/static.ts";

import type { Askers } from "./askers.ts";
import type { Base } from "./base.ts";
import { Gateways } from "./gateways.ts";
import { askersOf, guestsOf, markLed } from "./kernel-clients.ts";
import type { DaemonOptions } from "./options.ts";

/** The running sources. */
export interface Sources {
  /** Takes the services of a new configuration. */
  reload(config: Config): void;
  /** Settles when DNS answers on the gateways of all networks that are known, as far as it may. Never rejects. */
  answering(): Promise<void>;
  /** Docker's networks, to be told which are wanted; null where there is no Docker. */
  readonly networks: DockerNetworks | null;
  /** What the kernel's rules are told of containers, as of now. */
  kernelGiven(): ContainersForKernel;
}

/** This host's side of the kernel's plan, as far as containers go; `bridges` is null until Docker has told. */
export interface ContainersForKernel extends Pick<KernelGiven, "guests" | "askers"> {
  readonly bridges: readonly Bridge[] | null;
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
    /** Called when `kernelGiven` tells another thing than before. */
    readonly onKernelGiven?: () => void;
  },
): Sources {
  const { options, metrics } = base;
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
  // The file's own time, not this start's: what it declares is no newer for a restart of the daemon.
  load(options.config, options.configChangedAtMs);

  const target = dockerOf(base);
  const docker = target === null ? null : openDocker(base, { ...parts, target, tell });
  watch = docker?.watch ?? null;
  return {
    reload: (config) => load(config, nowMs()),
    answering: async () => docker?.gateways.idle(),
    networks: docker?.networks ?? null,
    kernelGiven: () => docker?.kernelGiven() ?? { bridges: [], guests: [], askers: [] },
  };
}

/** Where Docker is, if anywhere; what `auto` became is noted. */
function dockerOf({ options, report }: Base): DockerTarget | null {
  const { socket } = options.config.docker;
  const target = locateDocker(socket, options.env);
  if (socket === "auto") {
    const chosen = target === null ? "off" : renderTarget(target);
    report.choose("docker.socket", chosen, target === null ? "no Docker socket" : "found");
  }
  return target;
}

/** All that is opened where there is Docker. */
interface OpenedDocker {
  readonly watch: DockerWatch;
  readonly networks: DockerNetworks;
  readonly gateways: Gateways;
  readonly kernelGiven: () => ContainersForKernel;
}

function openDocker(
  base: Base,
  parts: Pick<Parameters<typeof openSources>[1], "dns" | "askers" | "serving" | "onKernelGiven"> & {
    readonly target: DockerTarget;
    readonly tell: (discovery: Discovery) => void;
  },
): OpenedDocker {
  const { options, lifecycle, report, random } = base;
  const { target, dns, serving } = parts;
  let clients: readonly LocalClient[] = [];
  let engine: EngineNetworks | null = null;
  let known: ContainersForKernel = { bridges: null, guests: [], askers: [] };
  let led: ReadonlySet<string> = new Set();
  // One at which DNS is answered at another port, to which everybody is led, is as good as served.
  const isAnswered = (gateway: string): boolean =>
    led.has(gateway) && (gateways.placeOf(gateway)?.port ?? DNS_PORT) !== DNS_PORT;
  const onChanged = (): void => {
    report.gateways = (engine?.gateways ?? []).filter((gateway) => !isAnswered(gateway));
    const { bridges } = networks;
    const of = { networks: engine?.networks ?? [], placeOf: (gateway: string) => gateways.placeOf(gateway) };
    const there = bridges ?? [];
    const now = { bridges, guests: guestsOf(clients, there), askers: askersOf(clients, there, of) };
    if (isDeepStrictEqual(now, known)) return;
    known = now;
    parts.onKernelGiven?.();
  };
  const { log, config } = options;
  const gateways = new Gateways({ dns, configured: config.dns.listen, report, log, serving, onChanged });
  const networks = openDockerNetworks({ target, random, onChanged });
  const watch = watchDocker({
    target,
    plan: planOf(config),
    random,
    onDiscovery(discovery) {
      parts.tell(discovery);
      ({ clients } = discovery);
      onChanged();
    },
    onNetworks(told) {
      engine = told;
      parts.askers.networksAre(told);
      dns.askersTold();
      networks.told(told.networks);
      led = ledOf(told);
      gateways.set({ all: told.gateways, led });
      onChanged();
    },
  });
  report.namePaths = async () => {
    const paths = await watch.namePaths();
    // In proxy mode there are no rules that would lead anybody.
    return report.kernelFacts() === null ? paths : markLed(paths, known.bridges ?? [], known.askers);
  };
  report.onStranger = () => watch.lookAgain();
  lifecycle.opened({ name: "gateway dns", close: () => gateways.close() });
  lifecycle.opened({ name: "docker networks", close: () => networks.close() });
  lifecycle.opened({ name: "docker watch", close: () => watch.close() });
  return { watch, networks, gateways, kernelGiven: () => known };
}

/** The host's addresses on the bridges of overlay networks. */
function ledOf({ networks }: EngineNetworks): ReadonlySet<string> {
  const ours = networks.filter(isOurs);
  return new Set(ours.flatMap(({ subnets }) => subnets.flatMap(({ gateway }) => gateway ?? [])));
}

function planOf(config: Config): DockerWatchOptions["plan"] {
  return { exposeByDefault: config.docker.exposeByDefault, health: probeTimesOf(config) };
}
