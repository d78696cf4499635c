/**
 * Health labels: who says whether a container is ready.
 *
 * In this order: an active probe that a label asks for; Docker's HEALTHCHECK, whose author knew the image best; a TCP
 * connect to the first TCP port; nobody. Times alone do not ask for a probe, so beside a HEALTHCHECK they change
 * nothing, and that is said.
 *
 * Pure.
 */

import { failed, success, type Result } from "../../base/failure.ts";
import type { HealthSource } from "../../model/endpoint.ts";
import { EMPTY_DECLARATION, httpPortOf, isPort, type ServicePort } from "../../model/service.ts";
import { parseDuration } from "../../base/duration.ts";
import {
  defaultHealth,
  firstTcpPort,
  INTERVAL_RANGE,
  isProbePath,
  STREAK_MAX,
  TIMEOUT_RANGE,
  type ProbeTimes,
} from "../probe-plan.ts";

import type { LabelReader } from "./label-reader.ts";

/** The labels read here. */
export const HEALTH_LABELS: readonly string[] = [
  "skein.health.http",
  "skein.health.tcp",
  "skein.health.interval",
  "skein.health.timeout",
  "skein.health.rise",
  "skein.health.fall",
];

/** What the choice rests on. */
export interface HealthContext {
  readonly ports: readonly ServicePort[];
  /** What Docker's HEALTHCHECK says; null when the container has none. */
  readonly reported: "starting" | "healthy" | "unhealthy" | null;
  /** Defaults, from the config. */
  readonly times: ProbeTimes;
}

/** Where an active probe goes; a null port stands for the service's first fitting one. */
interface Target {
  readonly kind: "tcp" | "http";
  readonly port: number | null;
  readonly path: string;
}

/** Reads `skein.health.*`; a bad label is reported and the rest decides. */
export function readHealth(reader: LabelReader, context: HealthContext): HealthSource {
  const times = readTimes(reader, context.times);
  const target = readTarget(reader);
  if (target !== null) {
    const port = target.port ?? fittingPort(target.kind, context.ports);
    if (port !== null)
      return { kind: "probe", probe: { kind: target.kind, port, path: target.path, ...times } };
    reader.report(
      `label "skein.health.${target.kind}" has no port to ask; expected a TCP port of the service`,
    );
  }
  if (context.reported === null) return defaultHealth(context.ports, times);
  const unused = HEALTH_LABELS.slice(2).find((name) => reader.labels.has(name));
  if (unused !== undefined && target === null) {
    const expected = 'expected "skein.health.http" or "skein.health.tcp" with it';
    reader.report(`label "${unused}" has no effect: Docker's HEALTHCHECK decides; ${expected}`);
  }
  return { kind: "reported", status: context.reported };
}

function readTimes(reader: LabelReader, defaults: ProbeTimes): ProbeTimes {
  const interval = (thing: string, text: string) => parseDuration(thing, text, INTERVAL_RANGE);
  const timeout = (thing: string, text: string) => parseDuration(thing, text, TIMEOUT_RANGE);
  return {
    intervalMs: reader.read("skein.health.interval", interval, defaults.intervalMs),
    timeoutMs: reader.read("skein.health.timeout", timeout, defaults.timeoutMs),
    rise: reader.read("skein.health.rise", parseStreak, defaults.rise),
    fall: reader.read("skein.health.fall", parseStreak, defaults.fall),
  };
}

function readTarget(reader: LabelReader): Target | null {
  const http = reader.read("skein.health.http", parseHttpTarget, null);
  const tcp = reader.read("skein.health.tcp", parseTcpTarget, null);
  if (http !== null && tcp !== null) {
    reader.report('label "skein.health.tcp" has no effect beside "skein.health.http"; expected one of them');
  }
  return http ?? tcp;
}

function fittingPort(kind: "tcp" | "http", ports: readonly ServicePort[]): number | null {
  const port = kind === "tcp" ? firstTcpPort(ports) : httpPortOf({ ...EMPTY_DECLARATION, ports });
  return port === null ? null : port.target;
}

/** `/healthz`, or `8080/healthz` for a port that is not the service's. */
function parseHttpTarget(thing: string, text: string): Result<Target> {
  const match = /^:?(\d{1,5})?(\/.*)$/.exec(text);
  const path = match?.[2] ?? "";
  const port = match?.[1] === undefined ? null : Number(match[1]);
  if (isProbePath(path) && (port === null || isPort(port))) return success({ kind: "http", port, path });
  return failed("invalid", `${thing} is "${text}"; expected a path such as /healthz or 8080/healthz`);
}

/** `true` for the service's first TCP port, or the container's port to connect to. */
function parseTcpTarget(thing: string, text: string): Result<Target> {
  if (text.toLowerCase() === "true") return success({ kind: "tcp", port: null, path: "" });
  if (/^\d{1,5}$/.test(text) && isPort(Number(text))) {
    return success({ kind: "tcp", port: Number(text), path: "" });
  }
  return failed("invalid", `${thing} is "${text}"; expected true or a port in 1..65535`);
}

function parseStreak(thing: string, text: string): Result<number> {
  if (/^\d{1,3}$/.test(text) && Number(text) >= 1 && Number(text) <= STREAK_MAX) return success(Number(text));
  return failed("invalid", `${thing} is "${text}"; expected a whole number in 1..${STREAK_MAX}`);
}
