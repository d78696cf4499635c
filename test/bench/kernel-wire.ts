/**
 * Kernel-wire: two hosts in network namespaces, a wire between them, and two containers on each.
 *
 * One container is on the bridge of an overlay network of ours. The other is on a bridge whose VXLAN device, routes and
 * neighbours are made by hand, as an administrator would who does nothing else: what ours is measured beside. There is
 * no engine: a container is its network namespace, which is all of it that carries traffic.
 *
 * All ends with the bench, by the kernel (lab/namespaces.ts).
 *
 * Touches: network namespaces, links, child processes.
 */

import { execFile, spawn, type ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import type { Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { bridgeDevice } from "../../src/kernel/names.ts";
import { labEnvironment, mustRun } from "../lab/command.ts";
import { guardExit } from "../lab/guard.ts";
import { openNamespaces, type Namespaces } from "../lab/namespaces.ts";
import { removeRun, removeRunNow } from "../lab/removal.ts";
import { claimRun, newRunId, RUN_MARK, type Run } from "../lab/run.ts";
import { openSwitch } from "../lab/switch.ts";

import type { HostOrder, Obeyed } from "./kernel-host.ts";
import { addressOf, LOADED_REPLICAS, NETWORK, type Standpoint } from "./kernel-view.ts";

const run = promisify(execFile);

const HOST_PROGRAM = fileURLToPath(new URL("kernel-host.ts", import.meta.url));
const UNDERLAY_MTU = 1500;
const VXLAN_BYTES = 50;

/** The two containers of a host: on our network, and on the one made by hand. */
export type Box = "ours" | "hand";

/** Its own mounts: `ip netns` keeps names below /run, which would be the machine's. */
const INIT = `
mount -t tmpfs tmpfs /run
hostname "$1"
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward`;

/** The program that makes rules and links: where orders go, and where its answers come from, a line each. */
interface HostProgram {
  readonly stdin: Writable;
  readonly answers: AsyncIterator<string, unknown>;
}

/** A host of the bench. */
export class WireHost {
  readonly nth: number;
  readonly address: string;
  readonly namespaces: Namespaces;
  readonly #run: Run;
  #program: HostProgram | null = null;

  constructor(of: { nth: number; address: string; namespaces: Namespaces; run: Run }) {
    this.nth = of.nth;
    this.address = of.address;
    this.namespaces = of.namespaces;
    this.#run = of.run;
  }

  /** The words before a command that is to run on the host, or in a container of it. */
  enter(box: Box | null = null): readonly string[] {
    const inside = box === null ? [] : ["ip", "netns", "exec", box];
    return [...this.namespaces.enter(), ...inside];
  }

  /** Runs a program there to its end: what it said. */
  async run(argv: readonly string[], box: Box | null = null): Promise<string> {
    return await mustRun([...this.enter(box), ...argv], { env: this.#mark, timeoutMs: 120_000 });
  }

  /** Starts a program there that goes on running until the wire is closed. */
  start(argv: readonly string[], box: Box | null = null): ChildProcess {
    const [program = "", ...words] = [...this.enter(box), ...argv];
    return spawn(program, words, { stdio: "ignore", env: labEnvironment(this.#mark) });
  }

  /** Starts the program that makes rules and links there. */
  startProgram(standpoint: Standpoint): void {
    const [program = "", ...words] = this.enter();
    const argv = [...words, process.execPath, HOST_PROGRAM, JSON.stringify(standpoint)];
    const env = labEnvironment(this.#mark);
    const { stdin, stdout } = spawn(program, argv, { stdio: ["pipe", "pipe", "inherit"], env });
    this.#program = { stdin, answers: createInterface({ input: stdout })[Symbol.asyncIterator]() };
  }

  /** Has the program do something. @throws when it could not, or had to leave something undone */
  async order(order: HostOrder): Promise<Obeyed> {
    const program = this.#program;
    if (program === null) throw new Error(`h${this.nth} has no program`);
    program.stdin.write(`${JSON.stringify(order)}\n`);
    const { done, value: line } = await program.answers.next();
    if (done === true) throw new Error(`h${this.nth}: its program ended at ${order.kind}`);
    const answer = JSON.parse(line) as Obeyed | { readonly failed: string };
    if ("failed" in answer) throw new Error(`h${this.nth}, ${order.kind}: ${answer.failed}`);
    const { problems } = answer.applied;
    if (problems.length > 0) throw new Error(`h${this.nth}, ${order.kind}: ${problems.join("; ")}`);
    return answer;
  }

  /** Forgets all connections, so that no load pays for the one before it. */
  async forgetConnections(): Promise<void> {
    await run("nsenter", [...this.namespaces.enter().slice(1), "conntrack", "-F"]);
  }

  get #mark(): Record<string, string> {
    return { [RUN_MARK]: this.#run.id };
  }
}

/** What is between them, and both of them. */
export interface Wire {
  readonly hosts: readonly [WireHost, WireHost];
  close(): Promise<void>;
}

/** Opens both hosts, with their containers; the overlay of ours is for `order("links")` to make. */
export async function openWire(): Promise<Wire> {
  const claimed = claimRun(newRunId());
  const callOff = guardExit(() => removeRunNow(claimed));
  const close = async (): Promise<void> => {
    await removeRun(claimed);
    callOff();
  };
  try {
    const wire = await openSwitch(claimed);
    const open = async (nth: number): Promise<WireHost> => {
      const name = `h${nth}`;
      const namespaces = await openNamespaces(claimed, { name, script: INIT, args: [name] });
      const address = `${wire.range.prefix}.${10 + nth}`;
      await wire.plug(name, namespaces, address);
      return new WireHost({ nth, address, namespaces, run: claimed });
    };
    const hosts = [await open(1), await open(2)] as const;
    const underlay = hosts.map(({ address }) => address);
    for (const host of hosts) {
      await makeBoxes(host, underlay);
      host.startProgram({ nth: host.nth, underlay, device: "eth0", mtu: UNDERLAY_MTU });
    }
    return { hosts, close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

/** The address of a container; of those of the loaded service the first. */
export function boxAddress(nth: number, box: Box): string {
  return box === "ours" ? addressOf(nth, 2) : `10.250.${nth}.2`;
}

async function makeBoxes(host: WireHost, underlay: readonly string[]): Promise<void> {
  const { nth, address } = host;
  const mtu = UNDERLAY_MTU - VXLAN_BYTES;
  const bridge = bridgeDevice(NETWORK);
  const lines = [
    ...boxLines({ box: "ours", bridge, gateway: `${addressOf(nth, 1)}/20`, mtu }),
    ...boxLines({ box: "hand", bridge: "br-hand", gateway: `10.250.${nth}.1/24`, mtu }),
    `link add vx-hand type vxlan id 99 dstport 4789 local ${address} dev eth0 nolearning`,
    `link set vx-hand mtu ${mtu} address ${handMac(nth)} up`,
    `addr add 10.250.${nth}.0/32 dev vx-hand`,
  ];
  const other = 3 - nth;
  const towards = [
    `route add 10.250.${other}.0/24 via 10.250.${other}.0 dev vx-hand onlink`,
    `neigh add 10.250.${other}.0 lladdr ${handMac(other)} nud permanent dev vx-hand`,
  ];
  for (const line of [...lines, ...towards]) await host.run(["ip", ...line.split(" ")]);
  const far = underlay[other - 1] ?? "";
  await host.run(["bridge", "fdb", "append", handMac(other), "dev", "vx-hand", "dst", far]);
  for (const box of ["ours", "hand"] as const) await furnish(host, box);
}

function boxLines(of: { box: Box; bridge: string; gateway: string; mtu: number }): readonly string[] {
  const { box, bridge, gateway, mtu } = of;
  return [
    `netns add ${box}`,
    `link add ${bridge} type bridge`,
    `addr add ${gateway} dev ${bridge}`,
    `link set ${bridge} mtu ${mtu} up`,
    `link add v-${box} mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${box}`,
    `link set v-${box} master ${bridge} up`,
  ];
}

async function furnish(host: WireHost, box: Box): Promise<void> {
  const [bits, count] = box === "ours" ? [20, LOADED_REPLICAS] : [24, 1];
  const first = boxAddress(host.nth, box);
  const stem = first.slice(0, first.lastIndexOf(".") + 1);
  const lines = [
    "link set lo up",
    ...Array.from({ length: count }, (_, at) => `addr add ${stem}${2 + at}/${bits} dev eth0`),
    "link set eth0 up",
    `route add default via ${stem}1`,
  ];
  for (const line of lines) await host.run(["ip", ...line.split(" ")], box);
}

function handMac(nth: number): string {
  return `02:00:00:00:99:0${nth}`;
}
