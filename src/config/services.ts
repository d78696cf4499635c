/**
 * Services: the config's `services:` in the form that the static source takes.
 *
 * Fills in what an entry leaves out: a port's name and target, the checks of the `health` section, the
 * usual way of carrying traffic.
 *
 * Pure.
 */

import type { ProbeTimes } from "../source/probe-plan.ts";
import type { StaticHealth, StaticService } from "../source/static.ts";
import { renderHostPort } from "../base/ip.ts";
import { DEFAULT_DELIVERY, DEFAULT_TRAFFIC, type TrafficPolicy } from "../model/service.ts";
import { orUsual } from "../source/traffic.ts";

import type { Config } from "./schema.ts";

type Entry = Config["services"][number];

/** The `health` section as times of a probe. */
export function probeTimesOf({ health }: Config): ProbeTimes {
  return { intervalMs: health.interval, timeoutMs: health.timeout, rise: health.rise, fall: health.fall };
}

/** Every static service, complete. */
export function staticServicesOf(config: Config): StaticService[] {
  const times = probeTimesOf(config);
  return config.services.map((entry) => ({
    name: entry.name,
    network: entry.network,
    ports: entry.ports.map(({ name, port, target, protocol }) => {
      return { name: name ?? `${protocol}-${port}`, port, target: target ?? port, protocol };
    }),
    replicas: entry.replicas.map((replica) => renderHostPort(replica)),
    publish: entry.publish,
    http: entry.http,
    health: healthOf(entry, times),
    weight: entry.weight,
    passthrough: entry.passthrough,
    traffic: trafficOf(entry),
    delivery: orUsual({ proxyProtocol: entry.proxyProtocol, drainMs: entry.drain }, DEFAULT_DELIVERY),
  }));
}

function trafficOf({ lb, prefer, slowStart, firstByte, udp, source }: Entry): TrafficPolicy {
  const waits = { slowStartMs: slowStart, firstByteMs: firstByte ?? null };
  const said = { balance: lb, prefer, ...waits, udpMode: udp.mode, udpIdleMs: udp.idle ?? null, source };
  return orUsual(said, DEFAULT_TRAFFIC);
}

function healthOf({ health }: Entry, times: ProbeTimes): StaticHealth {
  return {
    kind: health?.http === undefined ? "tcp" : "http",
    path: health?.http ?? "",
    intervalMs: health?.interval ?? times.intervalMs,
    timeoutMs: health?.timeout ?? times.timeoutMs,
    rise: health?.rise ?? times.rise,
    fall: health?.fall ?? times.fall,
  };
}
