/**
 * Kernel ground: what the data plane in the kernel stands on, looked at once when the daemon starts: how packets of other
 * hosts come here, and whether they can be encrypted.
 *
 * Touches: links, routes and WireGuard's key file, through kernel/.
 */

import { textOf } from "../base/failure.ts";
import type { Prefix } from "../base/ip.ts";
import type { OwnOverlay } from "../kernel/given.ts";
import { observeUnderlay, probeVxlan } from "../kernel/links/underlay.ts";
import { openWireguard, type Wireguard } from "../kernel/wireguard/wireguard.ts";

import type { Base } from "./base.ts";

/** What is known before there is a node. */
export interface KernelGround {
  readonly pool: Prefix;
  /** IPv6 VIPs come from here; null for none. */
  readonly pool6: string | null;
  /** By which address members reach this host. */
  readonly advertised: string;
}

/** WireGuard here: the part that makes it, and why it works or not. */
export interface Encryption {
  readonly part: Wireguard | null;
  readonly works: boolean;
  readonly reason: string;
}

/** Opens WireGuard, unless it is not wanted. */
export async function openEncryption({ options }: Base): Promise<Encryption> {
  const { overlay, node } = options.config;
  if (overlay.encryption === "none")
    return { part: null, works: false, reason: "overlay.encryption is none" };
  const part = await openWireguard({ dataDir: node.dataDir });
  const { works, reason } = await part.ability();
  return { part, works, reason };
}

/** The way to this host. */
export type Underlay = Omit<OwnOverlay, "encrypts">;

/** How others' packets come here, or why they cannot. */
export async function underlayOf(
  { report }: Base,
  { advertised }: KernelGround,
): Promise<{ readonly underlay: Underlay | null; readonly lack: string }> {
  const found = await observeUnderlay(advertised).catch((thrown: unknown) => {
    return { kind: "none", reason: textOf(thrown) } as const;
  });
  const lack = found.kind === "none" ? found.reason : await probeVxlan();
  if (found.kind === "found" && lack === null) {
    const { address, device, mtu } = found;
    return { underlay: { address, device, mtu }, lack: "" };
  }
  report.choose("overlay", "off", lack ?? "");
  return { underlay: null, lack: lack ?? "" };
}
