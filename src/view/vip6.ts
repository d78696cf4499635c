/**
 * Vip6: which services of this node's view have an IPv6 address.
 *
 * The address itself is a hash (model/vip6.ts); what is decided here is only who gets one: every service, or those of
 * networks that have an IPv6 range. Both change as seldom as the configuration and the list of networks do.
 *
 * Pure: the memory of one node.
 */

import type { NetworkRange } from "../model/network.ts";
import { isSameVip6, vip6Of, type Vip6Rule } from "../model/vip6.ts";

/** Remembers the rule, and the networks to which it applies. */
export class Vip6s {
  #rule: Vip6Rule | null = null;
  #networks: ReadonlySet<string> = new Set();

  /** Takes the rule (null: no service has any) and the networks. @returns true when some service may have another */
  set(rule: Vip6Rule | null, networks: readonly NetworkRange[]): boolean {
    const wide = new Set(networks.flatMap(({ name, range6 }) => (range6 === undefined ? [] : [name])));
    const isSame = isSameVip6(rule, this.#rule) && isSameSet(wide, this.#networks);
    if (isSame) return false;
    this.#rule = rule;
    this.#networks = wide;
    return true;
  }

  /** The address of a service, should it be one that has any; null where it has none. */
  of(network: string, service: string): string | null {
    const rule = this.#rule;
    if (rule === null || (!rule.isEvery && !this.#networks.has(network))) return null;
    return vip6Of(rule.pool, network, service);
  }
}

function isSameSet(one: ReadonlySet<string>, other: ReadonlySet<string>): boolean {
  return one.size === other.size && [...one].every((name) => other.has(name));
}
