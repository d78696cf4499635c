/**
 * Flows: which connections the kernel is to forget, as words for the program conntrack.
 *
 * A client of UDP that keeps its port is led to the same upstream for as long as it sends, whatever the rules say by
 * then; one of TCP that waits for an answer repeats itself to the same one. When an upstream goes, or becomes doubtful,
 * both are forgotten, and the next packet finds another. Connections that are established go on: the upstream may
 * finish what it has begun. One that is answered within the few milliseconds between being listed and being forgotten
 * is lost, for the kernel forgets by name and not by state; who did not answer for seconds seldom does so then.
 *
 * Pure. conntrack.ts runs the words.
 */

import { isIpv6 } from "../../base/ip.ts";

import { endpointKey, MARK_LED, MARK_LED_MASK, type Endpoint } from "./ruleset.ts";

/** Upstreams that wait for their flows to be forgotten, at most: more than have gone at once anywhere. */
export const PENDING_MAX = 8192;

/** One walk through the kernel's table for each of so many; beyond, it is asked first who has any flows. */
export const FEW = 16;

/** The two kinds of addresses, and what conntrack calls them. */
export const FAMILIES = ["ipv4", "ipv6"] as const;

/** One of them. */
export type FlowFamily = (typeof FAMILIES)[number];

/** What waits to be forgotten. UDP goes first: TCP gives up by itself, and its client is told. */
export class Pending {
  readonly #udp = new Map<string, Endpoint>();
  readonly #tcp = new Map<string, Endpoint>();
  #lost = 0;

  get size(): number {
    return this.#udp.size + this.#tcp.size;
  }

  /** How many found no place since it was asked last: their flows wait for their own timeout. */
  takeLost(): number {
    const lost = this.#lost;
    this.#lost = 0;
    return lost;
  }

  add(endpoint: Endpoint): void {
    const queue = endpoint.transport === "udp" ? this.#udp : this.#tcp;
    const key = endpointKey(endpoint);
    if (queue.has(key)) return;
    if (this.size >= PENDING_MAX) {
      this.#lost += 1;
      const [oldest] = this.#tcp.keys();
      if (endpoint.transport === "tcp" || oldest === undefined) return;
      this.#tcp.delete(oldest);
    }
    queue.set(key, endpoint);
  }

  /** The next one, which waits no more; null for none. */
  take(): Endpoint | null {
    for (const queue of [this.#udp, this.#tcp]) {
      for (const [key, endpoint] of queue) {
        queue.delete(key);
        return endpoint;
      }
    }
    return null;
  }

  /** Those that are not like this wait no more. */
  keepOnly(isMeant: (endpoint: Endpoint, key: string) => boolean): void {
    for (const queue of [this.#udp, this.#tcp])
      for (const [key, endpoint] of queue) if (!isMeant(endpoint, key)) queue.delete(key);
  }
}

/** The endpoints that were there and are no more. */
export function goneEndpoints(
  before: ReadonlyMap<string, Endpoint>,
  after: ReadonlyMap<string, Endpoint>,
): readonly Endpoint[] {
  return [...before].flatMap(([key, endpoint]) => (after.has(key) ? [] : [endpoint]));
}

/** The arguments of the call that forgets what leads to one. Only connections that we led are meant. */
export function forgetArguments({ address, transport, port }: Endpoint): readonly string[] {
  const from = ["--reply-src", address, "--reply-port-src", String(port)];
  return ["-D", ...selection(familyOf(address), transport), ...from];
}

/** The arguments of the call that lists what would be forgotten, whomever it leads to. */
export function listArguments(family: FlowFamily, transport: Endpoint["transport"]): readonly string[] {
  return ["-L", ...selection(family, transport)];
}

/** What conntrack calls the family of an address. */
export function familyOf(address: string): FlowFamily {
  return isIpv6(address) ? "ipv6" : "ipv4";
}

function selection(family: FlowFamily, transport: Endpoint["transport"]): readonly string[] {
  const state = transport === "tcp" ? ["--state", "SYN_SENT"] : [];
  return ["-f", family, "-p", transport, ...state, "-m", `${MARK_LED}/${MARK_LED_MASK}`];
}

/** The upstreams of flows that `conntrack -L` lists, by key. Those that went back to the proxy have none. */
export function upstreamsIn(
  listing: string,
  transport: Endpoint["transport"],
): ReadonlyMap<string, Endpoint> {
  const found = new Map<string, Endpoint>();
  for (const line of listing.split("\n")) {
    // The second of each is that of the answer; it comes from whom was asked where nobody was led elsewhere.
    const [, address = ""] = valuesOf(line, "src");
    const [, port = ""] = valuesOf(line, "sport");
    const [asked] = valuesOf(line, "dst");
    const [askedPort] = valuesOf(line, "dport");
    if (address === "" || port === "" || (address === asked && port === askedPort)) continue;
    const endpoint: Endpoint = { address, transport, port: Number(port) };
    found.set(endpointKey(endpoint), endpoint);
  }
  return found;
}

function valuesOf(line: string, name: string): readonly string[] {
  return line
    .split(/\s+/)
    .flatMap((word) => (word.startsWith(`${name}=`) ? [word.slice(name.length + 1)] : []));
}
