/**
 * Services: the config's `services:` in the form that the static source takes.
 *
 * Fills in what an entry leaves out: a port's name and target, the checks of the `health` section.
 *
 * Pure.
 */

import type { ProbeTimes } from "../source/probe-plan.ts";
import type { StaticHealth, StaticService } from "../source/static.ts";
import { renderHostPort } from "../base/ip.ts";

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
  }));
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
