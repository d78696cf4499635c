/**
 * Engine: dockerd on one host of the lab.
 *
 * Nearly all is left at its default, since the host's /run, /etc and /var/lib are its own: a program on the host
 * finds the engine where it would on any machine. What is set is set for the lab's sake: the cgroups, so that they
 * are found again, the cgroup driver, since there is no systemd inside, and the bridge's range.
 *
 * overlay2 first; vfs, slow but working anywhere, where the temp folder's file system refuses it. Left to itself
 * dockerd might pick btrfs or devicemapper, whose leftovers are not files below our folder.
 *
 * Touches: the engine's process and its socket.
 */

import { request } from "node:http";
import { basename } from "node:path";

import type { Namespaces } from "./namespaces.ts";
import { startProgram } from "./program.ts";
import type { LabProgram } from "./program.ts";
import { until } from "../support/wait.ts";

/** The range of a host's docker0, and of the networks made on that host. */
export type BridgeSubnet = { readonly gateway: string; readonly arguments: readonly string[] };

export type EngineOptions = {
  readonly subnet: BridgeSubnet;
  /** Below the root of each cgroup hierarchy, with a leading slash. */
  readonly cgroup: string;
  readonly arguments: readonly string[];
  /** The engine's socket as seen from outside the host. */
  readonly socket: string;
  readonly logPath: string;
  readonly mark: Readonly<Record<string, string>>;
};

const START_MS = 30_000;

const STORAGE_DRIVERS = ["overlay2", "vfs"];

/**
 * The range of the nth host (from 1). "distinct" tells by an address whose container it is. "same" gives all hosts
 * Docker's default, as real machines have, so that an address leaked to another host means a wrong container.
 * Neither is seen outside the host, so labs side by side may use the same ones.
 */
export function bridgeSubnet(kind: "distinct" | "same", nth: number): BridgeSubnet {
  if (kind === "same") return { gateway: "172.17.0.1", arguments: ["--bip=172.17.0.1/16"] };
  const prefix = `10.${200 + nth}`;
  const pool = `--default-address-pool=base=${prefix}.128.0/17,size=24`;
  return { gateway: `${prefix}.0.1`, arguments: [`--bip=${prefix}.0.1/24`, pool] };
}

/** Starts dockerd and returns when it answers. */
export async function startEngine(namespaces: Namespaces, options: EngineOptions): Promise<LabProgram> {
  let refused: unknown = null;
  for (const driver of STORAGE_DRIVERS) {
    // A containerd that is slow to start writes its stacks to the temp folder, which hosts share with the machine.
    const env = { TMPDIR: "/run" };
    const engine = await startProgram(namespaces, argumentsOf(options, driver), { ...options, env });
    try {
      await untilAnswering(engine, options.socket);
      return engine;
    } catch (error) {
      await engine.stop("SIGKILL");
      refused = error;
      if (!/driver|overlay/i.test(lastLines(engine))) break;
    }
  }
  throw new Error(`no engine at ${options.socket}`, { cause: refused });
}

function argumentsOf(options: EngineOptions, storageDriver: string): string[] {
  return [
    "dockerd",
    "--host=unix:///var/run/docker.sock",
    "--log-level=warn",
    `--storage-driver=${storageDriver}`,
    "--exec-opt=native.cgroupdriver=cgroupfs",
    `--cgroup-parent=${options.cgroup}`,
    ...options.subnet.arguments,
    ...options.arguments,
  ];
}

async function untilAnswering(engine: LabProgram, socket: string): Promise<void> {
  const settled = async (): Promise<boolean> => engine.exit !== null || (await answers(socket));
  await until(settled, { what: `the engine at ${socket} answers`, deadlineMs: START_MS, everyMs: 50 });
  if (engine.exit !== null) throw new Error(`${basename(engine.logPath)} says: ${lastLines(engine)}`);
}

async function answers(socketPath: string): Promise<boolean> {
  return await new Promise<boolean>((resolve) => {
    const ping = request({ socketPath, path: "/_ping", timeout: 2_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    ping.on("timeout", () => ping.destroy());
    // Refused or absent: not up yet.
    ping.on("error", () => resolve(false));
    ping.end();
  });
}

function lastLines(engine: LabProgram): string {
  return engine.log().trim().split("\n").slice(-3).join("\n");
}
