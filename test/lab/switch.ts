/**
 * Switch: the wire between the hosts, and its faults.
 *
 * A bridge in a network namespace of its own, with a port for each host and one for the machine the tests run on.
 * Not a bridge in the machine's own namespace: there the FORWARD policy of an engine on that machine drops the
 * frames, its firewall and ours would have to be edited, and faults would have to be told apart by address.
 * Here the machine is touched in one place, a link `skl-...` with an address of the lab's range. The name of that
 * link is made from the range, so whoever creates it owns the range: the kernel lets one lab win.
 *
 * Faults happen on the wire, not in the hosts: a host's addresses, routes and rules stay its own and untouched.
 * A cut is a port that goes down (the host sees its carrier go); loss and blocks are rules on bridged frames, ARP
 * included, seen by nobody.
 *
 * Touches: network namespaces, links, nft.
 */

import { join } from "node:path";

import { startCapture, type Capture } from "./capture.ts";
import { mustRun, runCommand } from "./command.ts";
import { openNamespaces } from "./namespaces.ts";
import type { Namespaces } from "./namespaces.ts";
import { startProgram } from "./program.ts";
import { linkAlias } from "./removal.ts";
import { RUN_MARK, type Run } from "./run.ts";

/** A range of 254 addresses, `prefix` being its first three bytes in text. */
export type LabRange = { readonly prefix: string; readonly link: string };

/** Both are hosts' names; what goes from the one to the other. */
export type Direction = { readonly from: string; readonly to: string };

const GATEWAY = 1;
const MACHINE = 2;

// Private ranges that neither Docker's default pools start with nor Skein's own pools contain.
const PARENTS = ["172.30", "172.29", "10.254"];

// A new namespace may inherit the machine's setting, and hosts must not reach beyond the lab.
const INIT = `
hostname switch
ip link set lo up
echo 0 > /proc/sys/net/ipv4/ip_forward`;

type Route = { readonly dst: string };

export class LabSwitch {
  readonly range: LabRange;
  readonly #run: Run;
  readonly #namespaces: Namespaces;
  readonly #losses = new Map<string, number>();
  readonly #lossy = new Map<string, Direction & { readonly percent: number }>();

  /** Use `openSwitch`. */
  constructor(run: Run, range: LabRange, namespaces: Namespaces) {
    this.range = range;
    this.#run = run;
    this.#namespaces = namespaces;
  }

  /** The default gateway of the hosts. It forwards nothing: what would leave the lab ends here. */
  get gateway(): string {
    return `${this.range.prefix}.${GATEWAY}`;
  }

  /** The address of the machine the tests run on, as the hosts see it. */
  get machineAddress(): string {
    return `${this.range.prefix}.${MACHINE}`;
  }

  /** Plugs a host in: interface eth0 with `address` inside, port `name` here. */
  async plug(name: string, host: Namespaces, address: string): Promise<void> {
    await this.#ip([
      `link add ${name} type veth peer name eth0 address ${macOf(address)} netns ${host.pid}`,
      `link set ${name} master br0 up`,
    ]);
    await ipIn(host, [
      `addr add ${address}/24 dev eth0`,
      "link set eth0 up",
      `route add default via ${this.gateway}`,
    ]);
  }

  /** Removes a host's port; needed where a host of that name is to be plugged in again. */
  async unplug(name: string): Promise<void> {
    const { code, stderr } = await runCommand([...networkOf(this.#namespaces), "ip", "link", "del", name]);
    // The kernel may have been faster: an end of the cable goes with the namespace the other one is in.
    if (code !== 0 && !stderr.includes("Cannot find device")) throw new Error(`port ${name}: ${stderr}`);
  }

  /** Pulls a host's cable out, or puts it back. */
  async setCarrier(name: string, carrier: "up" | "down"): Promise<void> {
    await this.#ip([`link set ${name} ${carrier}`]);
  }

  /** Loses `percent` (0..100) of the frames from and to a host, each way. */
  async setLoss(name: string, percent: number): Promise<void> {
    checkPercent(percent);
    if (percent === 0) this.#losses.delete(name);
    else this.#losses.set(name, percent);
    await this.#applyRules();
  }

  /** Loses `percent` (0..100) of the frames that go one way; the way back is left as it is. */
  async lose(percent: number, ways: readonly Direction[]): Promise<void> {
    checkPercent(percent);
    for (const { from, to } of ways) {
      if (percent === 0) this.#lossy.delete(`${from} ${to}`);
      else this.#lossy.set(`${from} ${to}`, { from, to, percent });
    }
    await this.#applyRules();
  }

  /** Captures all that passes between the hosts, until it is stopped. */
  async capture(): Promise<Capture> {
    const { id, folder } = this.#run;
    const given = { mark: { [RUN_MARK]: id }, logPath: join(folder, "wire.log") };
    const start = async (argv: readonly string[]) => await startProgram(this.#namespaces, argv, given);
    return await startCapture(start, { on: "br0", path: join(folder, "wire.pcap") });
  }

  async #applyRules(): Promise<void> {
    const rules = [...this.#lossy.values()].map(
      ({ from, to, percent }) => `iifname "${from}" oifname "${to}" ${chanceOf(percent)}drop`,
    );
    for (const [name, percent] of this.#losses) {
      const drop = `${chanceOf(percent)}drop`;
      rules.push(`iifname "${name}" ${drop}`, `oifname "${name}" ${drop}`);
    }
    const chain = ["type filter hook forward priority 0; policy accept;", ...rules].join("\n");
    // One transaction: the old rules and the new ones are never both absent. nft wants a newline before a brace.
    const input = `table bridge lab\ndelete table bridge lab\ntable bridge lab {\nchain forward {\n${chain}\n}\n}\n`;
    await mustRun([...networkOf(this.#namespaces), "nft", "-f", "-"], { input });
  }

  async #ip(lines: readonly string[]): Promise<void> {
    await ipIn(this.#namespaces, lines);
  }
}

function checkPercent(percent: number): void {
  if (!Number.isInteger(percent) || percent < 0 || percent > 100) {
    throw new Error(`loss is ${percent}; expected a whole number, 0..100`);
  }
}

function chanceOf(percent: number): string {
  return percent === 100 ? "" : `numgen random mod 100 < ${percent} `;
}

/** Opens the switch of a run and claims a free range for it. */
export async function openSwitch(run: Run): Promise<LabSwitch> {
  const namespaces = await openNamespaces(run, { name: "switch", script: INIT });
  const range = await claimRange(run, namespaces);
  await ipIn(namespaces, [
    "link add br0 type bridge stp_state 0 mcast_snooping 0",
    `addr add ${range.prefix}.${GATEWAY}/24 dev br0`,
    "link set br0 up",
    "link set machine master br0 up",
  ]);
  await mustRun(["ip", "link", "set", range.link, "alias", linkAlias(run)]);
  await mustRun(["ip", "addr", "add", `${range.prefix}.${MACHINE}/24`, "dev", range.link]);
  await mustRun(["ip", "link", "set", range.link, "up"]);
  return new LabSwitch(run, range, namespaces);
}

/** Of the address, so that a host that was off comes back with it: else its neighbours talk to its old one for 8 s. */
function macOf(address: string): string {
  const bytes = address.split(".").map((byte) => Number(byte).toString(16).padStart(2, "0"));
  return `02:53:${bytes.join(":")}`;
}

async function claimRange(run: Run, namespaces: Namespaces): Promise<LabRange> {
  const table = await mustRun(["ip", "-4", "-json", "route", "show", "table", "all"]);
  const taken = (JSON.parse(table) as Route[]).map((route) => spanOf(route.dst));
  // Each run begins its search elsewhere, by the end of its id, so that labs opened together seldom meet.
  const start = Buffer.from(run.id.slice(-4)).reduce((sum, byte) => sum * 31 + byte, 0);
  for (const candidate of candidates(start)) {
    const span = spanOf(`${candidate.prefix}.0/24`);
    if (taken.some((other) => overlap(span, other))) continue;
    const add = ["ip", "link", "add", candidate.link, "type", "veth", "peer", "name", "machine"];
    const { code, stderr } = await runCommand([...add, "netns", String(namespaces.pid)]);
    if (code === 0) return candidate;
    if (!stderr.includes("File exists")) throw new Error(`link ${candidate.link} cannot be made: ${stderr}`);
  }
  throw new Error(
    `no free range of 256 addresses in ${PARENTS.map((parent) => `${parent}.0.0/16`).join(", ")}`,
  );
}

function candidates(start: number): LabRange[] {
  return PARENTS.flatMap((parent) =>
    Array.from({ length: 254 }, (_, index) => {
      const third = 1 + ((start + index) % 254);
      return { prefix: `${parent}.${third}`, link: `skl-${parent.split(".")[1] ?? ""}-${third}` };
    }),
  );
}

/** First and last address of a route's destination; the default route claims nothing. */
function spanOf(destination: string): { readonly first: number; readonly last: number } {
  const [address = "", bits = "32"] = destination.split("/");
  const bytes = address.split(".").map(Number);
  if (bytes.length !== 4 || bits === "0") return { first: -1, last: -1 };
  const first = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
  return { first, last: first + 2 ** (32 - Number(bits)) - 1 };
}

function overlap(one: ReturnType<typeof spanOf>, other: ReturnType<typeof spanOf>): boolean {
  return one.first <= other.last && other.first <= one.last;
}

async function ipIn(namespaces: Namespaces, lines: readonly string[]): Promise<void> {
  await mustRun([...networkOf(namespaces), "ip", "-batch", "-"], { input: `${lines.join("\n")}\n` });
}

/** Enters the network alone: "netns <pid>" means a process as seen by who says it, and inside we see no other's. */
function networkOf(namespaces: Namespaces): string[] {
  return ["nsenter", `--target=${namespaces.pid}`, "--net", "--"];
}
