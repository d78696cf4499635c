/**
 * Labels: what a container's labels say about the service it is a copy of.
 *
 * Labels are typed by hand into compose files, so each stands for itself: a bad one is reported with what was
 * expected, its default is used, and all the others still count. A label nobody reads is reported with the nearest
 * one that somebody does, since a silent typo is the mistake that costs the most time. Labels of the contract that
 * this version does not act on are named too, unless they ask for what happens anyway.
 *
 * Pure. container.ts decides whether the container is discovered and where it is reached; health-labels.ts reads
 * `skein.health.*`, traffic-labels.ts what says how traffic is carried.
 */

import { failed, success, type Result } from "../../base/failure.ts";
import type { HealthSource } from "../../model/endpoint.ts";
import { labelFrom, parseLabel } from "../../model/ids.ts";
import { LIMITS } from "../../model/limits.ts";
import {
  EMPTY_DECLARATION,
  httpPortOf,
  parsePublishedPort,
  parseRouteHost,
  parseRoutePath,
  parseServicePort,
  transportOf,
  type Delivery,
  type HttpRoute,
  type PublishedPort,
  type ServiceDeclaration,
  type ServicePort,
} from "../../model/service.ts";
import { nearest } from "../../base/nearest.ts";
import { firstTcpPort, type ProbeTimes } from "../probe-plan.ts";
import { WEIGHT_MAX } from "../traffic.ts";

import { HEALTH_LABELS, readHealth } from "./health-labels.ts";
import { openReader, type LabelReader, type Labels } from "./label-reader.ts";
import { readDelivery, readTraffic, TRAFFIC_LABELS } from "./traffic-labels.ts";

const PREFIX = "skein.";

/** Labels this version acts on. */
const SUPPORTED = [
  "skein.enable",
  "skein.service",
  "skein.network",
  "skein.port",
  "skein.publish",
  "skein.http.host",
  "skein.http.path",
  "skein.endpoint-mode",
  "skein.weight",
  "skein.alias",
  "skein.tls.passthrough",
  ...HEALTH_LABELS,
  ...TRAFFIC_LABELS,
];

/** Labels of the contract that this version leaves alone, each with the value that asks for what it does anyway. */
const UNSUPPORTED: ReadonlyMap<string, string> = new Map([["skein.vip", ""]]);

const KNOWN: readonly string[] = [...SUPPORTED, ...UNSUPPORTED.keys()];

/** A port the image EXPOSEs. */
export interface ExposedPort {
  readonly port: number;
  readonly protocol: "tcp" | "udp";
}

/** What a container is asked to be, before anything else about it is known. */
export interface Enablement {
  /** `skein.enable`; null when it is not there, or neither `true` nor `false`. */
  readonly asked: boolean | null;
  /** True when there is any label of ours at all. */
  readonly labelled: boolean;
  /** A container of `docker compose run`: a one-off command, not a copy of its service. */
  readonly oneOff: boolean;
}

/** The facts that fill in what labels leave open. */
export interface LabelContext {
  /** The container's name, as a DNS label. */
  readonly containerName: string;
  readonly exposed: readonly ExposedPort[];
  /** What Docker's HEALTHCHECK says; null when the container has none. */
  readonly reported: "starting" | "healthy" | "unhealthy" | null;
  readonly health: ProbeTimes;
}

/** What labels say, complete with defaults. */
export interface LabelledService {
  readonly service: string;
  /** Null where no label says, or none that can be read. */
  readonly network: string | null;
  readonly stack: string | null;
  readonly slot: number | null;
  readonly declaration: ServiceDeclaration;
  readonly weight: number;
  readonly delivery: Delivery;
  readonly health: HealthSource;
  /** One text per label that was not understood, at most LIMITS.problemsPerSubject. */
  readonly problems: readonly string[];
}

/** Reads the labels that decide whether a container is discovered at all. Bad values count as absent. */
export function readEnablement(labels: Labels): Enablement {
  return {
    asked: openReader(labels).read("skein.enable", parseFlag, null),
    labelled: [...labels.keys()].some((name) => name.startsWith(PREFIX)),
    oneOff: labels.get("com.docker.compose.oneoff")?.toLowerCase() === "true",
  };
}

/** The Skein network that labels put a container in; null when they name none, or a bad one. */
export function readNetwork(labels: Labels): string | null {
  return openReader(labels).read("skein.network", parseLabel, null);
}

/** Reads all labels. Never throws, whatever they hold; each bad one becomes a problem and its default. */
export function readLabels(labels: Labels, context: LabelContext): LabelledService {
  const reader = openReader(labels);
  reportUnread(reader);
  reader.read("skein.enable", parseFlag, null);
  const stack = composeName(labels, "com.docker.compose.project");
  const service = composeName(labels, "com.docker.compose.service") ?? context.containerName;
  const endpointMode = reader.read("skein.endpoint-mode", parseEndpointMode, "vip");
  const ports = readPorts(reader, context.exposed);
  if (ports.length === 0 && endpointMode === "vip") {
    reader.report('no port is known; expected label "skein.port", or EXPOSE in the image');
  }
  const chosen = reader.read("skein.service", parseLabel, service);
  const declaration: ServiceDeclaration = {
    ...EMPTY_DECLARATION,
    ports,
    publish: readPublish(reader, ports),
    http: readRoutes(reader, ports),
    endpointMode,
    aliases: reader
      .readList("skein.alias", parseLabel, LIMITS.namesPerService)
      .filter((alias, index, all) => alias !== chosen && all.indexOf(alias) === index),
    passthrough: readPassthrough(reader, ports),
    traffic: readTraffic(reader, ports),
  };
  return {
    service: chosen,
    network: reader.read("skein.network", parseLabel, null),
    stack,
    slot: composeSlot(labels),
    declaration,
    weight: reader.read("skein.weight", parseWeight, 1),
    delivery: readDelivery(reader, ports),
    health: readHealth(reader, { ports, reported: context.reported, times: context.health }),
    problems: reader.problems(),
  };
}

function reportUnread(reader: LabelReader): void {
  for (const [name, value] of reader.labels) {
    if (!name.startsWith(PREFIX) || SUPPORTED.includes(name)) continue;
    const harmless = UNSUPPORTED.get(name);
    if (harmless === undefined) {
      const near = nearest(name, KNOWN);
      const hint = near === null ? `expected one such as "skein.port"` : `did you mean "${near}"?`;
      reader.report(`label "${name}" is unknown; ${hint}`);
    } else if (value.trim().toLowerCase() !== harmless) {
      reader.report(`label "${name}" is not supported by this version; ignored`);
    }
  }
}

/** Service ports: those of the label; without one that is good, every EXPOSEd port, lowest first. */
function readPorts(reader: LabelReader, exposed: readonly ExposedPort[]): readonly ServicePort[] {
  const labelled = reader.readList("skein.port", parseServicePort, LIMITS.portsPerService);
  if (labelled.length > 0) return withoutRepeats(reader, labelled);
  const sorted = exposed.toSorted(
    (one, other) => one.port - other.port || (one.protocol < other.protocol ? -1 : 1),
  );
  if (sorted.length > LIMITS.portsPerService) {
    reader.report(`${sorted.length} ports are EXPOSEd; expected at most ${LIMITS.portsPerService}`);
  }
  return sorted
    .slice(0, LIMITS.portsPerService)
    .map(({ port, protocol }) => ({ name: `${protocol}-${port}`, port, target: port, protocol }));
}

/** A service has one port of a name, and one of a number and transport; the first of each counts. */
function withoutRepeats(reader: LabelReader, ports: readonly ServicePort[]): readonly ServicePort[] {
  const kept: ServicePort[] = [];
  for (const port of ports) {
    const clash = kept.find(
      (other) =>
        other.name === port.name ||
        (other.port === port.port && transportOf(other.protocol) === transportOf(port.protocol)),
    );
    if (clash === undefined) kept.push(port);
    else
      reader.report(`label "skein.port" repeats port ${portText(port)}; expected each name and number once`);
  }
  return kept;
}

function readPublish(reader: LabelReader, ports: readonly ServicePort[]): readonly PublishedPort[] {
  const kept: PublishedPort[] = [];
  for (const entry of reader.readList("skein.publish", parsePublishedPort, LIMITS.namesPerService)) {
    const leads = ports.some(
      (port) => port.port === entry.port && transportOf(port.protocol) === entry.protocol,
    );
    const repeats = kept.some(
      (other) => other.published === entry.published && other.protocol === entry.protocol,
    );
    const published = `label "skein.publish" publishes ${entry.published}/${entry.protocol}`;
    if (!leads) {
      const has = ports.length === 0 ? "no ports" : `ports ${ports.map(portText).join(", ")}`;
      reader.report(
        `${published} to port ${entry.port}/${entry.protocol}; expected one of the service's: it has ${has}`,
      );
    } else if (repeats) reader.report(`${published} twice; once counts`);
    else kept.push(entry);
  }
  return kept;
}

/** Every host with every path; a path alone would catch the traffic of all hosts, so it counts for none. */
function readRoutes(reader: LabelReader, ports: readonly ServicePort[]): readonly HttpRoute[] {
  const hosts = new Set(reader.readList("skein.http.host", parseRouteHost, LIMITS.namesPerService));
  const paths = new Set(reader.readList("skein.http.path", parseRoutePath, LIMITS.namesPerService));
  if (hosts.size === 0) {
    if (paths.size > 0)
      reader.report('label "skein.http.path" has no effect; expected "skein.http.host" with it');
    return [];
  }
  if (httpPortOf({ ...EMPTY_DECLARATION, ports }) === null) {
    reader.report('label "skein.http.host" leads nowhere; expected a TCP or HTTP port of the service');
    return [];
  }
  if (paths.size === 0) paths.add("/");
  const routes = [...hosts].flatMap((host) => [...paths].map((path) => ({ host, path })));
  const kept = withinRouteLimits(routes);
  if (kept.length < routes.length) {
    reader.report(`label "skein.http.host" makes ${routes.length} routes; only ${kept.length} fit a record`);
  }
  return kept;
}

/** Hosts whose TLS the service takes itself; its first TCP port has it, whatever is routed by path. */
function readPassthrough(reader: LabelReader, ports: readonly ServicePort[]): readonly string[] {
  const hosts = new Set(reader.readList("skein.tls.passthrough", parseRouteHost, LIMITS.namesPerService));
  if (hosts.size === 0 || firstTcpPort(ports) !== null) return [...hosts];
  reader.report('label "skein.tls.passthrough" leads nowhere; expected a TCP port of the service');
  return [];
}

function withinRouteLimits(routes: readonly HttpRoute[]): readonly HttpRoute[] {
  let bytes = 0;
  const kept: HttpRoute[] = [];
  for (const route of routes) {
    bytes += JSON.stringify(route).length;
    if (kept.length === LIMITS.namesPerService || bytes > LIMITS.routesBytes) break;
    kept.push(route);
  }
  return kept;
}

function portText(port: ServicePort): string {
  return `${port.port}/${transportOf(port.protocol)}`;
}

/** A name that Compose wrote, as a DNS label; null when there is none. */
function composeName(labels: Labels, name: string): string | null {
  return labelFrom((labels.get(name) ?? "").slice(0, LIMITS.labelValueBytes));
}

function composeSlot(labels: Labels): number | null {
  const text = labels.get("com.docker.compose.container-number") ?? "";
  return /^[1-9]\d{0,5}$/.test(text) ? Number(text) : null;
}

function parseFlag(thing: string, text: string): Result<boolean> {
  const lowered = text.trim().toLowerCase();
  if (lowered === "true" || lowered === "false") return success(lowered === "true");
  return failed("invalid", `${thing} is "${text}"; expected true or false`);
}

function parseEndpointMode(thing: string, text: string): Result<"vip" | "dnsrr"> {
  const lowered = text.trim().toLowerCase();
  if (lowered === "vip" || lowered === "dnsrr") return success(lowered);
  return failed("invalid", `${thing} is "${text}"; expected vip or dnsrr`);
}

function parseWeight(thing: string, text: string): Result<number> {
  const trimmed = text.trim();
  if (/^\d{1,3}$/.test(trimmed) && Number(trimmed) <= WEIGHT_MAX) return success(Number(trimmed));
  return failed("invalid", `${thing} is "${text}"; expected a whole number in 0..${WEIGHT_MAX}`);
}
