/**
 * Kernel ground: what the data plane is to the rest of the daemon, and what it stands on, looked at once when the
 * daemon starts: how packets of other hosts come here, and whether they can be encrypted.
 *
 * Touches: links, routes and WireGuard's key file, through kernel/.
 */

import { textOf } from "../base/failure.ts";
import type { Prefix } from "../base/ip.ts";
import type { OwnOverlay } from "../kernel/given.ts";
import { observeUnderlay, probeVxlan } from "../kernel/links/underlay.ts";
import type { Removal } from "../kernel/planned.ts";
import { openWireguard, type Wireguard } from "../kernel/wireguard/wireguard.ts";

import type { Discoveries } from "../catalog/discoveries.ts";
import type { NodeOverlay } from "../model/record.ts";
import type { View } from "../model/view.ts";
import type { Proxy } from "../proxy/proxy.ts";
import type { Input } from "../step.ts";

import type { Base } from "./base.ts";
import type { Served } from "./served.ts";
import type { Sources } from "./sources.ts";

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

/** How others' packets come here; null with the reason where they cannot. */
export interface Way {
  readonly underlay: Underlay | null;
  readonly lack: string;
}

/** Looks for the way, and whether tunnels can be made over it. Never rejects. @param advertised  this host's address */
export async function findWay(advertised: string): Promise<Way> {
  const found = await observeUnderlay(advertised).catch((thrown: unknown) => {
    return { kind: "none", reason: textOf(thrown) } as const;
  });
  if (found.kind === "none") return { underlay: null, lack: found.reason };
  const lack = await probeVxlan().catch(textOf);
  if (lack !== null) return { underlay: null, lack };
  const { address, device, mtu } = found;
  return { underlay: { address, device, mtu }, lack: "" };
}

/** Looks whether the way is another now; null where it cannot be seen. Never rejects. */
export async function movedTo(advertised: string): Promise<Underlay | null> {
  const found = await observeUnderlay(advertised).catch(() => null);
  if (found?.kind !== "found") return null;
  const { address, device, mtu } = found;
  return { address, device, mtu };
}

/** What is gathered anew for each change. */
export interface KernelSources {
  readonly served: () => Served;
  readonly proxy: Pick<Proxy, "stats">;
  readonly sources: Pick<Sources, "kernelGiven" | "networks">;
  /** What the sources of this host have told. */
  readonly found: Pick<Discoveries, "isAwaiting" | "heardAll" | "all">;
  readonly feed: (input: Input) => void;
  /** Called when other networks are carried than before. */
  readonly onCarried: () => void;
}

/** The data plane of one daemon. */
export interface Kernel {
  /** What members are to know of this host; null where it carries no overlays. */
  readonly overlay: NodeOverlay | null;
  /** The networks of a view whose replicas on other hosts are reached by their addresses, and ours from there. */
  carriedIn(view: View): ReadonlySet<string>;
  /** True where the kernel was chosen: what it was told stays when this daemon ends. */
  readonly isChosen: boolean;
  /** True while what was noted is not in force in the kernel; not for long, should it not come into force. */
  readonly isBehind: boolean;
  /** Settles when what was noted so far is in force, or it has taken too long. Never rejects. */
  caughtUp(): Promise<void>;
  /** Begins to act, as soon as the picture is whole. */
  begin(given: KernelSources): void;
  /** To be called whenever something that is gathered changed. */
  note(): void;
  /** To be called once the proxy has opened the listeners of a complete picture. */
  listens(): void;
  /** Leaves all as it is and changes nothing any more. */
  hold(): Promise<void>;
  /** After `hold`: leads nobody's questions for names here any more, as nobody will answer. Never rejects. */
  freeQuestions(): Promise<void>;
  /** After `hold`: how all that is ours is taken away, in this order. */
  readonly removals: readonly Removal[];
}
