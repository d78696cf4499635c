/**
 * Web cluster: a cluster of three real Docker hosts with one service to be harmed, for tests of faults.
 *
 * The service is `web`, replicas web-1, web-2, web-3, one a host, on an HTTP port. Whatever fails, clients ask all
 * the time and no request of theirs may fail: what they are answered, and by whom, is what is tested. A test that
 * breaks something mends it.
 *
 * Touches: a lab of three hosts.
 */

import assert from "node:assert/strict";

import { duringAll, type LabClient } from "./lab-client.ts";
import { openCluster, type ClusterOptions, type SkeinCluster, type SkeinNode } from "./skein.ts";
import { until } from "../support/wait.ts";

export const WEB = ["web-1", "web-2", "web-3"];

/** Of every service in these tests. */
export const LABELS = { "skein.port": "80:8080/http" };

/** What a member that fails may cost at most, from the fault on; the promise of the design. */
export const NOTICED_MS = 3000;

/** Within which all is as before, from when a fault has ended. */
export const HEALED_MS = 2000;

/** A port on which replicas listen besides, unknown to the daemon: whoever uses it asked the replica itself. */
export const DIRECT_PORT = 9090;

/** A load of `perSecond` requests a second from each client. */
export interface Load {
  readonly perSecond: number;
  readonly keepsConnections?: boolean;
}

/** A way in which a name was answered, and by which client. */
export interface Answered {
  readonly client: string;
  readonly name: string;
  readonly answer: string;
}

/** The cluster and its service. */
export class WebCluster {
  readonly cluster: SkeinCluster;
  readonly vip: string;

  /** Use `openWebCluster`. */
  constructor(cluster: SkeinCluster, vip: string) {
    this.cluster = cluster;
    this.vip = vip;
  }

  get nodes(): readonly SkeinNode[] {
    return this.cluster.nodes;
  }

  node(nth: number): SkeinNode {
    return this.cluster.node(nth);
  }

  /**
   * Runs `action` while clients on `nodes` ask for the service by name; none of their requests may fail. The first has
   * a connection for each request, the others keep theirs.
   */
  async unharmed(
    nodes: readonly SkeinNode[],
    action: () => Promise<void>,
    load: Load = { perSecond: 50 },
  ): Promise<void> {
    const sendings = nodes.map(({ client }, index) => {
      const kept = index === 0 ? {} : { keepsConnections: true };
      return { client, load: { url: "http://web/", ...load, ...kept } };
    });
    for (const [index, tally] of (await duringAll(sendings, action)).entries()) {
      assert.deepEqual(tally.failures, [], `asked from ${nodes[index]?.name}: ${JSON.stringify(tally)}`);
    }
  }

  /** Waits until only these are told of by `tasks.web` and take traffic, on each of `nodes`. */
  async untilOnly(
    replicas: readonly string[],
    nodes: readonly SkeinNode[],
    deadlineMs: number,
  ): Promise<void> {
    await this.cluster.untilEligible("web", replicas, { nodes, deadlineMs });
    const explained = await nodes[0]?.explain("web");
    const addresses = (explained?.replicas ?? [])
      .filter(({ name }) => replicas.includes(name))
      .map(({ address }) => address)
      .toSorted();
    for (const { name: where, process, client } of nodes) {
      assert.deepEqual((await process.resolve("tasks.web")).addresses, addresses, `by DNS of ${where}`);
      assert.deepEqual((await client.resolve("web")).addresses, [this.vip], `by DNS in ${where}`);
      const { failures, countByName } = await process.get(`http://${this.vip}/`, 4);
      assert.deepEqual(failures, []);
      const strangers = Object.keys(countByName).filter((name) => !replicas.includes(name));
      assert.deepEqual(strangers, [], `who answers on ${where}`);
    }
  }

  /** Why a replica of the service is in or out, as a node tells it. */
  async reasonOf(node: SkeinNode, replica: string): Promise<string> {
    const replicas = (await node.explain("web"))?.replicas ?? [];
    return replicas.find(({ name }) => name === replica)?.reason ?? "not there";
  }

  /** Waits until a node holds another one, by name, for something. */
  async untilHeld(
    node: SkeinNode,
    other: SkeinNode,
    wanted: { readonly state?: string; readonly via?: string | null },
    deadlineMs: number = NOTICED_MS,
  ): Promise<void> {
    const isHeld = async (): Promise<boolean> => {
      const { state, via } = (await node.members()).find(({ name }) => name === other.name) ?? {};
      if (Object.entries(wanted).every(([key, value]) => ({ state, via })[key as "state" | "via"] === value))
        return true;
      throw new Error(`it is ${state}, via ${via}`);
    };
    const what = `${other.name} is ${JSON.stringify(wanted)} to ${node.name}`;
    await until(isHeld, { what, deadlineMs, everyMs: 20 });
  }

  /**
   * Runs `action`, which must not start a daemon anew.
   *
   * @returns whom each node declared dead meanwhile, as `h1: h3`, sorted
   */
  async deathsDuring(action: () => Promise<void>): Promise<readonly string[]> {
    const lastIds = await Promise.all(this.nodes.map(async (node) => (await node.events()).at(-1)?.id ?? 0));
    await action();
    const told = this.nodes.map(async (node, index) => {
      const events = await node.events();
      const dead = events.filter(({ id, kind }) => id > (lastIds[index] ?? 0) && kind === "member.dead");
      return dead.map(({ subject }) => `${node.name}: ${subject}`);
    });
    return (await Promise.all(told)).flat().toSorted();
  }

  /**
   * Starts a service with a replica on each of the hosts in `onHosts` and waits until all send traffic to them.
   *
   * @returns its VIP
   */
  async runService(name: string, onHosts: readonly number[], network = "default"): Promise<string> {
    const labels = { ...LABELS, "skein.network": network };
    const key = `${network}/${name}`;
    await this.cluster.untilEligible(key, await this.cluster.runReplicas(name, onHosts, labels));
    const vip = (await this.node(1).explain(key))?.vip ?? "";
    assert.notEqual(vip, "", `${key} has an address`);
    return vip;
  }
}

/** Opens a lab of three hosts, starts the daemons, and the service. */
export async function openWebCluster(options: ClusterOptions = {}): Promise<WebCluster> {
  const cluster = await openCluster(options);
  try {
    await cluster.runReplicas("web", [1, 2, 3], LABELS, `--env=REPLICA_PORTS=8080,${DIRECT_PORT}`);
    await cluster.untilEligible("web", WEB);
    const vip = (await cluster.node(1).explain("web"))?.vip ?? "";
    assert.notEqual(vip, "");
    return new WebCluster(cluster, vip);
  } catch (error) {
    const logs = cluster.lab.logs();
    await cluster.close();
    throw new Error(`no service: ${logs}`, { cause: error });
  }
}

/**
 * Runs `action` while each client asks for each name all the time.
 *
 * @returns the answers other than those expected, with who had them; empty when all is well
 */
export async function strayAnswers(
  clients: ReadonlyMap<string, LabClient>,
  expectedByName: Readonly<Record<string, string>>,
  action: () => Promise<void>,
): Promise<readonly Answered[]> {
  const [first, ...others] = clients;
  if (first === undefined) {
    await action();
    return [];
  }
  const [client, asking] = first;
  let found: readonly Answered[] = [];
  const seen = await asking.watching(Object.keys(expectedByName), async () => {
    found = await strayAnswers(new Map(others), expectedByName, action);
  });
  for (const name of Object.keys(expectedByName))
    assert.ok(
      seen.some((one) => one.name === name && one.answer === expectedByName[name]),
      `${client} saw ${name} as ${expectedByName[name]}: ${JSON.stringify(seen)}`,
    );
  const strays = seen.filter(({ name, answer }) => answer !== expectedByName[name]);
  return [...strays.map((stray) => ({ client, ...stray })), ...found];
}

/** The clients of nodes, in containers and on hosts, by where they are. */
export function clientsOf(nodes: readonly SkeinNode[]): ReadonlyMap<string, LabClient> {
  return new Map(
    nodes.flatMap(({ name, client, process }) => [
      [`a container of ${name}`, client],
      [`a process of ${name}`, process],
    ]),
  );
}
