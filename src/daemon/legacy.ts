/**
 * Legacy: what a daemon tells the one that takes over from it.
 *
 * A daemon that starts knows nothing of its host for some hundred milliseconds: Docker has not told yet, and no probe
 * has passed. Nobody minds at a start; at a takeover it would take replicas out that serve. So the old one says what it
 * knows: which replicas there are and where, which of them are ready, and which sockets are its own and may be listened
 * beside. It is good until the new daemon knows better itself.
 *
 * Pure. handover.ts carries it.
 */

import { failed, success, type Result } from "../base/failure.ts";
import type { ReplicaId } from "../model/ids.ts";
import type { ServicePort } from "../model/service.ts";

/** A replica of this host, as far as streams need it. */
export interface LeftEndpoint {
  readonly id: ReplicaId;
  readonly address: string;
  readonly declaration: { readonly ports: readonly Pick<ServicePort, "target" | "protocol">[] };
}

/** What is left to a successor. */
export interface Legacy {
  /** Inodes of all sockets on which the old daemon listens. */
  readonly sockets: readonly string[];
  readonly endpoints: readonly LeftEndpoint[];
  /** Replicas of this host that are ready. */
  readonly ready: readonly ReplicaId[];
}

/** Renders a legacy as one line of text, without a line break. */
export function renderLegacy({ sockets, endpoints, ready }: Legacy): string {
  const lines = endpoints.map(({ id, address, declaration }) => {
    return { id, address, ports: declaration.ports.map(({ target, protocol }) => [target, protocol]) };
  });
  return JSON.stringify({ sockets, endpoints: lines, ready });
}

/** Reads a legacy; `invalid` when it has another shape, as that of another version may. */
export function parseLegacy(text: string): Result<Legacy> {
  const parsed = jsonOf(text);
  const sockets = textsIn(parsed, "sockets");
  const ready = textsIn(parsed, "ready");
  const lines = listIn(parsed, "endpoints");
  if (sockets === null || ready === null || lines === null) return failed("invalid", MISFIT);
  const endpoints = lines.map(endpointOf);
  const known = endpoints.filter((endpoint) => endpoint !== null);
  return known.length === lines.length
    ? success({ sockets, endpoints: known, ready })
    : failed("invalid", MISFIT);
}

const MISFIT = "what the running daemon hands over has another shape; expected that of this version";

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // No JSON: then it has none of the fields.
    return null;
  }
}

function listIn(value: unknown, key: string): readonly unknown[] | null {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return null;
  const list: unknown = (value as Record<string, unknown>)[key];
  return Array.isArray(list) ? list : null;
}

function textsIn(value: unknown, key: string): readonly string[] | null {
  const list = listIn(value, key);
  const texts = list?.filter((one) => typeof one === "string") ?? null;
  return texts === null || texts.length !== list?.length ? null : texts;
}

function endpointOf(line: unknown): LeftEndpoint | null {
  if (typeof line !== "object" || line === null || !("id" in line) || !("address" in line)) return null;
  const { id, address } = line;
  const pairs = listIn(line, "ports");
  if (typeof id !== "string" || typeof address !== "string" || pairs === null) return null;
  const ports = pairs.map(portOf).filter((port) => port !== null);
  return ports.length === pairs.length ? { id, address, declaration: { ports } } : null;
}

function portOf(pair: unknown): Pick<ServicePort, "target" | "protocol"> | null {
  if (!Array.isArray(pair)) return null;
  const [target, protocol] = pair as readonly unknown[];
  if (typeof target !== "number") return null;
  return protocol === "tcp" || protocol === "udp" || protocol === "http" ? { target, protocol } : null;
}
