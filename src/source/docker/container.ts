/**
 * Container: what one container is to us: an endpoint of a service, a client that asks for names, or both.
 *
 * Whoever labels a container wants it discovered; `skein.enable=false` always wins over that. A one-off container of
 * `docker compose run` carries its service's labels without being a copy of it, so it stays a client unless it says
 * `skein.enable=true` itself. Every running container with an address of its own is a client: it sees the Skein network
 * of its label (or the default one) first, then those called like a Docker network it is on.
 *
 * One that is on internal networks only is isolated: nothing of it may leave the host, its questions for names neither
 * (so leaked CVE-2024-29018). A network that is not known yet counts as internal: watch.ts asks for it at once.
 *
 * Pure. facts.ts checked what Docker said; watch.ts keeps the set fresh.
 */

import type { Discovered, Discovery, LocalClient, Problem } from "../../model/endpoint.ts";
import { isLabel, labelFrom } from "../../model/ids.ts";
import { LIMITS } from "../../model/limits.ts";
import type { ProbeTimes } from "../probe-plan.ts";
import { problem } from "../problem.ts";

import type { ContainerFacts, EngineNetworks } from "./facts.ts";
import type { Labels } from "./label-reader.ts";
import { readEnablement, readLabels, readNetwork } from "./labels.ts";

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
  readonly internalByName: EngineNetworks["internalByName"];
}

/** What one container came to. */
export interface ContainerPlan {
  readonly endpoint: Discovered | null;
  readonly clients: readonly LocalClient[];
  readonly problems: readonly Problem[];
}

/** True when labels may make the container an endpoint, so that it is worth an inspection. */
export function isCandidate(labels: Labels, exposeByDefault: boolean): boolean {
  const { asked, labelled, oneOff } = readEnablement(labels);
  if (asked !== null) return asked;
  return !oneOff && (labelled || exposeByDefault);
}

/** Plans one container. Never throws, whatever its labels hold. */
export function planContainer(
  facts: ContainerFacts,
  options: DockerPlanOptions,
  surroundings: Surroundings,
): ContainerPlan {
  const subject = `container ${facts.name}`;
  const clients = clientsOf(facts, surroundings.internalByName);
  if (facts.state === "gone") return { endpoint: null, clients: [], problems: [] };
  if (!isCandidate(facts.labels, options.exposeByDefault)) return { endpoint: null, clients, problems: [] };
  if (!readEnablement(facts.labels).labelled && facts.exposed.length === 0) {
    return { endpoint: null, clients, problems: [] };
  }

  const name = labelFrom(facts.name) ?? facts.id.slice(0, 12);
  const context = { containerName: name, exposed: facts.exposed, reported: facts.reported };
  const read = readLabels(facts.labels, { ...context, health: options.health });
  const problems = read.problems.map((text) => problem(subject, text));
  const where = addressOf(facts, read.network, surroundings.host);
  if (where === null) {
    const text = `no address on any network (mode "${facts.networkMode}"); expected one to be reached by`;
    return { endpoint: null, clients, problems: [...problems, problem(subject, text)] };
  }

  const endpoint: Discovered = {
    id: facts.id.slice(0, 12),
    name,
    slot: read.slot,
    network: read.network,
    service: read.service,
    stack: read.stack,
    address: where,
    // A bridge's addresses, like loopback, mean nothing on another host: its daemon relays.
    reach: "stream",
    declaration: read.declaration,
    weight: read.weight,
    delivery: read.delivery,
    startedAtMs: facts.startedAtMs,
    // Labels stay what they are for as long as a container is there; of two containers the one started last counts.
    declaredAtMs: facts.startedAtMs,
    lifecycle: surroundings.stopping ? "stopping" : facts.state,
    health: read.health,
  };
  return { endpoint, clients, problems };
}

/**
 * Plans all containers: the whole set that Docker is the source of, sorted by id.
 *
 * @param engine  `stopping` holds the ids of the containers that have been sent their stop signal
 */
export function planContainers(
  containers: readonly ContainerFacts[],
  engine: Pick<EngineNetworks, "internalByName"> & { readonly stopping: ReadonlySet<string> },
  options: DockerPlanOptions,
): Omit<Discovery, "stale"> {
  const factsById = new Map(containers.map((facts) => [facts.id, facts]));
  const plans = containers
    .toSorted((one, other) => (one.id < other.id ? -1 : 1))
    .map((facts) =>
      planContainer(facts, options, {
        stopping: engine.stopping.has(facts.id),
        internalByName: engine.internalByName,
        host: factsById.get(networkHostId(facts) ?? "") ?? null,
      }),
    );
  const endpoints = withDistinctNames(plans.flatMap((plan) => plan.endpoint ?? []));
  const problems = plans.flatMap((plan) => plan.problems);
  return {
    source: "docker",
    endpoints,
    clients: plans.flatMap((plan) => plan.clients),
    problems,
  };
}

/** The id of the container whose network stack this one uses; null when it has its own. */
export function networkHostId(facts: ContainerFacts): string | null {
  return facts.networkMode.startsWith("container:") ? facts.networkMode.slice("container:".length) : null;
}

/** True for a container that is on internal networks only. */
export function isIsolated(
  { networks }: ContainerFacts,
  internalByName: EngineNetworks["internalByName"],
): boolean {
  return networks.length > 0 && networks.every((name) => internalByName.get(name) ?? true);
}

/** Where this host reaches the container; null when it has no address. */
function addressOf(facts: ContainerFacts, network: string, host: ContainerFacts | null): string | null {
  const owner = networkHostId(facts) === null ? facts : host;
  if (owner === null) return null;
  if (owner.networkMode === "host") return "127.0.0.1";
  const project = facts.labels.get("com.docker.compose.project") ?? "";
  const preferred =
    owner.attachments.find((attachment) => attachment.network === network) ??
    owner.attachments.find((attachment) => attachment.network === `${project}_${network}`) ??
    owner.attachments[0];
  return preferred?.address ?? null;
}

/** One client per address of its own: a container on several networks may ask from each. */
function clientsOf(
  facts: ContainerFacts,
  internalByName: EngineNetworks["internalByName"],
): readonly LocalClient[] {
  const attached = facts.attachments.map((attachment) => attachment.network);
  const named = attached.filter((network) => network !== "bridge" && isLabel(network));
  const networks = [...new Set([readNetwork(facts.labels), ...named])];
  const isolated = isIsolated(facts, internalByName);
  return facts.attachments.map(({ address }) => ({ address, name: facts.name, networks, isolated }));
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
    const suffix = `-${endpoint.id}`;
    return { ...endpoint, name: endpoint.name.slice(0, LIMITS.labelBytes - suffix.length) + suffix };
  });
}
