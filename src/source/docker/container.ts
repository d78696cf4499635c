/**
 * Container: what one container is to us: an endpoint of a service, a client that asks for names, or both.
 *
 * Whoever labels a container, or puts it on an overlay network, wants it discovered; `skein.enable=false` always wins
 * over that. A one-off container of `docker compose run` carries its service's labels without being a copy of it, so it
 * stays a client unless it says `skein.enable=true` itself. Every running container with an address of its own is a
 * client: it sees the Skein network of its label first, then the overlay networks it is on (without either, the default
 * one), then those called like a Docker network it is on. places.ts says where an endpoint is reached.
 *
 * One that is on internal networks only is isolated: nothing of it may leave the host, its questions for names neither
 * (so leaked CVE-2024-29018). A network that is not known yet counts as internal: watch.ts asks for it at once.
 *
 * Pure. facts.ts checked what Docker said; watch.ts keeps the set fresh.
 */

import type { Discovered, Discovery, LocalClient, Problem } from "../../model/endpoint.ts";
import { DEFAULT_NETWORK, isLabel, labelFrom, serviceKey, type ServiceKey } from "../../model/ids.ts";
import { LIMITS } from "../../model/limits.ts";
import type { ProbeTimes } from "../probe-plan.ts";
import { problem } from "../problem.ts";

import type { EngineNetworks } from "./engine-networks.ts";
import type { ContainerFacts } from "./facts.ts";
import { readEnablement, readLabels, readNetwork, type LabelledService } from "./labels.ts";
import { networkHostId, overlaysOf, placesOf } from "./places.ts";

/** What the operator decided for all containers. */
export interface DockerPlanOptions {
  /** Discover containers without any label of ours that EXPOSE a port. */
  readonly exposeByDefault: boolean;
  readonly health: ProbeTimes;
}

/** What surrounds one container. */
export interface Surroundings {
  /** It has been sent its stop signal. */
  readonly stopping: boolean;
  /** The container whose network stack it uses (`--network container:web`); null when it has its own. */
  readonly host: ContainerFacts | null;
  readonly engine: KnownNetworks;
}

/** What is known of the engine's networks. */
export type KnownNetworks = Pick<EngineNetworks, "internalByName" | "overlays">;

/** What one container came to. */
export interface ContainerPlan {
  /** One, but for a container on several overlay networks, which is a copy of a service in each. */
  readonly endpoints: readonly Discovered[];
  readonly clients: readonly LocalClient[];
  readonly problems: readonly Problem[];
}

/** True when its labels or networks may make the container an endpoint, so that it is worth an inspection. */
export function isCandidate(
  { labels, networks }: Pick<ContainerFacts, "labels" | "networks">,
  exposeByDefault: boolean,
  overlays: KnownNetworks["overlays"],
): boolean {
  const { asked, labelled, oneOff } = readEnablement(labels);
  if (asked !== null) return asked;
  return !oneOff && (labelled || exposeByDefault || networks.some((name) => overlays.has(name)));
}

/** Plans one container. Never throws, whatever its labels hold. */
export function planContainer(
  facts: ContainerFacts,
  options: DockerPlanOptions,
  surroundings: Surroundings,
): ContainerPlan {
  const none: ContainerPlan = { endpoints: [], clients: [], problems: [] };
  if (facts.state === "gone") return none;
  const { engine } = surroundings;
  const clients = clientsOf(facts, engine);
  if (!isCandidate(facts, options.exposeByDefault, engine.overlays)) return { ...none, clients };
  if (!readEnablement(facts.labels).labelled && facts.exposed.length === 0) return { ...none, clients };

  const subject = `container ${facts.name}`;
  const context = { containerName: nameOf(facts), exposed: facts.exposed, reported: facts.reported };
  const read = readLabels(facts.labels, { ...context, health: options.health });
  const problems = read.problems.map((text) => problem(subject, text));
  const endpoints = endpointsOf(facts, read, surroundings);
  if (endpoints.length > 0) return { endpoints, clients, problems };
  const text = `no address on any network (mode "${facts.networkMode}"); expected one to be reached by`;
  return { endpoints, clients, problems: [...problems, problem(subject, text)] };
}

function nameOf(facts: ContainerFacts): string {
  return labelFrom(facts.name) ?? facts.id.slice(0, 12);
}

/** One in each network that the container is to be found in; ports and routes of hosts lead to the first alone. */
function endpointsOf(
  facts: ContainerFacts,
  read: LabelledService,
  { stopping, host, engine }: Surroundings,
): readonly Discovered[] {
  return placesOf(facts, { named: read.network, host, overlays: engine.overlays }).map((place, index) => ({
    ...place,
    name: nameOf(facts),
    slot: read.slot,
    service: read.service,
    stack: read.stack,
    declaration:
      index === 0 ? read.declaration : { ...read.declaration, publish: [], http: [], passthrough: [] },
    weight: read.weight,
    delivery: read.delivery,
    startedAtMs: facts.startedAtMs,
    // Labels stay what they are for as long as a container is there; of two containers the one started last counts.
    declaredAtMs: facts.startedAtMs,
    lifecycle: stopping ? "stopping" : facts.state === "paused" ? "paused" : "running",
    health: read.health,
  }));
}

/**
 * Plans all containers: the whole set that Docker is the source of, sorted by id.
 *
 * @param engine  `stopping` holds the ids of the containers that have been sent their stop signal
 */
export function planContainers(
  containers: readonly ContainerFacts[],
  engine: KnownNetworks & { readonly stopping: ReadonlySet<string> },
  options: DockerPlanOptions,
): Omit<Discovery, "stale"> {
  const factsById = new Map(containers.map((facts) => [facts.id, facts]));
  const plans = containers
    .toSorted((one, other) => (one.id < other.id ? -1 : 1))
    .map((facts) =>
      planContainer(facts, options, {
        stopping: engine.stopping.has(facts.id),
        engine,
        host: factsById.get(networkHostId(facts) ?? "") ?? null,
      }),
    );
  const endpoints = withDistinctNames(plans.flatMap((plan) => plan.endpoints));
  const problems = plans.flatMap((plan) => plan.problems);
  return {
    source: "docker",
    endpoints,
    clients: plans.flatMap((plan) => plan.clients),
    problems,
  };
}

/** True for a container that is on internal networks only. */
export function isIsolated(
  { networks }: ContainerFacts,
  internalByName: EngineNetworks["internalByName"],
): boolean {
  return networks.length > 0 && networks.every((name) => internalByName.get(name) ?? true);
}

/** One client per address of its own: a container on several networks may ask from each. */
function clientsOf(
  facts: ContainerFacts,
  { internalByName, overlays }: KnownNetworks,
): readonly LocalClient[] {
  const attached = facts.attachments.map((attachment) => attachment.network);
  const named = attached.filter((network) => network !== "bridge" && isLabel(network));
  const on = overlaysOf(facts, overlays);
  const own = readNetwork(facts.labels) ?? on[0] ?? DEFAULT_NETWORK;
  const networks = [...new Set([own, ...on, ...named])];
  const isolated = isIsolated(facts, internalByName);
  const labelled = readEnablement(facts.labels).labelled ? { labelled: true as const } : {};
  const hides = namesHidden(facts, on);
  return facts.attachments.map(({ address }) => ({
    address,
    name: facts.name,
    networks,
    isolated,
    ...labelled,
    ...(hides.length > 0 && { hides }),
  }));
}

/** Docker's own server answers for these itself, on this host, and asks nobody: compose gives such names to all. */
function namesHidden(
  { name, attachments }: ContainerFacts,
  overlays: readonly string[],
): readonly ServiceKey[] {
  const keys = attachments
    .filter(({ network }) => overlays.includes(network))
    .flatMap(({ network, aliases = [] }) =>
      [name, ...aliases].map((one): ServiceKey => serviceKey(network, one.toLowerCase())),
    );
  return [...new Set(keys)];
}

/** Docker's names are unique, their label forms (`a.b`, `a-b`) need not be: a repeated one gets its id behind it. */
function withDistinctNames(endpoints: readonly Discovered[]): readonly Discovered[] {
  const taken = new Set<string>();
  return endpoints.map((endpoint) => {
    const key = `${endpoint.network}/${endpoint.service}/${endpoint.name}`;
    if (!taken.has(key)) {
      taken.add(key);
      return endpoint;
    }
    const suffix = `-${endpoint.id.slice(0, 12)}`;
    return { ...endpoint, name: endpoint.name.slice(0, LIMITS.labelBytes - suffix.length) + suffix };
  });
}
