/**
 * Service: what a service offers, as its replicas declare it, and the text forms of its ports.
 *
 * Labels, the config file and records all write ports the same way, so they are parsed here and nowhere else. Swarm
 * and Compose order them `published:target`; we keep that order.
 *
 * Pure.
 */

import { failed, success, type Result } from "../base/failure.ts";

import { isLabel } from "./ids.ts";

/** How a service port is carried: `http` is TCP whose requests may be balanced and retried one by one. */
export type Protocol = "tcp" | "udp" | "http";

/** A port of a service: clients use `port` on the VIP; replicas listen on `target`. */
export interface ServicePort {
  readonly name: string;
  readonly port: number;
  readonly target: number;
  readonly protocol: Protocol;
}

/** A port open on every host (`ingress`), or only on hosts with a replica (`host`), leading to service port `port`. */
export interface PublishedPort {
  readonly published: number;
  readonly port: number;
  readonly protocol: "tcp" | "udp";
  readonly mode: "ingress" | "host";
}

/** A route of the HTTP ingress: exact host or `*.suffix`, and a path prefix that starts with a slash. */
export interface HttpRoute {
  readonly host: string;
  readonly path: string;
}

/** How upstreams take turns: see `src/proxy/choice`. */
export type Balance = "round-robin" | "least-connections" | "p2c" | "source-hash";

/** All of them. */
export const BALANCES: readonly Balance[] = ["round-robin", "least-connections", "p2c", "source-hash"];

/** How a service's traffic is spread, and how long it waits. */
export interface TrafficPolicy {
  readonly balance: Balance;
  /** `local`: replicas of the same host first, then of its zone, then any. */
  readonly prefer: "any" | "local";
  /** How long a replica that has become eligible takes to its full share; 0 for at once. */
  readonly slowStartMs: number;
  /** How long a replica may keep silent before a request that may be sent again goes elsewhere; null: the daemon's. */
  readonly firstByteMs: number | null;
  /** `flow`: one replica for all that a client sends; `datagram`: the next one for each, and nothing comes back. */
  readonly udpMode: "flow" | "datagram";
  /** How long a silent flow is remembered; null: the daemon's. */
  readonly udpIdleMs: number | null;
  /** Whose address a replica sees where the kernel leads to it: the client's, or that of the host it came through. */
  readonly source: "keep" | "masquerade";
}

/** What holds where nothing is said. One object, so that it is compared by === and kept once. */
export const DEFAULT_TRAFFIC: TrafficPolicy = {
  balance: "round-robin",
  prefer: "any",
  slowStartMs: 0,
  firstByteMs: null,
  udpMode: "flow",
  udpIdleMs: null,
  source: "keep",
};

/** How one copy takes its traffic; of each by itself, since two versions of a service may differ in it. */
export interface Delivery {
  /** The header of the PROXY protocol that it expects in front of each connection. */
  readonly proxyProtocol: "off" | "v1" | "v2";
  /** How long established flows may live after its stop signal. */
  readonly drainMs: number;
}

/** What holds where nothing is said; one object, as DEFAULT_TRAFFIC. */
export const DEFAULT_DELIVERY: Delivery = { proxyProtocol: "off", drainMs: 10_000 };

/** What the replicas of a service declare about it; the newest start wins where they disagree. */
export interface ServiceDeclaration {
  readonly ports: readonly ServicePort[];
  readonly publish: readonly PublishedPort[];
  readonly http: readonly HttpRoute[];
  readonly endpointMode: "vip" | "dnsrr";
  readonly aliases: readonly string[];
  /** Hosts whose TLS connections, told by SNI, lead to its first TCP port unopened; as the host of an HttpRoute. */
  readonly passthrough: readonly string[];
  readonly traffic: TrafficPolicy;
}

/** A declaration with nothing in it: a service that is only a name. */
export const EMPTY_DECLARATION: ServiceDeclaration = {
  ports: [],
  publish: [],
  http: [],
  endpointMode: "vip",
  aliases: [],
  passthrough: [],
  traffic: DEFAULT_TRAFFIC,
};

/** The transport below a protocol. */
export function transportOf(protocol: Protocol): "tcp" | "udp" {
  return protocol === "udp" ? "udp" : "tcp";
}

/** The port that HTTP routes lead to: the first `http` one, else the first TCP one; null when there is neither. */
export function httpPortOf(declaration: ServiceDeclaration): ServicePort | null {
  const { ports } = declaration;
  return (
    ports.find((port) => port.protocol === "http") ?? ports.find((port) => port.protocol === "tcp") ?? null
  );
}

const PORT = /^(?:([a-zA-Z0-9_-]+)=)?(?:(\d+):)?(\d+)(?:\/([a-z]+))?$/;

/**
 * Parses one service port: `80`, `web=8080`, `80:8080/tcp`, `web=80:8080/http`.
 *
 * @param thing  where the text stands, for the failure: `label "skein.port"`
 * @returns the port; without a name it is named after protocol and number, `tcp-80`
 */
export function parseServicePort(thing: string, text: string): Result<ServicePort> {
  const match = PORT.exec(text.trim());
  const protocol = match?.[4] ?? "tcp";
  if (match === null || (protocol !== "tcp" && protocol !== "udp" && protocol !== "http")) {
    return failed("invalid", `${thing} is "${text}"; expected [name=][port:]target[/tcp|udp|http]`);
  }
  const target = Number(match[3]);
  const port = match[2] === undefined ? target : Number(match[2]);
  if (!isPort(target) || !isPort(port)) return failed("invalid", `${thing} is "${text}"; expected 1..65535`);
  const name = (match[1] ?? `${protocol}-${port}`).toLowerCase();
  if (!isLabel(name))
    return failed("invalid", `${thing} is "${text}"; expected a port name of letters, digits, "-"`);
  return success({ name, port, target, protocol });
}

const PUBLISH = /^(host:)?(\d+)(?::(\d+))?(?:\/(tcp|udp))?$/;

/**
 * Parses one published port: `8088:80/tcp`, `5353:53/udp`, `host:8088:80`, or `80` for `80:80`.
 *
 * @param thing  where the text stands, for the failure: `label "skein.publish"`
 */
export function parsePublishedPort(thing: string, text: string): Result<PublishedPort> {
  const match = PUBLISH.exec(text.trim());
  if (match === null) {
    return failed(
      "invalid",
      `${thing} is "${text}"; expected [host:]published:port[/tcp|udp], such as 8088:80`,
    );
  }
  const published = Number(match[2]);
  const port = match[3] === undefined ? published : Number(match[3]);
  if (!isPort(published) || !isPort(port))
    return failed("invalid", `${thing} is "${text}"; expected 1..65535`);
  const protocol = match[4] === "udp" ? "udp" : "tcp";
  return success({ published, port, protocol, mode: match[1] === undefined ? "ingress" : "host" });
}

const HOST = /^(\*\.)?([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/;

/** Checks the host of an HTTP route: a DNS name, `*.` in front allowed; lowered, at most 253 bytes. */
export function parseRouteHost(thing: string, text: string): Result<string> {
  const host = text.trim().toLowerCase();
  if (host.length <= 253 && HOST.test(host)) return success(host);
  return failed(
    "invalid",
    `${thing} is "${text}"; expected a host name such as app.example.com or *.example.com`,
  );
}

/** Checks the path of an HTTP route: a prefix that starts with a slash, without query or fragment. */
export function parseRoutePath(thing: string, text: string): Result<string> {
  const path = text.trim();
  if (/^\/[^\s?#]*$/.test(path) && path.length <= 1024) return success(path);
  return failed("invalid", `${thing} is "${text}"; expected a path that starts with "/"`);
}

/** True for a whole number in 1..65535. */
export function isPort(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= 65_535;
}
