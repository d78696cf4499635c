// A host in network namespaces: its own, containers on an overlay network's bridge and on an ordinary one, a LAN.

import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { TestContext } from "node:test";

import { openConntrack, type Flows } from "../../../src/kernel/rules/conntrack.ts";
import { openNft, readCounters } from "../../../src/kernel/rules/nft.ts";
import { openRules, type RulesPart } from "../../../src/kernel/rules/rules.ts";
import { run } from "../../../src/runtime/exec.ts";
import { until } from "../../support/wait.ts";

const TELLER = join(import.meta.dirname, "teller.mjs");
const DEADLINE = { deadlineMs: 20_000 };

/** Whoever may have an address in the test: the host, two on network app, two on an ordinary bridge, one on the LAN. */
export type Place = "host" | "app2" | "app3" | "plain2" | "plain3" | "lan";

/** Whom to ask, and how. */
export interface Asked {
  readonly protocol?: "tcp" | "udp";
  readonly address: string;
  readonly port: number;
  readonly ownPort?: number;
  /** No answer is expected: not waited for as long. */
  readonly isSilent?: boolean;
}

interface Wire {
  readonly place: Place;
  readonly bridge: "sk-app" | "br-plain" | null;
  readonly address: string;
  readonly gateway: string;
  readonly address6?: string;
  readonly gateway6?: string;
}

/** The LAN has addresses of the documentation (RFC 5737); the host is .1 everywhere. */
const WIRES: readonly Wire[] = [
  wire("app2", "sk-app", "10.160.1", 2, "fd12:3456:789a:10a0:1"),
  wire("app3", "sk-app", "10.160.1", 3, "fd12:3456:789a:10a0:1"),
  wire("plain2", "br-plain", "172.30.0", 2),
  wire("plain3", "br-plain", "172.30.0", 3),
  wire("lan", null, "198.51.100", 2, "2001:db8"),
];

function wire(
  place: Place,
  bridge: Wire["bridge"],
  prefix: string,
  ...[last, prefix6]: readonly [number, string?]
): Wire {
  const six = prefix6 === undefined ? {} : { address6: `${prefix6}::${last}`, gateway6: `${prefix6}::1` };
  return { place, bridge, address: `${prefix}.${last}`, gateway: `${prefix}.1`, ...six };
}

/** A host that is there. */
export class Host {
  readonly rules: RulesPart;
  readonly flows: Flows;
  readonly #prefix: string;
  readonly #servers: ChildProcess[] = [];

  private constructor(prefix: string) {
    this.#prefix = prefix;
    const within = ["ip", "netns", "exec", this.#name("host")];
    this.flows = openConntrack([...within, "conntrack"]);
    this.rules = openRules({ kernel: openNft([...within, "nft"]), flows: this.flows });
  }

  /** Makes it; taken away when the test ends. */
  static async open(t: TestContext): Promise<Host> {
    const host = new Host(`skr${process.pid}`);
    t.after(() => host.#close());
    await host.#build();
    return host;
  }

  /** Starts a server for TCP and UDP that answers `<name> <client's address>`. */
  async serve(place: Place, port: number, name: string = place): Promise<void> {
    const args = ["netns", "exec", this.#name(place), process.execPath, TELLER, "serve", name, String(port)];
    const child = spawn("ip", args, { stdio: ["ignore", "pipe", "inherit"] });
    this.#servers.push(child);
    assert.ok(child.stdout !== null);
    await Promise.race([once(child.stdout, "data"), once(child, "exit")]);
    assert.equal(child.exitCode, null, `${name} serves`);
  }

  /** Asks so many times, one after the other; from one and the same port where one is given (UDP). */
  async ask(place: Place, to: Asked, count = 1): Promise<readonly string[]> {
    const waitMs = to.isSilent === true ? 300 : 10_000;
    const asked = [to.protocol ?? "tcp", to.address, to.port, count, to.ownPort ?? 0, waitMs].map(String);
    const { stdout } = await this.in(place, process.execPath, TELLER, "ask", ...asked);
    return JSON.parse(stdout) as readonly string[];
  }

  /** What the rules have counted. */
  counters(): Promise<ReadonlyMap<string, number>> {
    return readCounters(["ip", "netns", "exec", this.#name("host"), "nft"]);
  }

  /** Runs a program in a place; it must succeed. */
  async in(place: Place, program: string, ...args: readonly string[]): Promise<{ readonly stdout: string }> {
    const ran = await run("ip", ["netns", "exec", this.#name(place), program, ...args], DEADLINE);
    assert.equal(ran.status, 0, `${program} ${args.join(" ")}: ${ran.stderr}`);
    return ran;
  }

  /** Another wire from the host to a place, with an address at either end. */
  async join(place: Place, device: string, near: string, far: string): Promise<void> {
    const peer = ["peer", "name", device, "netns", this.#name(place)];
    await this.in("host", "ip", "link", "add", device, "type", "veth", ...peer);
    for (const [end, address] of [
      ["host", near],
      [place, far],
    ] as const) {
      const isSix = address.includes(":");
      await this.in(end, "ip", "link", "set", device, "up");
      await this.in(end, "ip", "addr", "add", address, "dev", device, ...(isSix ? ["nodad"] : []));
    }
  }

  /** Whether packets within a bridge meet the rules too, as Docker may have it. @returns false where they never do */
  async filterBridges(isFiltered: boolean): Promise<boolean> {
    const setting = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    const text = isFiltered ? "1" : "0";
    const args = [
      "netns",
      "exec",
      this.#name("host"),
      "sh",
      "-c",
      `[ -e ${setting} ] && echo ${text} >${setting}`,
    ];
    const { status } = await run("ip", args, DEADLINE);
    return status === 0 || !isFiltered;
  }

  #name(place: Place): string {
    return `${this.#prefix}-${place}`;
  }

  async #build(): Promise<void> {
    for (const place of ["host", ...WIRES.map((each) => each.place)] as const) {
      await run("ip", ["netns", "add", this.#name(place)], DEADLINE);
      await this.in(place, "ip", "link", "set", "lo", "up");
    }
    await this.in("host", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
    await this.in("host", "ip", "route", "add", "local", "10.96.0.0/12", "dev", "lo");
    await this.in("host", "ip", "-6", "route", "add", "local", "fd12:3456:789a::/64", "dev", "lo");
    for (const bridge of ["sk-app", "br-plain"]) {
      await this.in("host", "ip", "link", "add", bridge, "type", "bridge");
      await this.in("host", "ip", "link", "set", bridge, "up");
    }
    for (const each of WIRES) await this.#connect(each);
  }

  async #connect({ place, bridge, address, gateway, address6, gateway6 }: Wire): Promise<void> {
    const device = `v-${place}`;
    const peer = this.#name(place);
    await this.in("host", "ip", "link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", peer);
    await this.in("host", "ip", "link", "set", device, "up");
    if (bridge !== null) await this.in("host", "ip", "link", "set", device, "master", bridge);
    await this.in("host", "ip", "addr", "replace", `${gateway}/24`, "dev", bridge ?? device);
    await this.in(place, "ip", "addr", "add", `${address}/24`, "dev", "eth0");
    await this.in(place, "ip", "link", "set", "eth0", "up");
    await this.in(place, "ip", "route", "add", "default", "via", gateway);
    if (address6 === undefined || gateway6 === undefined) return;
    await this.in("host", "ip", "addr", "replace", `${gateway6}/80`, "dev", bridge ?? device, "nodad");
    await this.in(place, "ip", "addr", "add", `${address6}/80`, "dev", "eth0", "nodad");
    await this.in(place, "ip", "-6", "route", "add", "default", "via", gateway6);
  }

  async #close(): Promise<void> {
    for (const child of this.#servers) {
      child.kill("SIGKILL");
      await until(() => child.exitCode !== null || child.signalCode !== null, { what: "a server to end" });
    }
    for (const place of ["host", ...WIRES.map((each) => each.place)] as const)
      await run("ip", ["netns", "del", this.#name(place)], DEADLINE);
  }
}
