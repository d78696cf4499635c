/**
 * Served host: a stub host whose name server is our daemon, with services to ask for.
 *
 *   web      default  two web replicas that say their names
 *   api      shop     one web replica; the name is in no other network
 *   both     shop, garden: a name that two networks have, and `default` has not
 *   many     default  50 replicas: their addresses fit in no 512 bytes
 *   crowd    default  500 replicas: their addresses fit in no datagram that is safe to send
 *   six      default  one replica, by IPv6 alone
 *   dual     default  one replica by each family
 *
 * Touches: a stub host, a daemon on it.
 */

import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";

import type { Explanation } from "../../src/admin/contract.ts";
import { daemonFor, type ConfigTree, type DaemonUnderTest, type Ending } from "../support/daemons.ts";

import { untilEqual } from "./cluster.ts";
import { openStubHost, type StubHost } from "./stub-host.ts";

export const DOMAIN = "skein.internal";

/** So many replicas has `many`, and so many `crowd`. */
export const MANY = 50;
export const CROWD = 500;

/** What another name server on the host knows; that there is nothing else it knows, too. */
export const FOREIGN = { name: "host.test", address: "203.0.113.7" };

const REPLICA = fileURLToPath(new URL("../lab/replica.mjs", import.meta.url));

/** Takes connections of every address of the host, by both families, and ends them. */
const LISTENER = `require("node:net").createServer((socket) => socket.end()).on("error", (error) => { throw error })
  .listen(9100, "::", () => console.log("listening"))`;

/** A host with names. */
export interface ServedHost {
  readonly host: StubHost;
  readonly daemon: DaemonUnderTest;
  /** The VIP of a service of network `default` unless told. */
  vip(service: string, network?: string): Promise<string>;
  /** Starts a web replica that answers with its name; ends with the host. */
  runReplica(name: string, port: number): Promise<ChildProcess>;
  /** How many queries the daemon has answered so far. */
  queries(): Promise<number>;
  /** Has the daemon serve `web` by these replicas (ports of 127.0.0.1), and waits until it does. */
  serveWeb(...ports: readonly number[]): Promise<void>;
  /** Ends all of it. */
  close(): Promise<void>;
}

/** Opens one with its daemon running and every service ready; `config` is laid over the daemon's. */
export async function openServedHost(config: ConfigTree = {}): Promise<ServedHost> {
  const endings: (() => unknown)[] = [];
  const close = async (): Promise<void> => {
    for (const end of endings.splice(0).toReversed()) await end();
  };
  try {
    return await open({ after: (end: () => unknown) => endings.push(end) }, config, close);
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

async function open(t: Ending, config: ConfigTree, close: () => Promise<void>): Promise<ServedHost> {
  const host = await openStubHost(t);
  const dns = { listen: ["127.0.0.1:53", "[::1]:53"], ...(config["dns"] as ConfigTree | undefined) };
  const daemon = daemonFor(t, {
    name: "host-1",
    address: "127.0.0.1",
    vipPool: "10.96.0.0/12",
    enter: host.enter,
    config: () => ({ ...config, dns: { upstream: [], ...dns }, vip: { pool: "10.96.0.0/12", listen: true } }),
  });
  const servicesOf = (webPorts: readonly number[]): ConfigTree => ({ services: services(webPorts) });
  daemon.configure(servicesOf([9001, 9002]));
  const runReplica: ServedHost["runReplica"] = async (name, port) => {
    const env = { REPLICA_NAME: name, REPLICA_ADDRESS: "127.0.0.1", REPLICA_PORTS: String(port) };
    return await host.start([process.execPath, REPLICA], "listening", env);
  };
  await Promise.all([
    runReplica("web-1", 9001),
    runReplica("web-2", 9002),
    runReplica("api-1", 9003),
    host.start([process.execPath, "--eval", LISTENER], "listening"),
  ]);
  await daemon.start();
  const served: ServedHost = {
    host,
    close,
    daemon,
    runReplica,
    async vip(service, network = "default") {
      const told = (await daemon.get(`/api/v1/explain/${service}?network=${network}`)) as {
        vip: string;
      } | null;
      assert.ok(told !== null, `${network}/${service} is known`);
      return told.vip;
    },
    queries: async () => await daemon.metric("skein_dns_queries_total"),
    async serveWeb(...ports) {
      daemon.configure(servicesOf(ports));
      await daemon.reload();
      await untilReady(daemon, "web", ports.length);
    },
  };
  await untilReady(daemon, "crowd", CROWD);
  await untilReady(daemon, "many", MANY);
  for (const [name, count] of Object.entries({ web: 2, six: 1, dual: 2, "api?network=shop": 1 })) {
    await untilReady(daemon, name, count);
  }
  return served;
}

/** Starts another name server, dnsmasq, on a loopback address of the host. */
export async function startForeign(host: StubHost, address: string): Promise<void> {
  const where = [`--listen-address=${address}`, "--bind-interfaces", "--no-resolv", "--no-hosts"];
  const names = ["--address=/#/", `--host-record=${FOREIGN.name},${FOREIGN.address}`];
  const quiet = ["--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null", "--pid-file="];
  await host.start(["dnsmasq", ...where, ...names, ...quiet], "started");
}

/** The addresses of the replicas of `many` or `crowd`, sorted. */
export function addressesOf(service: string): readonly string[] {
  const [length, second] = service === "many" ? [MANY, 1] : [CROWD, 2];
  const nth = (at: number): string => `127.${second}.${Math.floor(at / 250)}.${1 + (at % 250)}`;
  return Array.from({ length }, (_, at) => nth(at)).toSorted();
}

function services(webPorts: readonly number[]): readonly ConfigTree[] {
  const http = { name: "http", port: 80, protocol: "http" };
  const tcp = { name: "tcp", port: 80 };
  const replicas = (service: string): readonly string[] =>
    addressesOf(service).map((address) => `${address}:9100`);
  const fast = { interval: "100ms" };
  return [
    { name: "web", ports: [http], replicas: webPorts.map((port) => `127.0.0.1:${port}`), health: fast },
    { name: "api", network: "shop", ports: [http], replicas: ["127.0.0.1:9003"] },
    { name: "both", network: "shop", ports: [tcp], replicas: ["127.0.0.1:9003"] },
    { name: "both", network: "garden", ports: [tcp], replicas: ["127.0.0.1:9100"] },
    { name: "many", ports: [tcp], replicas: replicas("many"), health: { interval: "5s" } },
    { name: "crowd", ports: [tcp], replicas: replicas("crowd"), health: { interval: "5s" } },
    { name: "six", ports: [tcp], replicas: ["[::1]:9100"] },
    { name: "dual", ports: [tcp], replicas: ["127.0.0.1:9100", "[::1]:9100"] },
  ];
}

async function untilReady(daemon: DaemonUnderTest, path: string, count: number): Promise<void> {
  const look = async (): Promise<readonly string[]> => {
    const told = (await daemon.get(`/api/v1/explain/${path}`)) as Explanation | null;
    return [String(told?.replicas.filter(({ eligible }) => eligible).length ?? 0)];
  };
  await untilEqual(`ready replicas of ${path}`, [String(count)], look);
}
