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

/** What the replicas of a service declare about it; the newest start wins where they disagree. */
export interface ServiceDeclaration {
  readonly ports: readonly ServicePort[];
  readonly publish: readonly PublishedPort[];
  readonly http: readonly HttpRoute[];
  readonly endpointMode: "vip" | "dnsrr";
  readonly aliases: readonly string[];
}

/** A declaration with nothing in it: a service that is only a name. */
export const EMPTY_DECLARATION: ServiceDeclaration = {
  ports: [],
  publish: [],
  http: [],
  endpointMode: "vip",
  aliases: [],
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
