/**
 * Contract, networks: what the admin API says of overlay networks of the cluster, and of names that services use.
 *
 * As in contract.ts, scripts rely on these shapes; the fields that stood first come first. Both kinds of network are in
 * one list, since a person asks what networks there are, not how they came to be.
 *
 * Types only. Pure.
 */

import type { MemberState } from "../model/member.ts";

/** One line of `network ls`. */
export interface NetworkLine {
  readonly name: string;
  readonly services: number;
  readonly replicas: number;
  readonly ready: number;
  /** `overlay`: made by `network create`, with a range of its own; `named`: services name it, and that is all. */
  readonly kind: "overlay" | "named";
  /** Its range, `10.160.0.0/16`; null for a named one. So are `range6`, `slices` and `vni`. */
  readonly range: string | null;
  readonly range6: string | null;
  readonly encrypted: boolean;
  /** How much of the range is in use: slices that hosts hold, of all there are. */
  readonly slices: { readonly used: number; readonly total: number; readonly bits: number } | null;
  /** Its number on the wire. */
  readonly vni: number | null;
  /** False while no host makes it real: `problems` say why. */
  readonly sound: boolean;
  readonly problems: readonly string[];
}

/** `network inspect NAME`. */
export interface NetworkDetail extends NetworkLine {
  /** Each host that holds a slice, in the order of their addresses. */
  readonly hosts: readonly NetworkHost[];
  /** Its services, `<network>/<service>`. */
  readonly serviceKeys: readonly string[];
}

/** A host's part of an overlay network. */
export interface NetworkHost {
  readonly node: string;
  readonly state: MemberState;
  /** Its slice, `10.160.3.0/24`, and the IPv6 one beside it; null where there is none. */
  readonly prefix: string;
  readonly prefix6: string | null;
  /** True while it may still be lost to another host. */
  readonly tentative: boolean;
  /** Addresses of it that replicas have, as far as this node knows, of those it can give out. */
  readonly addresses: { readonly used: number; readonly total: number };
  /** True when packets of the network reach it; otherwise its replicas are reached through its daemon. */
  readonly carries: boolean;
  /** Why it does not carry it; null when it does. */
  readonly reason: string | null;
}

/** Body of `POST networks`. */
export interface NetworkRequest {
  readonly name: string;
  /** A private IPv4 range, `10.50.0.0/16`; left out or null for one of `overlay.pool`. */
  readonly subnet?: string | null;
  /** Left out for false. */
  readonly encrypted?: boolean;
  /** Left out for true: IPv6 addresses beside the IPv4 ones. */
  readonly ipv6?: boolean;
}

/** What became of `POST networks`. */
export interface NetworkResult {
  readonly name: string;
  readonly range: string;
  readonly range6: string | null;
  readonly encrypted: boolean;
  readonly slices: { readonly total: number; readonly bits: number };
  readonly vni: number;
  /** False when it was there already, just so. */
  readonly created: boolean;
  /** True when containers of this host can be on it by now; other hosts follow by themselves. */
  readonly ready: boolean;
}

/** What became of `DELETE networks/{name}`. */
export interface NetworkRemoval {
  readonly name: string;
  /** Replicas and containers that are on it still, as far as this node knows: only with `force`. */
  readonly users: readonly string[];
}
