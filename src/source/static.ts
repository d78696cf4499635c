/**
 * Static: services that the config file declares, for processes that are not containers.
 *
 * Each address is one replica. Its id is a hash of node, network, service and address, so it survives restarts and
 * reordering of the file, and two hosts that declare the same loopback address stay apart. The whole set is made anew
 * on each load; only the time of its declaration is carried over from the previous set for what did not change, since
 * that orders declarations across the cluster. Nobody tells us when such a process is started, so a reload starts none:
 * a copy that serves goes on serving, whatever the file now says of its service.
 *
 * Pure. src/config validates the file; whatever it lets through that cannot be served is a problem here, not a crash.
 */

import { base32, sha256 } from "../base/bytes.ts";
import { isIpv4, isIpv6, isLoopback, parseHostPort, renderHostPort, type HostPort } from "../base/ip.ts";
import type { Discovered, Discovery, HealthSource, Problem } from "../model/endpoint.ts";
import { serviceKey, type NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import {
  EMPTY_DECLARATION,
  type Delivery,
  type HttpRoute,
  type PublishedPort,
  type ServiceDeclaration,
  type ServicePort,
  type TrafficPolicy,
} from "../model/service.ts";

import { defaultHealth, firstTcpPort, pickTimes, type ProbeTimes } from "./probe-plan.ts";
import { boundProblems, problem } from "./problem.ts";

/** How a static service is checked. Times in milliseconds, filled from the config's `health` section. */
export interface StaticHealth extends ProbeTimes {
  /** `http` asks for `path`; `tcp` connects. Both to the replica's first TCP port. */
  readonly kind: "tcp" | "http";
  /** Request path; empty for `tcp`. */
  readonly path: string;
}

/** One entry of `services:`, validated and with its defaults filled in. */
export interface StaticService {
  readonly name: string;
  readonly network: string;
  readonly ports: readonly ServicePort[];
  /** `ip:port`; the port is where this replica listens for the first of `ports`. */
  readonly replicas: readonly string[];
  readonly publish: readonly PublishedPort[];
  readonly http: readonly HttpRoute[];
  readonly health: StaticHealth;
  /** Of each replica; 0 takes no new traffic. */
  readonly weight: number;
  readonly passthrough: readonly string[];
  readonly traffic: TrafficPolicy;
  readonly delivery: Delivery;
}

/** What else the set depends on. */
export interface StaticOptions {
  readonly nodeId: NodeId;
  /** When this config was loaded, Unix milliseconds: since then what is new or changed in it is declared. */
  readonly loadedAtMs: number;
  /** The set made from the config before, whose unchanged endpoints keep their time; null at first. */
  readonly previous: Discovery | null;
}

/** Makes the whole set of static endpoints, sorted by id. */
export function discoverStatic(services: readonly StaticService[], options: StaticOptions): Discovery {
  const problems: Problem[] = [];
  const endpointById = new Map<string, Discovered>();
  const previousById = new Map(options.previous?.endpoints.map((endpoint) => [endpoint.id, endpoint]));
  const countByKey = new Map<string, number>();

  for (const service of services) {
    const key = serviceKey(service.network, service.name);
    for (const text of service.replicas) {
      const where = replicaAddress(service, text);
      if (typeof where === "string") {
        problems.push(problem(`service ${service.name}`, where));
        continue;
      }
      const count = (countByKey.get(key) ?? 0) + 1;
      const made = endpointOf(service, where, count, options);
      if (endpointById.has(made.id)) {
        problems.push(problem(`service ${service.name}`, `replica "${text}" is declared twice; once counts`));
        continue;
      }
      countByKey.set(key, count);
      endpointById.set(made.id, keepTime(made, previousById.get(made.id)));
    }
  }

  return {
    source: "static",
    endpoints: [...endpointById.values()].toSorted((one, other) => (one.id < other.id ? -1 : 1)),
    clients: [],
    problems: boundProblems(problems, LIMITS.problemsPerSource),
    stale: null,
  };
}

/** Where a replica is; or why it cannot be served. */
function replicaAddress(service: StaticService, text: string): HostPort | string {
  const parsed = parseHostPort(text, service.ports[0]?.target);
  if (!parsed.ok) return `replica "${text}" cannot be used: ${parsed.failure.message}`;
  // Not a host name: records hold addresses, and a name would mean different things on different hosts.
  if (isIpv4(parsed.value.host) || isIpv6(parsed.value.host)) return parsed.value;
  return `replica is "${text}"; expected an IP address and a port`;
}

function endpointOf(
  service: StaticService,
  where: HostPort,
  count: number,
  options: StaticOptions,
): Discovered {
  const address = renderHostPort(where);
  const identity = [options.nodeId, service.network, service.name, address].join("\n");
  const declaration = declarationOf(service, where.port);
  const suffix = `-${count}`;
  return {
    id: `${service.name}-${base32(sha256(identity)).slice(0, 8)}`,
    // Cut in front of the number: a replica's name is one DNS label, whatever the length of its service's.
    name: service.name.slice(0, LIMITS.labelBytes - suffix.length) + suffix,
    slot: null,
    network: service.network,
    service: service.name,
    stack: null,
    address: where.host,
    reach: isLoopback(where.host) ? "stream" : "direct",
    declaration,
    weight: service.weight,
    delivery: service.delivery,
    startedAtMs: 0,
    // Whole: a record's times are whole numbers, the clock's are not.
    declaredAtMs: Math.floor(options.loadedAtMs),
    lifecycle: "running",
    health: healthOf(service.health, declaration.ports),
  };
}

function declarationOf(service: StaticService, replicaPort: number): ServiceDeclaration {
  const [first, ...others] = service.ports;
  const ports: readonly ServicePort[] =
    first === undefined
      ? [{ name: "web", port: replicaPort, target: replicaPort, protocol: "tcp" }]
      : [{ ...first, target: replicaPort }, ...others];
  const { publish, http, passthrough, traffic } = service;
  return { ...EMPTY_DECLARATION, ports, publish, http, passthrough, traffic };
}

function healthOf(health: StaticHealth, ports: readonly ServicePort[]): HealthSource {
  const first = firstTcpPort(ports);
  if (health.kind === "tcp" || first === null) return defaultHealth(ports, health);
  return {
    kind: "probe",
    probe: { kind: "http", port: first.target, path: health.path, ...pickTimes(health) },
  };
}

/** What is declared as before is as old as before: no reload puts it in front of what another host declared since. */
function keepTime(made: Discovered, previous: Discovered | undefined): Discovered {
  if (previous === undefined) return made;
  const isSame = JSON.stringify(previous.declaration) === JSON.stringify(made.declaration);
  return isSame ? { ...made, declaredAtMs: previous.declaredAtMs } : made;
}
