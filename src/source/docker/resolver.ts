/**
 * Resolver: whom does a container ask for names?
 *
 * Docker writes each container a resolv.conf. On the default bridge it names the servers themselves: those of `--dns`,
 * else of daemon.json, else of the host without its loopback ones. On any other network it names Docker's own server,
 * 127.0.0.11, which asks those in turn; since Docker 26 the file then lists them in a comment (`ExtServers`), where
 * `host(...)` is a server that is asked from the host's network stack. An inspection tells of `--dns` only; so where
 * that says nothing the file is the one witness of daemon.json, and without it, or that line of it, the answer is
 * "unknown", not a guess.
 *
 * Pure. watch.ts reads the file, or has the engine do so; whether that leads to this daemon is for the
 * doctor to say (admin/doctor.ts).
 */

import { isIpv4, isIpv6 } from "../../base/ip.ts";
import { nameserversOf } from "../../base/nameservers.ts";
import type { HeldAddress, NamePath, NameServer } from "../../model/endpoint.ts";

import type { ContainerFacts } from "./facts.ts";

/** Where Docker's own server listens in a container. */
const EMBEDDED = "127.0.0.11";

/** Network modes of the default bridge, old and new. */
const DEFAULT_BRIDGE: ReadonlySet<string> = new Set(["bridge", "default", ""]);

/** What an inspection of the container does not tell. */
export interface KnownOfPath {
  /** Text of its resolv.conf; null when it could not be read. */
  readonly conf: string | null;
  /** Its owner's. */
  readonly isolated: boolean;
  /** The owner's addresses, and since when this container could ask from them. */
  readonly held: readonly HeldAddress[];
}

/**
 * How a container asks for names.
 *
 * @param owner  the container whose network stack and resolv.conf it has: itself, but for `--network container:...`
 * @returns null for one that was only listed
 */
export function namePathOf(
  { name }: ContainerFacts,
  owner: ContainerFacts,
  { conf, isolated, held }: KnownOfPath,
): NamePath | null {
  const { resolver, networkMode } = owner;
  if (resolver === null) return null;
  const stack = networkMode === "host" || networkMode === "none" ? networkMode : "own";
  const servers = resolver.servers.map((address): NameServer => ({ address, fromHost: stack === "host" }));
  const told = { embedded: stack === "own" && !DEFAULT_BRIDGE.has(networkMode), servers };
  const read = conf === null ? { ...told, servers: null } : readConf(conf, stack === "host");
  return {
    name,
    addresses: stack === "own" ? held : [],
    gateways: resolver.gateways,
    stack,
    isolated: stack === "own" && isolated,
    embedded: read.embedded,
    servers: read.servers ?? (servers.length === 0 ? null : servers),
  };
}

/** What a resolv.conf says; `servers` is null where it only says "Docker's own". */
function readConf(
  conf: string,
  fromHost: boolean,
): { readonly embedded: boolean; readonly servers: readonly NameServer[] | null } {
  const lines = conf.split("\n");
  const named = nameserversOf(conf);
  if (!named.includes(EMBEDDED)) {
    return { embedded: false, servers: named.map((address) => ({ address, fromHost })) };
  }
  const behind = lines.flatMap((line) => /^#\s*ExtServers:\s*\[(.*)\]/.exec(line)?.[1] ?? [])[0];
  const hasNone = lines.some((line) => line.startsWith("# NO EXTERNAL NAMESERVERS"));
  if (hasNone) return { embedded: true, servers: [] };
  return { embedded: true, servers: behind?.split(/\s+/).flatMap(behindOne) ?? null };
}

/** `192.0.2.1` or `host(127.0.0.53)`. */
function behindOne(text: string): readonly NameServer[] {
  const onHost = /^host\((.*)\)$/.exec(text)?.[1];
  const address = onHost ?? text;
  return isAddress(address) ? [{ address, fromHost: onHost !== undefined }] : [];
}

function isAddress(text: string): boolean {
  return isIpv4(text) || isIpv6(text);
}

/** The container that this process runs in, of the text of /proc/self/mountinfo (proc(5)); null where it is in none. */
export function ownContainerIn(mounts: string): string | null {
  // The engine mounts the files that it writes for a container, resolv.conf among them.
  return /\/containers\/([0-9a-f]{64})\//.exec(mounts)?.[1] ?? null;
}
