/**
 * Facts: what Docker says of containers and events, checked field by field.
 *
 * An engine may be Docker of any age, Podman, or a socket proxy that leaves things out, so nothing is cast: a field
 * that is missing or odd gets the value that means "unknown", and only a reply without an id is refused. What comes
 * out is one small shape, whether it was read from the list or from an inspection.
 *
 * Pure. client.ts fetches the replies; container.ts decides what they mean. engine-networks.ts reads of networks.
 */

import { failed, success, type Result } from "../../base/failure.ts";
import { isLabel } from "../../model/ids.ts";
import { isPort } from "../../model/service.ts";

import {
  fieldsOf,
  idFrom,
  isAddress,
  labelsFrom,
  listFrom,
  numberFrom,
  textFrom,
  type Fields,
} from "./fields.ts";
import type { Labels } from "./label-reader.ts";
import type { ExposedPort } from "./labels.ts";
import { signalNumber, SIGTERM } from "./signals.ts";

/** An address that a container has on a Docker network. */
export interface Attachment {
  /** The Docker network's name: `bridge`, `shop_default`. */
  readonly network: string;
  readonly address: string;
  /** Names beside its own by which Docker's server finds it there; left out where there are none. */
  readonly aliases?: readonly string[];
}

/** What an inspection says of how a container asks for names. */
export interface ResolverFacts {
  /** Servers it was started with (`--dns`); none where the engine chooses. */
  readonly servers: readonly string[];
  /** File of the host that it sees as /etc/resolv.conf; empty when unknown. */
  readonly confPath: string;
  /** Ways out of its networks; none where all of them are internal. */
  readonly gateways: readonly string[];
}

/** One container, as far as we care. */
export interface ContainerFacts {
  /** The whole id: 64 hexadecimal characters. */
  readonly id: string;
  /** Without the slash that Docker puts in front. */
  readonly name: string;
  readonly labels: Labels;
  readonly state: "running" | "paused" | "gone";
  readonly startedAtMs: number;
  /** `bridge`, `host`, `none`, a network's name, `container:<id>`; empty when unknown. */
  readonly networkMode: string;
  /** Names of all Docker networks it is on, those where it has no address, too. Sorted. */
  readonly networks: readonly string[];
  /** Sorted by network, on each IPv4 first. */
  readonly attachments: readonly Attachment[];
  readonly exposed: readonly ExposedPort[];
  /** What its HEALTHCHECK says; null when it has none. */
  readonly reported: "starting" | "healthy" | "unhealthy" | null;
  /** Number of the signal that `docker stop` sends it. */
  readonly stopSignal: number;
  /** How long `docker stop` waits before it kills, unless told otherwise. */
  readonly stopTimeoutMs: number;
  /** Null when it was only listed. */
  readonly resolver: ResolverFacts | null;
}

/** One event of Docker's stream that may matter to us. */
export type DockerEvent =
  | { readonly kind: "killed"; readonly id: string; readonly signal: number }
  | { readonly kind: "died"; readonly id: string }
  | { readonly kind: "changed"; readonly id: string }
  | { readonly kind: "networks-changed" };

const STOP_TIMEOUT_MS = 10_000;

/** Reads one element of `GET /containers/json`: enough for a client, too little for an endpoint. */
export function factsFromList(value: unknown): Result<ContainerFacts> {
  const entry = fieldsOf(value);
  const id = idFrom(entry["Id"]);
  if (id === null) return failed("invalid", "docker lists a container without an id");
  const state = textFrom(entry["State"]);
  return success({
    id,
    name: nameFrom(listFrom(entry["Names"])[0], id),
    labels: labelsFrom(entry["Labels"]),
    state: state === "running" || state === "paused" ? state : "gone",
    startedAtMs: Math.max(0, Math.round(numberFrom(entry["Created"]) * 1000)),
    networkMode: textFrom(fieldsOf(entry["HostConfig"])["NetworkMode"]),
    ...placesFrom(fieldsOf(entry["NetworkSettings"])["Networks"]),
    exposed: [],
    reported: null,
    stopSignal: SIGTERM,
    stopTimeoutMs: STOP_TIMEOUT_MS,
    resolver: null,
  });
}

/** Reads the reply of `GET /containers/<id>/json`. */
export function factsFromInspection(value: unknown): Result<ContainerFacts> {
  const reply = fieldsOf(value);
  const id = idFrom(reply["Id"]);
  if (id === null) return failed("invalid", "docker describes a container without an id");
  const config = fieldsOf(reply["Config"]);
  const state = fieldsOf(reply["State"]);
  const stopTimeoutS = config["StopTimeout"];
  const running = state["Running"] === true && state["Restarting"] !== true;
  return success({
    id,
    name: nameFrom(reply["Name"], id),
    labels: labelsFrom(config["Labels"]),
    state: !running ? "gone" : state["Paused"] === true ? "paused" : "running",
    startedAtMs: timeFrom(state["StartedAt"]),
    networkMode: textFrom(fieldsOf(reply["HostConfig"])["NetworkMode"]),
    ...placesFrom(fieldsOf(reply["NetworkSettings"])["Networks"]),
    exposed: exposedFrom(config["ExposedPorts"]),
    reported: reportedFrom(fieldsOf(state["Health"])["Status"]),
    stopSignal: signalNumber(textFrom(config["StopSignal"])) ?? SIGTERM,
    stopTimeoutMs: stopTimeoutS === undefined ? STOP_TIMEOUT_MS : boundedSecondsFrom(stopTimeoutS),
    resolver: resolverFrom(reply),
  });
}

/** Events that change nothing we look at, `exec_*` of every health check among them, are left out here. */
const CHANGES = new Set(["start", "stop", "pause", "unpause", "rename", "update", "restart"]);

/**
 * Reads one line of `GET /events`.
 *
 * @returns null for an event that does not matter, and for a line that is no event at all: a full resync comes anyway
 */
export function eventFrom(line: string): DockerEvent | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null; // Not a failure: half a line after a cut connection is followed by a reconnect and a resync.
  }
  const event = fieldsOf(value);
  const actor = fieldsOf(event["Actor"]);
  const attributes = fieldsOf(actor["Attributes"]);
  const action = textFrom(event["Action"]);
  if (event["Type"] === "network") {
    if (action === "create" || action === "destroy") return { kind: "networks-changed" };
    const container = idFrom(attributes["container"]);
    const moved = action === "connect" || action === "disconnect";
    return moved && container !== null ? { kind: "changed", id: container } : null;
  }
  const id = idFrom(actor["ID"]);
  if (event["Type"] !== "container" || id === null) return null;
  if (action === "kill") return killFrom(id, attributes["signal"]);
  if (action === "die" || action === "destroy") return { kind: "died", id };
  return CHANGES.has(action) || action.startsWith("health_status") ? { kind: "changed", id } : null;
}

/** The API version of `GET /version` as `[major, minor]`; null when there is none. */
export function apiVersionFrom(value: unknown): readonly [number, number] | null {
  const match = /^(\d{1,4})\.(\d{1,4})$/.exec(textFrom(fieldsOf(value)["ApiVersion"]));
  return match === null ? null : [Number(match[1]), Number(match[2])];
}

function killFrom(id: string, signal: unknown): DockerEvent {
  const number = signalNumber(typeof signal === "number" ? String(signal) : textFrom(signal));
  return number === null ? { kind: "changed", id } : { kind: "killed", id, signal: number };
}

function nameFrom(value: unknown, id: string): string {
  const name = textFrom(value).replace(/^\//, "").slice(0, 256);
  return name === "" ? id.slice(0, 12) : name;
}

/** RFC 3339 as Docker writes it, to nanoseconds; `0001-01-01...` (never started) and rubbish are 0. */
function timeFrom(value: unknown): number {
  const atMs = Date.parse(textFrom(value));
  return Number.isFinite(atMs) && atMs > 0 ? atMs : 0;
}

function boundedSecondsFrom(value: unknown): number {
  return Math.min(3600, Math.max(0, numberFrom(value))) * 1000;
}

function placesFrom(value: unknown): Pick<ContainerFacts, "networks" | "attachments"> {
  const byName = fieldsOf(value);
  const networks = Object.keys(byName).toSorted();
  const attachments = networks.flatMap((network): readonly Attachment[] => {
    const { IPAddress, GlobalIPv6Address, Aliases } = fieldsOf(byName[network]);
    const aliases = listFrom(Aliases)
      .map(textFrom)
      .filter((name) => isLabel(name));
    return [textFrom(IPAddress), textFrom(GlobalIPv6Address)].filter(isAddress).map((address) => {
      return { network, address, ...(aliases.length > 0 && { aliases }) };
    });
  });
  return { networks, attachments };
}

function resolverFrom(reply: Fields): ResolverFacts {
  const servers = listFrom(fieldsOf(reply["HostConfig"])["Dns"]).map(textFrom);
  const networks = Object.values(fieldsOf(fieldsOf(reply["NetworkSettings"])["Networks"])).map(fieldsOf);
  const gateways = networks.flatMap(({ Gateway, IPv6Gateway }) => [textFrom(Gateway), textFrom(IPv6Gateway)]);
  const mounts = listFrom(reply["Mounts"]).map(fieldsOf);
  // Somebody's own file in its place: then Docker's is there, too, and nobody reads it.
  const own = mounts.find(({ Destination }) => Destination === "/etc/resolv.conf");
  return {
    servers: servers.filter(isAddress),
    confPath: textFrom(own?.["Source"] ?? reply["ResolvConfPath"]),
    gateways: [...new Set(gateways.filter(isAddress))].toSorted(),
  };
}

function exposedFrom(value: unknown): readonly ExposedPort[] {
  return Object.keys(fieldsOf(value)).flatMap((text) => {
    const match = /^(\d{1,5})\/(tcp|udp)$/.exec(text);
    if (match === null || !isPort(Number(match[1]))) return [];
    return [{ port: Number(match[1]), protocol: match[2] === "udp" ? ("udp" as const) : ("tcp" as const) }];
  });
}

function reportedFrom(value: unknown): ContainerFacts["reported"] {
  return value === "starting" || value === "healthy" || value === "unhealthy" ? value : null;
}
