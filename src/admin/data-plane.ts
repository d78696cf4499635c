/**
 * Data plane: what `doctor` says of traffic at kernel speed, of each overlay network, and of the ways between hosts.
 *
 * A network that this host does not carry still works: its services are reached through the daemons. So that is a
 * warning, and says what it costs; only one whose packets must not go out at all is a failure. What status tells of a
 * network as a problem is told here in its row, once.
 *
 * Pure. The daemon gathers the facts.
 */

import type { Network } from "../model/network.ts";

import { listed, made } from "./checks/catalogue.ts";
import type { DoctorCheck } from "./contract-doctor.ts";
import type { ProblemLine } from "./contract.ts";
import type { Snapshot } from "./handlers.ts";

/** What this host's kernel does for its networks. */
export interface PlaneFacts {
  /** How others' packets come here; null where this host carries none. */
  readonly overlay: {
    readonly address: string;
    readonly device: string;
    readonly mtu: number;
    readonly encrypts: boolean;
  } | null;
  /** Names of the networks that work. */
  readonly carried: ReadonlySet<string>;
  readonly bridges: readonly { readonly network: string; readonly device: string; readonly prefix: string }[];
  /** Why WireGuard works here or not. */
  readonly encryption: string;
  /** net.ipv4.ip_forward; null where it cannot be read. */
  readonly forwards: boolean | null;
  /** What was found of the way to each host of a carried network. */
  readonly paths: readonly PathFacts[];
}

/** The way to one host: how large a packet gets through. */
export interface PathFacts {
  readonly name: string;
  readonly address: string;
  /** Bytes that both ends' links take. */
  readonly expected: number;
  readonly finding:
    | { readonly kind: "whole" | "silent" }
    | { readonly kind: "smaller"; readonly mtu: number }
    | { readonly kind: "unknown"; readonly reason: string };
}

/** All checks of it. @param facts  null where the proxy carries all traffic */
export function judgePlane(
  snapshot: Snapshot,
  facts: PlaneFacts | null,
  problems: readonly ProblemLine[],
): readonly DoctorCheck[] {
  const { networks } = snapshot.view;
  return [
    judgeMode(snapshot.dataPlane),
    ...(facts === null ? [] : [...ofForwarding(facts), ...ofUnderlay(facts), ...ofEncryption(facts)]),
    ...networks.map((network) => ofNetwork(network, { snapshot, facts, problems })),
    ...(facts === null ? [] : ofPaths(facts)),
  ];
}

/** True for a problem that the row of a network tells. */
export function isOfNetwork({ area, subject }: ProblemLine, networks: readonly Network[]): boolean {
  return area === "network" && networks.some(({ name }) => subject === name || subject === `network ${name}`);
}

/** Who carries traffic, and what it costs where that is the proxy. */
export function judgeMode({ mode, reason }: Snapshot["dataPlane"]): DoctorCheck {
  const subject = "data plane";
  if (mode === "kernel") {
    const text = `traffic goes at kernel speed: ${reason}`;
    return made("kernel.data-plane", { subject, state: "ok", text });
  }
  const text = `the proxy carries all traffic: ${reason}`;
  // Said so in the configuration: then nothing is missing.
  if (reason === "configured" || reason.startsWith("vip.listen"))
    return made("kernel.data-plane", { subject, state: "ok", text });
  const cost = `${text}; that takes more of the processor`;
  return made("kernel.data-plane", { subject, state: "warn", text: cost, remedy: remedyFor(reason) });
}

function remedyFor(reason: string): string | null {
  if (reason.includes("NET_ADMIN")) return "give the daemon NET_ADMIN (in Docker: --cap-add NET_ADMIN)";
  if (reason.includes('"nft"')) return "install the package nftables";
  return reason.includes('"ip"') ? "install the package iproute2" : null;
}

function ofForwarding({ forwards }: PlaneFacts): readonly DoctorCheck[] {
  const subject = "net.ipv4.ip_forward";
  if (forwards === null) return [];
  if (forwards)
    return [made("kernel.forwarding", { subject, state: "ok", text: "this host forwards packets" })];
  const text = "this host forwards no packets: containers reach no VIPs and no other hosts";
  return [
    made("kernel.forwarding", { subject, state: "fail", text, remedy: "sysctl -w net.ipv4.ip_forward=1" }),
  ];
}

function ofUnderlay({ overlay }: PlaneFacts): readonly DoctorCheck[] {
  if (overlay === null) return [];
  const { device, address, mtu } = overlay;
  const text = `overlay networks go over ${device} (${address}) in packets of at most ${mtu} bytes`;
  return [made("kernel.underlay", { subject: "underlay", state: "ok", text })];
}

function ofEncryption({ overlay, encryption }: PlaneFacts): readonly DoctorCheck[] {
  // Where it does not work that is told of each network that needs it.
  if (overlay?.encrypts !== true) return [];
  return [made("kernel.encryption", { subject: "encryption", state: "ok", text: encryption })];
}

interface Around {
  readonly snapshot: Snapshot;
  readonly facts: PlaneFacts | null;
  readonly problems: readonly ProblemLine[];
}

function ofNetwork(network: Network, around: Around): DoctorCheck {
  const subject = network.name;
  const told = around.problems.filter((problem) => isOfNetwork(problem, [network])).map(({ text }) => text);
  const bridge = around.facts?.bridges.find((one) => one.network === network.name);
  if (around.facts?.carried.has(network.name) === true && bridge !== undefined) {
    const others = network.slices.filter(({ node }) => node !== around.snapshot.view.self).length;
    const way = network.encrypted ? "VXLAN in WireGuard" : "VXLAN";
    const text = `${bridge.prefix} on ${bridge.device}, ${way} to ${counted(others, "host")}`;
    const state = told.length === 0 ? "ok" : "warn";
    return made("network.carried", { subject, state, text: [text, ...told].join("; ") });
  }
  const { facts } = around;
  if (network.encrypted && facts !== null && facts.overlay?.encrypts !== true) {
    const text = `it is encrypted and not carried here, never in clear: ${facts.encryption}`;
    const remedy =
      "install the packages wireguard-tools and, where the kernel has no WireGuard, wireguard-go";
    const whole = [...new Set([text, ...told])].join("; ");
    return made("network.carried", { subject, state: "fail", text: whole, remedy });
  }
  const text = `not carried here, only reached through daemons: ${whyNot(network, around)}`;
  return made("network.carried", { subject, state: "warn", text: [text, ...told].join("; ") });
}

function whyNot(network: Network, { snapshot, facts }: Around): string {
  if (!network.isSound) return "its range or number is not its alone";
  if (facts === null) return `the proxy carries all traffic (${snapshot.dataPlane.reason})`;
  if (facts.overlay === null) {
    const choice = snapshot.choices.find(({ key }) => key === "overlay");
    return choice?.reason ?? "no IPv4 address by which other hosts reach this one";
  }
  const slice = network.slices.find(({ node }) => node === snapshot.view.self);
  if (slice === undefined) return `this host has no slice of ${network.range}`;
  if (slice.tentative) return `${slice.prefix} is not settled yet`;
  const bridge = facts.bridges.find((one) => one.network === network.name);
  if (bridge === undefined) return `Docker has no network ${network.name} on ${slice.prefix} yet`;
  if (bridge.prefix !== slice.prefix)
    return `its bridge is on ${bridge.prefix}, and its slice is ${slice.prefix}`;
  return "its links are not up";
}

function ofPaths({ paths, overlay }: PlaneFacts): readonly DoctorCheck[] {
  const smaller = paths.flatMap(({ name, address, expected, finding }): readonly DoctorCheck[] => {
    if (finding.kind !== "smaller") return [];
    const sizes = `packets of ${finding.mtu} bytes get to ${address}, and the links take ${expected}`;
    const text = `${sizes}: larger ones are cut or lost`;
    const device = overlay?.device ?? "<device>";
    const link = `ip link set dev ${device} mtu ${finding.mtu}`;
    const remedy = `set the MTU of the links to what gets through (here: ${link}), or mend the way between`;
    return [made("mtu.path", { subject: name, state: "warn", text, remedy })];
  });
  const whole = paths.filter(({ finding }) => finding.kind === "whole");
  const silent = paths.filter(({ finding }) => finding.kind === "silent");
  return [
    ...rowOf(whole, "ok", "packets as large as the links take get there"),
    ...smaller,
    ...rowOf(silent, "warn", "no ping is answered: nobody knows how large a packet gets there"),
    ...ofUntried(paths),
  ];
}

/** Rows for those that could not be tried, by the reason. */
function ofUntried(paths: readonly PathFacts[]): readonly DoctorCheck[] {
  const pathsByReason = new Map<string, PathFacts[]>();
  for (const path of paths) {
    if (path.finding.kind !== "unknown") continue;
    const { reason } = path.finding;
    pathsByReason.set(reason, [...(pathsByReason.get(reason) ?? []), path]);
  }
  return [...pathsByReason].flatMap(([reason, some]) => {
    return rowOf(some, "warn", `nobody knows how large a packet gets there: ${reason}`);
  });
}

function rowOf(
  paths: readonly PathFacts[],
  state: DoctorCheck["state"],
  text: string,
): readonly DoctorCheck[] {
  if (paths.length === 0) return [];
  return [made("mtu.path", { subject: listed(paths.map(({ name }) => name)), state, text })];
}

function counted(count: number, thing: string): string {
  return `${count} other ${thing}${count === 1 ? "" : "s"}`;
}
