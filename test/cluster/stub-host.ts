/**
 * Stub host: a network and a few files of /etc of its own, where our daemon has port 53 and real resolvers ask it.
 *
 * What a C library asks, and what it makes of an answer, is in nobody's specification; so it is asked itself. It reads
 * /etc/resolv.conf and asks port 53, which a test may not take from the machine it runs on. So both are private here:
 * a network namespace, and files bound over those of the machine in a mount namespace. All else, processes included,
 * is the machine's. An interface beside the loopback makes it a host with IPv4 and IPv6, for resolvers look at that
 * before they ask.
 *
 * Whatever runs inside ends with this process, however that ends; the namespaces go with the last that is in them.
 *
 * Touches: namespaces, child processes, a temporary folder.
 */

import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { labEnvironment, LAB_PATH, runCommand, type Output } from "../lab/command.ts";
import { findProgram } from "../lab/requirements.ts";
import { folderFor, type Ending } from "../support/daemons.ts";
import { until } from "../support/wait.ts";

/** The host's own addresses beside the loopback ones (RFC 5737, RFC 3849). */
export const STUB_ADDRESS = "192.0.2.10";

const FILES = {
  "resolv.conf": "nameserver 127.0.0.1\n",
  hosts: "127.0.0.1 localhost\n",
  "nsswitch.conf": "hosts: files dns\n",
};

// Not a dummy interface: that needs a kernel module which many machines have not.
const PREPARE = `
for name in ${Object.keys(FILES).join(" ")}; do mount --bind "$1/$name" "/etc/$name"; done
ip link set lo up
ip link add eth0 type veth peer name eth1
ip addr add ${STUB_ADDRESS}/24 dev eth0
ip addr add 2001:db8::10/64 dev eth0 nodad
ip link set eth0 up
ip link set eth1 up
echo ready
exec sleep infinity`;

const RUN_MS = 60_000;
const PROBE_MS = 15_000;

/** Programs that opening one takes, with the Debian package each comes in. */
const PROGRAMS: Readonly<Record<string, string>> = {
  ip: "iproute2",
  nsenter: "util-linux",
  setpriv: "util-linux",
  unshare: "util-linux",
};

/**
 * Why a test with these programs beside cannot run here, for node:test's `skip`; or false.
 *
 * @param programs  name by name the Debian package it comes in
 */
export function stubSkip(programs: Readonly<Record<string, string>> = {}): string | false {
  if (process.platform !== "linux") return `a stub host needs Linux (this is ${process.platform})`;
  const missing = Object.entries({ ...PROGRAMS, ...programs })
    .filter(([name]) => findProgram(name, LAB_PATH) === null)
    .map(([name, source]) => `program ${name} (Debian package ${source})`);
  if (process.getuid?.() !== 0) missing.push("root");
  // Without root and the programs the kernel would be blamed for what is not its fault.
  if (missing.length === 0 && !isPermitted())
    missing.push("namespaces of network and mounts, veth, and IPv6");
  return missing.length === 0 ? false : `a stub host needs: ${missing.join("; ")}`;
}

/** Asks the kernel by doing, in namespaces that are gone when the question is answered. */
function isPermitted(): boolean {
  const network = "ip link add eth0 type veth peer name eth1\nip addr add 2001:db8::10/64 dev eth0 nodad";
  const inner = `mount --bind /etc/hosts /etc/hosts\n${network}`;
  const options = { env: labEnvironment(), timeout: PROBE_MS };
  return spawnSync("unshare", ["--net", "--mount", "sh", "-euc", inner], options).status === 0;
}

/** A host that is there until the test ends. */
export interface StubHost {
  /** Where files for what runs inside may lie. */
  readonly folder: string;
  /** The words to put before a program that is to run inside; it then is the process that these started. */
  readonly enter: readonly string[];
  /** Writes its resolv.conf; who reads it next finds these lines. */
  resolver(...lines: readonly string[]): void;
  /** Runs a program inside to its end, at most a minute. */
  run(...argv: readonly string[]): Promise<Output>;
  /** Starts a program that goes on running until the test ends, and waits until it has printed `line`. */
  start(argv: readonly string[], line: string, env?: Readonly<Record<string, string>>): Promise<ChildProcess>;
}

/** Opens one; it is gone when the test is. */
export async function openStubHost(t: Ending): Promise<StubHost> {
  const folder = folderFor(t);
  for (const [name, text] of Object.entries(FILES)) writeFileSync(join(folder, name), text);
  const inner = ["unshare", "--net", "--mount", "sh", "-euc", PREPARE, "sh", folder];
  const holder = await started(t, ["setpriv", "--pdeathsig", "KILL", ...inner], "ready");
  const { pid = 0 } = holder;
  const enter = ["setpriv", "--pdeathsig", "KILL", "nsenter", `--target=${pid}`, "--net", "--mount", "--"];
  return {
    folder,
    enter,
    resolver: (...lines) => writeFileSync(join(folder, "resolv.conf"), `${lines.join("\n")}\n`),
    run: async (...argv) => await runCommand([...enter, ...argv], { timeoutMs: RUN_MS }),
    start: async (argv, line, env) => await started(t, [...enter, ...argv], line, env),
  };
}

/** Starts a program and waits for a line of it on stdout or stderr; it is ended with the test. */
async function started(
  t: Ending,
  argv: readonly string[],
  line: string,
  env: Readonly<Record<string, string>> = {},
): Promise<ChildProcess> {
  const [program = "", ...args] = argv;
  const child = spawn(program, args, {
    cwd: "/",
    env: labEnvironment(env),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  let failed: Error | null = null;
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => (said += chunk.toString()));
  }
  child.on("error", (error) => {
    failed = error;
  });
  const hasEnded = (): boolean => failed !== null || child.exitCode !== null || child.signalCode !== null;
  t.after(async () => {
    if (hasEnded()) return;
    const exit = once(child, "exit");
    child.kill("SIGKILL");
    await exit;
  });
  await until(() => said.includes(line) || hasEnded(), { what: `"${argv.join(" ")}" says "${line}"` });
  if (hasEnded()) throw new Error(`"${argv.join(" ")}" ended at once: ${said}`, { cause: failed });
  return child;
}
