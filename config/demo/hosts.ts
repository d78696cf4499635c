/**
 * Hosts: three daemons on three loopback addresses, standing in for three machines.
 *
 * They share one network stack, so only the first listens on VIPs. Each has its own folder, its own ports on its own
 * address, and its own replicas, which the others reach relayed through it, as they would across machines. The first
 * makes the cluster; the others come in with a token of it, in a file, as on real hosts.
 *
 * Touches: child processes, a temporary folder.
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import type { Child, Children } from "./children.ts";

const MAIN = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
const REPLICA = fileURLToPath(new URL("replica.ts", import.meta.url));

/** Ports of every host, each on its own address. */
export const PORTS = { mesh: 7650, admin: 7651, dns: 5300, http: 8080 } as const;
/** The service's own port, on its VIP. */
export const SERVICE_PORT = 8000;

/** One process serving `web`. */
export interface DemoReplica {
  readonly name: string;
  /** Its own loopback address, 127.0.<host>.<number>: DNS lists addresses, not ports. */
  readonly address: string;
  readonly port: number;
  child: Child;
}

/** One machine of the demo. */
export interface DemoHost {
  readonly name: string;
  readonly address: string;
  readonly dir: string;
  readonly replicas: DemoReplica[];
  daemon: Child | null;
}

/** A role in the cluster, which a token gives. */
export type Role = "manager" | "worker";

/** Starts a host: its replicas, whose ports the system chooses, and its daemon, which joins if it is given a token. */
export async function startHost(
  children: Children,
  options: {
    readonly index: number;
    readonly dir: string;
    readonly replicaCount: number;
    readonly token?: string;
  },
): Promise<DemoHost> {
  const address = `127.0.0.${options.index}`;
  const name = `host-${options.index}`;
  const dir = join(options.dir, name);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const replicas: DemoReplica[] = [];
  for (let number = 1; number <= options.replicaCount; number += 1) {
    const replicaName = `web-${(options.index - 1) * options.replicaCount + number}`;
    const replicaAddress = `127.0.${options.index}.${number}`;
    const child = children.start(replicaName, [REPLICA, replicaName, replicaAddress, "0"]);
    const { port } = JSON.parse(await child.firstLine) as { port: number };
    replicas.push({ name: replicaName, address: replicaAddress, port, child });
  }
  const host: DemoHost = { name, address, dir, replicas, daemon: null };
  if (options.token !== undefined) writeToken(tokenFileOf(host), options.token);
  writeFileSync(join(dir, "skein.yaml"), configOf(host));
  startDaemon(children, host);
  return host;
}

/** The token with which others join: what `skein token` prints on this host. */
export async function tokenOf(
  children: Children,
  host: DemoHost,
  role: Role,
  ...flags: string[]
): Promise<string> {
  const where = ["--socket", join(host.dir, "skein.sock")];
  const words = ["token", role, "-q", ...flags];
  const child = children.start(`token of ${host.name}`, [MAIN, ...where, ...words]);
  return await child.firstLine;
}

/** What becomes of `skein join` on a host that nobody knows: its exit status, 5 for a refusal, and what it said. */
export async function tryToJoin(
  children: Children,
  options: { readonly dir: string; readonly token: string },
): Promise<{ readonly code: number; readonly said: string }> {
  const dir = join(options.dir, "stranger");
  const tokenFile = `${dir}.token`;
  writeToken(tokenFile, options.token);
  const where = ["--socket", join(dir, "skein.sock"), "join", `127.0.0.1:${PORTS.mesh}`];
  return await children.run("stranger", [MAIN, ...where, "--token-file", tokenFile, "--data-dir", dir]);
}

/** Members and their roles as a host has them from their certificates. */
export async function rolesSeenBy(host: DemoHost): Promise<ReadonlyMap<string, string>> {
  const response = await fetch(`http://${host.address}:${PORTS.admin}/api/v1/members`);
  const members = (await response.json()) as readonly { readonly name: string; readonly role: string }[];
  return new Map(members.map(({ name, role }) => [name, role]));
}

function tokenFileOf(host: Pick<DemoHost, "dir">): string {
  return join(host.dir, "token");
}

function writeToken(path: string, token: string): void {
  writeFileSync(path, `${token}\n`, { mode: 0o600 });
}

/** Starts, or starts again, the daemon of a host. */
export function startDaemon(children: Children, host: DemoHost): void {
  host.daemon = children.start(host.name, [MAIN, "run", "--config", join(host.dir, "skein.yaml")]);
}

/** Starts a replica again, on the port it had. */
export async function restartReplica(children: Children, replica: DemoReplica): Promise<void> {
  replica.child = children.start(replica.name, [
    REPLICA,
    replica.name,
    replica.address,
    String(replica.port),
  ]);
  await replica.child.firstLine;
}

function configOf(host: DemoHost): string {
  const isFirst = host.address === "127.0.0.1";
  const joins = isFirst ? {} : { join: [`127.0.0.1:${PORTS.mesh}`], tokenFile: tokenFileOf(host) };
  const services = {
    name: "web",
    ports: [{ name: "web", port: SERVICE_PORT, protocol: "http" }],
    replicas: host.replicas.map(({ address, port }) => `${address}:${port}`),
    http: [{ host: "web.example.com" }],
    health: { http: "/healthz" },
  };
  return JSON.stringify({
    node: { name: host.name, dataDir: host.dir },
    mesh: { listen: `${host.address}:${PORTS.mesh}`, ...joins },
    docker: { socket: "off" },
    dns: { listen: [`${host.address}:${PORTS.dns}`], upstream: [] },
    vip: { pool: "127.96.0.0/12", listen: isFirst },
    ingress: { address: host.address, http: PORTS.http },
    admin: { listen: `${host.address}:${PORTS.admin}`, socket: join(host.dir, "skein.sock") },
    log: { format: "text" },
    services: host.replicas.length > 0 ? [services] : [],
  });
}
