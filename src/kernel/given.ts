/**
 * Given: what the plans of this folder are made of beside the view: what this host has and is allowed.
 *
 * Gathered by the daemon from Docker, the proxy and DNS; plain values, compared by value.
 *
 * Pure.
 */

import type { Bridge } from "../model/network.ts";
import type { View } from "../model/view.ts";

/** One host's side of the kernel's plan. */
export interface KernelGiven {
  readonly view: View;
  /** The range of VIPs, and of IPv6 VIPs where there are any: `10.96.0.0/12`, `fd12:3456:789a::/64`. */
  readonly pool: string;
  readonly pool6: string | null;
  /** The bridges of overlay networks that are there, sorted by network. */
  readonly bridges: readonly Bridge[];
  /** How this host is reached by others' overlays; null where it carries none. */
  readonly overlay: OwnOverlay | null;
  /** Which families this host forwards: what comes from elsewhere is led on in those only. */
  readonly forwards: Forwarding;
  /** Networks whose links could not be made: known after the parts that make them, none before. */
  readonly broken?: ReadonlySet<string>;
  /**
   * Published ports on which the proxy listens, `8080/tcp`: only they are taken over, so that what is left to the
   * proxy finds it, and another program's port is never touched.
   */
  readonly listening: ReadonlySet<string>;
  /** Where published ports are open: an address of this host, or `0.0.0.0` or `::` for all. */
  readonly ingressAddress: string;
  /** Ids of upstreams (`<replica>:<port>`, `<replica>:<port>/udp`) that this node's proxy leaves alone for now. */
  readonly ejected: ReadonlySet<string>;
  /** Containers of this host that may use services of a network though they do not ask from its bridge. */
  readonly guests: readonly Guest[];
  /** Containers whose questions for names, to whomever, are answered here; and where. */
  readonly askers: readonly Asker[];
}

/** Whether packets of a family may pass through this host: not where the system, or Docker, lets none through. */
export interface Forwarding {
  readonly v4: boolean;
  readonly v6: boolean;
}

/** This host as the far end of a tunnel. */
export interface OwnOverlay {
  /** IPv4 address and device of the underlay. */
  readonly address: string;
  readonly device: string;
  readonly mtu: number;
  /** True where WireGuard works here. */
  readonly encrypts: boolean;
}

/** An address of a container and a network whose VIPs it may use. */
export interface Guest {
  readonly address: string;
  readonly network: string;
}

/** Whose port 53 is turned to us: all that comes over a bridge, or from one address. `to` is where DNS listens. */
export type Asker =
  | { readonly kind: "bridge"; readonly device: string; readonly to: string; readonly to6?: string }
  | { readonly kind: "address"; readonly address: string; readonly to: string };

/** What the kernel does for overlay networks at the moment. */
export interface KernelFacts {
  /** How others' packets come here; null where this host carries none. */
  readonly overlay: OwnOverlay | null;
  /** The networks that work. */
  readonly carried: ReadonlySet<string>;
  readonly bridges: readonly Bridge[];
  /** Why WireGuard works here or not. */
  readonly encryption: string;
  readonly problems: readonly string[];
}
