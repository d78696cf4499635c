/**
 * Device: the WireGuard device of this host, by the kernel where it can, else by the program wireguard-go.
 *
 * The program stays when the daemon ends, as routes and rules do, and is found again by the socket on which `wg` talks
 * to it. That lies in a folder of the host's (/var/run/wireguard) under the name of the device, which would be the same
 * for every network namespace; so it is started under a name made of the namespace's number, and its device renamed.
 * It ends with its device. In a container it ends with the container, and whatever it carried stands still until the
 * next daemon has started another: never in clear, for the routes lead nowhere meanwhile.
 *
 * Touches: the programs ip, wg and wireguard-go; /dev/net/tun, /proc/self/ns, /var/run/wireguard.
 */

import { constants } from "node:fs";
import { access, mkdir, readlink, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { Failure, textOf } from "../../base/failure.ts";
import { run, type Ran } from "../../runtime/exec.ts";
import { survey } from "../../runtime/sharing.ts";
import { WIREGUARD_DEVICE } from "../names.ts";

import { renderBatch, renderSet, type Change, type Observed } from "./changes.ts";
import { parseDump, parseLink, type ObservedLink } from "./reading.ts";

/** Whether this host can encrypt, by what, and why (not), in words. */
export interface Ability {
  readonly works: boolean;
  readonly way: "kernel" | "program" | null;
  readonly reason: string;
}

/** The device, wherever it comes from. */
export interface Device {
  ability(): Promise<Ability>;
  /** What is there; null for no device of ours that answers. @throws Failure `busy` where another has its name */
  observe(): Promise<Observed | null>;
  /** Makes it, down and without addresses; what is left of an earlier one goes first. */
  make(port: number): Promise<void>;
  /** @param keyPath  the file of the private key */
  change(changes: readonly Change[], keyPath: string): Promise<void>;
  /** @returns false where there was none */
  remove(): Promise<boolean>;
}

/** These programs answer in milliseconds; a host under load may take its time. */
const DEADLINE_MS = 5000;
/** For a program to end that has lost its device. */
const END_MS = 2000;
const LOOK_EVERY_MS = 20;

/** What a device of ours may be: the kernel's, or the program's. */
const OUR_KINDS = ["wireguard", "tun"];

const SOCKETS = "/var/run/wireguard";
const TUN = "/dev/net/tun";
/** Made and taken away at once, to see whether the kernel has WireGuard. Not as bridges of networks are called. */
const SPECIMEN = "skein-wg-try";

const PROGRAM = "wireguard-go";
const TOOL_REMEDY = "install the package wireguard-tools";

/** Opens the device of the network namespace that this process is in; nothing is touched yet. */
export async function openDevice(): Promise<Device> {
  const namespace = await readlink("/proc/self/ns/net").catch(() => "");
  return new SystemDevice(`sk${/\d+/.exec(namespace)?.[0] ?? "wg"}`);
}

class SystemDevice implements Device {
  /** What the program's socket, and its device before it is renamed, are called. */
  readonly #alias: string;

  constructor(alias: string) {
    this.#alias = alias;
  }

  async ability(): Promise<Ability> {
    try {
      const tool = await run("wg", ["--version"], { deadlineMs: DEADLINE_MS });
      if (tool.status !== 0) return cannot(`the program "wg" does not work (${said(tool)})`);
      const missing = await kernelLacks();
      if (missing === null) return { works: true, way: "kernel", reason: "WireGuard of the kernel" };
      const lack = await programLacks();
      if (lack === null)
        return { works: true, way: "program", reason: `${PROGRAM}, as the kernel has none (${missing})` };
      return cannot(`the kernel has no WireGuard (${missing}), and ${lack}`);
    } catch (thrown) {
      return cannot(`${textOf(thrown)}: ${TOOL_REMEDY}`);
    }
  }

  async observe(): Promise<Observed | null> {
    const link = await readLink(WIREGUARD_DEVICE);
    if (link === null) return null;
    const shown = await run("wg", ["show", this.#nameOf(link), "dump"], { deadlineMs: DEADLINE_MS });
    // A device whose program is gone is as good as none.
    if (shown.status !== 0) return null;
    const { mtu, isUp, addresses } = link;
    return { mtu, isUp, addresses, ...parseDump(shown.stdout) };
  }

  async make(port: number): Promise<void> {
    await this.remove();
    const { works, way, reason } = await this.ability();
    if (!works) throw new Failure("not-found", reason);
    const holder = await (await survey()).holderOf({ host: "0.0.0.0", port }, "udp");
    if (holder !== null) {
      throw new Failure(
        "busy",
        `UDP port ${port}, which WireGuard needs, is held by ${holder}; end that one`,
      );
    }
    if (way === "kernel") await ip("link", "add", "dev", WIREGUARD_DEVICE, "type", "wireguard");
    else await this.#start();
  }

  async #start(): Promise<void> {
    // It stays when we end, so it gets nothing of our environment but where programs are.
    const env = { PATH: process.env["PATH"] };
    const started = await run(PROGRAM, [this.#alias], { deadlineMs: DEADLINE_MS, env });
    if (started.status !== 0) throw failureOf(PROGRAM, started);
    try {
      // It looks up its device by name until it answers.
      const asked = await run("wg", ["show", this.#alias, "public-key"], { deadlineMs: DEADLINE_MS });
      if (asked.status !== 0) throw failureOf(PROGRAM, asked);
      await ip("link", "set", "dev", this.#alias, "name", WIREGUARD_DEVICE);
    } catch (thrown) {
      await deleteLink(this.#alias, "tun");
      throw thrown;
    }
  }

  async change(changes: readonly Change[], keyPath: string): Promise<void> {
    const link = await readLink(WIREGUARD_DEVICE);
    if (link === null) throw new Failure("not-found", `device ${WIREGUARD_DEVICE} is gone`);
    for (const args of renderSet(this.#nameOf(link), changes, keyPath)) {
      const set = await run("wg", args, { deadlineMs: DEADLINE_MS });
      if (set.status !== 0) throw failureOf("wg", set);
    }
    const lines = renderBatch(WIREGUARD_DEVICE, changes);
    if (lines.length === 0) return;
    const made = await run("ip", ["-batch", "-"], {
      deadlineMs: DEADLINE_MS,
      stdin: `${lines.join("\n")}\n`,
    });
    if (made.status !== 0) throw failureOf("ip", made);
  }

  async remove(): Promise<boolean> {
    const link = await readLink(WIREGUARD_DEVICE);
    const isOurs = link !== null && OUR_KINDS.includes(link.kind);
    if (isOurs) await ip("link", "delete", "dev", WIREGUARD_DEVICE);
    // What a start that was cut short may have left.
    await deleteLink(this.#alias, "tun");
    await deleteLink(SPECIMEN, "wireguard");
    await this.#ended();
    return isOurs;
  }

  /** Waits until the program has ended, which takes its socket with it. */
  async #ended(): Promise<void> {
    const path = join(SOCKETS, `${this.#alias}.sock`);
    const deadlineMs = performance.now() + END_MS;
    while (await isThere(path)) {
      if (performance.now() > deadlineMs) {
        // One that lives on ends without it.
        await rm(path, { force: true });
        return;
      }
      // Takes away what one that was killed has left.
      await run("wg", ["show", this.#alias, "public-key"], { deadlineMs: DEADLINE_MS }).catch(() => null);
      await delay(LOOK_EVERY_MS);
    }
  }

  #nameOf({ kind }: ObservedLink): string {
    if (kind === "wireguard") return WIREGUARD_DEVICE;
    if (kind === "tun") return this.#alias;
    const found = kind === "" ? "no virtual device" : `of kind ${kind}`;
    throw new Failure(
      "busy",
      `device ${WIREGUARD_DEVICE} is ${found}; expected a WireGuard of ours: remove it`,
    );
  }
}

/** Why the kernel cannot; null when it can. */
async function kernelLacks(): Promise<string | null> {
  const link = await readLink(WIREGUARD_DEVICE);
  if (link?.kind === "wireguard") return null;
  await deleteLink(SPECIMEN, "wireguard");
  const args = ["link", "add", "dev", SPECIMEN, "type", "wireguard"];
  const made = await run("ip", args, { deadlineMs: DEADLINE_MS });
  if (made.status !== 0) return said(made);
  await ip("link", "delete", "dev", SPECIMEN);
  return null;
}

/** Why the program cannot, with the remedy; null when it can. */
async function programLacks(): Promise<string | null> {
  const asked = await run(PROGRAM, ["--version"], { deadlineMs: DEADLINE_MS }).catch(() => null);
  if (asked?.status !== 0) return `the program "${PROGRAM}" is not installed: install the package ${PROGRAM}`;
  const mayOpen = await access(TUN, constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  );
  if (!mayOpen)
    return `${PROGRAM} needs ${TUN}: give it to the container (--device ${TUN}), or load the module tun`;
  try {
    await mkdir(SOCKETS, { recursive: true, mode: 0o755 });
    await access(SOCKETS, constants.W_OK);
    return null;
  } catch {
    return `${PROGRAM} needs a writable ${SOCKETS}: give the container one (--tmpfs /run/wireguard)`;
  }
}

function cannot(reason: string): Ability {
  return { works: false, way: null, reason };
}

async function readLink(device: string): Promise<ObservedLink | null> {
  const shown = await run("ip", ["-json", "-details", "address", "show", "dev", device], {
    deadlineMs: DEADLINE_MS,
  });
  if (shown.status === 0) return parseLink(shown.stdout);
  if (shown.stderr.includes("does not exist")) return null;
  throw failureOf("ip", shown);
}

/** Only what is of the kind that we make: a device of somebody else's may have the name. */
async function deleteLink(device: string, kind: "tun" | "wireguard"): Promise<void> {
  if ((await readLink(device))?.kind === kind) await ip("link", "delete", "dev", device);
}

async function ip(...args: readonly string[]): Promise<void> {
  const ran = await run("ip", args, { deadlineMs: DEADLINE_MS });
  if (ran.status !== 0) throw failureOf("ip", ran);
}

/** Never of what was printed on stdout, where `wg` shows secrets. */
function failureOf(program: string, ran: Ran): Failure {
  const isRefused = /not permitted|permission denied/i.test(ran.stderr);
  return new Failure(isRefused ? "not-allowed" : "invalid", `${program} failed: ${said(ran)}`);
}

/**
 * The first line, without what programs put around it (`Error: Unknown device type.`), and without what `wg` quotes: of
 * a file that is no key it shows what it read.
 */
function said({ status, stderr }: Ran): string {
  const line = stderr.trim().split("\n", 1)[0] ?? "";
  const plain = line.replace(/^Error: /, "").replace(/`[^']*'/g, "`...'");
  return plain.replace(/\.$/, "") || `status ${status}`;
}

async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}
