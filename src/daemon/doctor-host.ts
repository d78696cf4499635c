/**
 * Doctor's look at the host: rights, programs, parts of the kernel, room on the disk, and Docker.
 *
 * The same look for a daemon that runs and for a command where none does. Nothing is changed, nothing tried out. Each
 * part has a deadline well below that of who asks, and what cannot be read is left out, never guessed.
 *
 * Touches: /proc, /sys, /lib/modules, the data dir; programs, for their versions; Docker's socket; daemon.json.
 */

import { access, constants, readFile, readdir, stat, statfs } from "node:fs/promises";
import { release } from "node:os";
import { dirname } from "node:path";

import type { EngineFacts, EngineOptions } from "../admin/checks/engine.ts";
import type { FolderFacts, HostFacts, HostNeeds, ModuleFacts, ProgramFacts } from "../admin/checks/host.ts";
import { systemCodeOf, textOf } from "../base/failure.ts";
import type { HostPort } from "../base/ip.ts";
import type { Config } from "../config/schema.ts";
import { rightsHeld } from "../kernel/rights.ts";
import type { Right } from "../model/right.ts";
import { run } from "../runtime/exec.ts";
import { openFilesMax } from "../runtime/self.ts";
import { locateDocker, openDocker, renderTarget, type DockerTarget } from "../source/docker/client.ts";

import { engineOptionsIn, moduleFinding, numberIn, versionIn } from "./host-reading.ts";

/** Programs tell their version in milliseconds, and a local engine answers as soon. */
const PROGRAM_MS = 1500;
const DOCKER_MS = 2500;

const PROGRAMS: readonly (Omit<ProgramFacts, "version"> & { readonly args: readonly string[] })[] = [
  { name: "nft", args: ["--version"], package: "nftables", use: "the kernel's rules are made by it" },
  { name: "ip", args: ["-V"], package: "iproute2", use: "links and routes are made by it" },
  {
    name: "conntrack",
    args: ["--version"],
    package: "conntrack",
    use: "UDP stays with replicas that are gone",
  },
  {
    name: "iptables",
    args: ["--version"],
    package: "iptables",
    use: "Docker's firewall cannot be told to let pass",
  },
  { name: "wg", args: ["--version"], package: "wireguard-tools", use: "encrypted networks are not carried" },
  {
    name: "ping",
    args: ["-V"],
    package: "iputils-ping",
    use: "nobody can tell how large packets get through",
  },
];

const MODULES: readonly Omit<ModuleFacts, "finding">[] = [
  { name: "nf_conntrack", use: "the proxy carries all traffic" },
  { name: "vxlan", use: "no overlay networks" },
  { name: "wireguard", use: "encrypted networks need the package wireguard-go" },
];

/** Where the kernel's settings are. */
const SETTINGS = "/proc/sys/net";
const MODULES_LOADED = "/sys/module";
const ENGINE_OPTIONS = "/etc/docker/daemon.json";
/** The sockets of the engine that daemon.json is of. */
const USUAL_SOCKETS: readonly string[] = ["/var/run/docker.sock", "/run/docker.sock"];

/** What a running daemon adds; null for both where none runs. */
export interface Running {
  readonly delayMs: number;
}

/** Looks at the host. Never rejects. */
export async function hostFacts(config: Config, running: Running | null): Promise<HostFacts> {
  const [rights, programs, modules, rpFilter, bridgeFirewall, conntrack, files, dataDir] = await Promise.all([
    rightsNow(),
    Promise.all(PROGRAMS.map(programFacts)),
    moduleFacts(),
    textOfFile(`${SETTINGS}/ipv4/conf/all/rp_filter`),
    textOfFile(`${SETTINGS}/bridge/bridge-nf-call-iptables`),
    conntrackFacts(),
    running === null ? null : filesOpen(),
    folderFacts(config.node.dataDir),
  ]);
  return {
    rights,
    programs,
    modules,
    rpFilter: rpFilter?.trim() ?? null,
    bridgeFirewall: bridgeFirewall?.trim() ?? null,
    conntrack,
    files,
    delayMs: running?.delayMs ?? null,
    dataDir,
  };
}

/** What a configuration asks of the host. */
export function needsOf({ dataplane, vip, dns, ingress, mesh }: Config): HostNeeds {
  const places: readonly (readonly [string, number | "off"])[] = [
    ...dns.listen.map(({ port }) => ["dns.listen", port] as const),
    ["ingress.http", ingress.http],
    ["ingress.https", ingress.https],
    ["mesh.listen", mesh.listen.port],
  ];
  const low = places.filter(([, port]) => port !== "off" && port > 0 && port < 1024);
  return {
    kernel: dataplane.mode !== "proxy" && vip.listen,
    lowPorts: [...new Set(low.map(([key, port]) => `${key} ${port}`))],
  };
}

/** A network may be told to let everybody have low ports (ip-sysctl): Docker does so in networks of containers. */
async function rightsNow(): Promise<ReadonlySet<Right> | null> {
  const held = await rightsHeld();
  const first = numberIn(await textOfFile(`${SETTINGS}/ipv4/ip_unprivileged_port_start`));
  if (held === null || first === null || first > 53) return held;
  return new Set<Right>([...held, "NET_BIND_SERVICE"]);
}

async function programFacts({ args, ...program }: (typeof PROGRAMS)[number]): Promise<ProgramFacts> {
  try {
    const { status, stdout, stderr } = await run(program.name, args, { deadlineMs: PROGRAM_MS });
    return { ...program, version: status === 0 ? (versionIn(`${stdout} ${stderr}`) ?? "") : null };
  } catch {
    // Missing, or it hangs: either way of no use.
    return { ...program, version: null };
  }
}

async function moduleFacts(): Promise<readonly ModuleFacts[]> {
  const loaded = new Set(await readdir(MODULES_LOADED).catch(() => []));
  const missing = MODULES.some(({ name }) => !loaded.has(name));
  const lists = missing ? await modulesKnown() : null;
  return MODULES.map((module) => {
    return { ...module, finding: moduleFinding(module.name, loaded.has(module.name), lists) };
  });
}

/** Which modules there are for this kernel; null in most containers. */
async function modulesKnown(): Promise<string | null> {
  const folder = `/lib/modules/${release()}`;
  const [builtin, loadable] = await Promise.all([
    textOfFile(`${folder}/modules.builtin`),
    textOfFile(`${folder}/modules.dep`),
  ]);
  return builtin === null && loadable === null ? null : `${builtin ?? ""}\n${loadable ?? ""}`;
}

async function conntrackFacts(): Promise<HostFacts["conntrack"]> {
  const [count, max] = await Promise.all([
    textOfFile(`${SETTINGS}/netfilter/nf_conntrack_count`),
    textOfFile(`${SETTINGS}/netfilter/nf_conntrack_max`),
  ]);
  const numbers = { count: numberIn(count), max: numberIn(max) };
  return numbers.count === null || numbers.max === null ? null : { count: numbers.count, max: numbers.max };
}

async function filesOpen(): Promise<HostFacts["files"]> {
  const max = openFilesMax();
  const open = (await readdir("/proc/self/fd").catch(() => [])).length;
  return max === null || open === 0 ? null : { open, max };
}

async function folderFacts(path: string): Promise<FolderFacts> {
  try {
    const { mode, gid } = await stat(path);
    await access(path, constants.W_OK | constants.X_OK);
    return { path, failure: null, mode, isRootGroup: gid === 0, freeBytes: await freeBytesOf(path) };
  } catch (thrown) {
    if (systemCodeOf(thrown) !== "ENOENT")
      return { path, failure: textOf(thrown), mode: null, isRootGroup: false, freeBytes: null };
    return await parentFacts(path);
  }
}

/** The folder is made at the first start, wherever its nearest parent that there is lets us. */
async function parentFacts(path: string): Promise<FolderFacts> {
  let parent = dirname(path);
  for (;;) {
    try {
      await access(parent, constants.W_OK | constants.X_OK);
      return { path, failure: null, mode: null, isRootGroup: false, freeBytes: await freeBytesOf(parent) };
    } catch (thrown) {
      if (systemCodeOf(thrown) !== "ENOENT" || parent === dirname(parent))
        return {
          path,
          failure: `${parent}: ${textOf(thrown)}`,
          mode: null,
          isRootGroup: false,
          freeBytes: null,
        };
      parent = dirname(parent);
    }
  }
}

async function freeBytesOf(path: string): Promise<number | null> {
  try {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize;
  } catch {
    return null;
  }
}

/** Asks Docker about itself. Never rejects. */
export async function engineFacts(config: Config, env: NodeJS.ProcessEnv): Promise<EngineFacts> {
  const { socket } = config.docker;
  const target = locateDocker(socket, env);
  if (target === null) {
    const isMeant = socket === "off";
    return { kind: "none", isMeant, reason: isMeant ? "docker.socket is off" : "there is no Docker socket" };
  }
  const at = renderTarget(target);
  try {
    const client = await openDocker(target, { callTimeoutMs: DOCKER_MS });
    try {
      const description = await client.describe();
      return { kind: "there", at, description, options: await optionsOf(target) };
    } finally {
      client.close();
    }
  } catch (thrown) {
    return { kind: "silent", at, failure: textOf(thrown) };
  }
}

async function optionsOf(target: DockerTarget): Promise<EngineOptions | null> {
  if (target.kind !== "socket" || !USUAL_SOCKETS.includes(target.path)) return null;
  const text = await textOfFile(ENGINE_OPTIONS);
  return text === null ? null : engineOptionsIn(text);
}

/** A file's text; null where it is not there or not ours to read. */
async function textOfFile(path: string): Promise<string | null> {
  return await readFile(path, "utf8").catch(() => null);
}

/** Where a daemon of this configuration is to listen. */
export function placesOf({ mesh, dns, ingress, admin }: Config): readonly {
  readonly key: string;
  readonly at: HostPort;
  readonly transport: "tcp" | "udp";
  readonly isVital: boolean;
}[] {
  const ofIngress = (key: "http" | "https") => {
    const port = ingress[key];
    const at = { host: ingress.address, port: port === "off" ? 0 : port };
    return { key: `ingress.${key}`, at, transport: "tcp" as const, isVital: false };
  };
  const all = [
    { key: "mesh.listen", at: mesh.listen, transport: "tcp" as const, isVital: true },
    ...dns.listen.flatMap((at) =>
      (["udp", "tcp"] as const).map((transport) => ({ key: "dns.listen", at, transport, isVital: true })),
    ),
    ofIngress("http"),
    ofIngress("https"),
    ...(admin.listen === "off"
      ? []
      : [{ key: "admin.listen", at: admin.listen, transport: "tcp" as const, isVital: true }]),
  ];
  // Port 0 lets the system choose, and "off" was made one.
  return all.filter(({ at }) => at.port !== 0);
}
