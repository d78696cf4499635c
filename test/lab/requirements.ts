/**
 * Requirements: what this machine lacks for the lab, in words.
 *
 * A test that cannot run here is skipped where everybody sees it, with the reason; it is never quietly green. So
 * the answer is a list of what is missing, each with its remedy where there is one. The kernel is asked by doing:
 * in a network namespace that is gone when the question is answered.
 *
 * Touches: programs on the PATH, a throwaway network namespace.
 */

import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { LAB_PATH, labEnvironment } from "./command.ts";

/** Program and the Debian package it comes in. */
const PROGRAMS: Readonly<Record<string, string>> = {
  dockerd: "docker.io",
  docker: "docker.io",
  "docker-init": "tini",
  containerd: "containerd",
  runc: "runc",
  ip: "iproute2",
  nft: "nftables",
  iptables: "iptables",
  nsenter: "util-linux",
  unshare: "util-linux",
  setpriv: "util-linux",
  setsid: "util-linux",
  flock: "util-linux",
  hostname: "hostname",
  debootstrap: "debootstrap",
  dnsmasq: "dnsmasq-base",
  kdig: "knot-dnsutils",
  tcpdump: "tcpdump",
  faketime: "faketime",
  curl: "curl",
  conntrack: "conntrack",
  wg: "wireguard-tools",
  "wireguard-go": "wireguard-go",
};

/** What is tried, each in a line of its own; the first word of the answer names what failed. */
const KERNEL: Readonly<Record<string, string>> = {
  "a /proc of its own": "mount -t proc proc /proc",
  "a /sys of its own": "mount -t sysfs sysfs /sys",
  bridge: "ip link add br0 type bridge",
  veth: "ip link add one type veth peer name two",
  "nft numgen on bridged frames":
    "nft 'table bridge t { chain c { type filter hook forward priority 0; numgen random mod 100 < 5 drop; }; }'",
  vxlan: "ip link add vx0 type vxlan id 4096 dstport 4789 local 127.0.0.1",
  "nft NAT by numgen and jhash":
    "nft 'table inet t { chain c { type nat hook prerouting priority -105; jhash ip saddr mod 4 0 accept; }; }'",
  "NAT by iptables": "iptables -t nat -A POSTROUTING -j MASQUERADE",
  "forwarding per namespace": "echo 1 > /proc/sys/net/ipv4/ip_forward",
  "children in /proc (CONFIG_PROC_CHILDREN)": "cat /proc/1/task/1/children",
};

const PROBE_MS = 15_000;

// A socket's path has at most 107 bytes; ours need some 60 below the temp folder.
const TEMP_LENGTH_MAX = 40;

/** What the lab needs and this machine lacks; empty when the lab can be opened. */
export function missingRequirements(): string[] {
  if (process.platform !== "linux") return [`Linux (this is ${process.platform})`];
  const missing = Object.entries(PROGRAMS)
    .filter(([program]) => findProgram(program, LAB_PATH) === null)
    .map(([program, source]) => `program ${program} (Debian package ${source})`);
  if (process.getuid?.() !== 0) missing.push("root");
  if (tmpdir().length > TEMP_LENGTH_MAX) missing.push(`a temp folder with a path shorter than "${tmpdir()}"`);
  // Without root and the programs the kernel would be blamed for what is not its fault.
  return missing.length > 0 ? missing : [...missingCgroups(), ...missingKernel()];
}

/** For node:test's `skip`: the reason in words, or false. */
export function skipReason(): string | false {
  const missing = missingRequirements();
  return missing.length === 0 ? false : `the lab needs: ${missing.join("; ")}`;
}

/** The full path of a program, looked for in `folders` in their order; null when it is in none. */
export function findProgram(name: string, folders: readonly string[]): string | null {
  return folders.map((folder) => join(folder, name)).find(isExecutable) ?? null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function missingCgroups(): string[] {
  const root = "/sys/fs/cgroup";
  const mounted = existsSync(join(root, "devices")) || existsSync(join(root, "cgroup.controllers"));
  return mounted ? [] : [`cgroups mounted at ${root}`];
}

function missingKernel(): string[] {
  const lines = Object.entries(KERNEL).map(([name, line]) => `(${line}) >/dev/null 2>&1 || echo "${name}"`);
  const namespaces = ["--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"];
  const { status, stdout, stderr } = spawnSync("unshare", [...namespaces, "sh", "-c", lines.join("\n")], {
    encoding: "utf8",
    env: labEnvironment(),
    timeout: PROBE_MS,
  });
  if (status === null || stderr !== "") return [`namespaces (${stderr.trim() || "no answer"})`];
  return stdout
    .split("\n")
    .filter((name) => name !== "")
    .map((name) => `kernel: ${name}`);
}
