/**
 * Flows: which connections the kernel is to forget, as words for the program conntrack.
 *
 * A client of UDP that keeps its port is led to the same upstream for as long as it sends, whatever the rules say by
 * then; one of TCP that waits for an answer repeats itself to the same one. When an upstream goes, or becomes doubtful,
 * both are forgotten, and the next packet finds another. Connections that are established go on: the upstream may
 * finish what it has begun.
 *
 * Pure. conntrack.ts runs the words.
 */

import { isIpv6 } from "../../base/ip.ts";

import { endpointKey, MARK_LED, MARK_LED_MASK, type Endpoint } from "./ruleset.ts";

/** Each costs a walk through the kernel's table; what goes beyond waits for its own timeout. */
export const FORGOTTEN_MAX = 128;

/** The endpoints that were there and are no more, at most FORGOTTEN_MAX. */
export function goneEndpoints(
  before: ReadonlyMap<string, Endpoint>,
  after: ReadonlyMap<string, Endpoint>,
): readonly Endpoint[] {
  const gone: Endpoint[] = [];
  for (const [key, endpoint] of before) {
    if (after.has(key)) continue;
    gone.push(endpoint);
    if (gone.length === FORGOTTEN_MAX) break;
  }
  return gone;
}

/** The arguments of the call that forgets what leads to one. Only connections that we led are meant. */
export function forgetArguments({ address, transport, port }: Endpoint): readonly string[] {
  const family = isIpv6(address) ? "ipv6" : "ipv4";
  const state = transport === "tcp" ? ["--state", "SYN_SENT"] : [];
  const from = ["--reply-src", address, "--reply-port-src", String(port)];
  return ["-D", "-f", family, "-p", transport, ...state, ...from, "-m", LED];
}

/** The arguments of the call that lists the UDP flows that we led. */
export function listArguments(family: "ipv4" | "ipv6"): readonly string[] {
  return ["-L", "-f", family, "-p", "udp", "-m", LED];
}

const LED = `${MARK_LED}/${MARK_LED_MASK}`;

/** The upstreams of UDP flows that `conntrack -L` lists, and that may keep none, at most FORGOTTEN_MAX. */
export function staleEndpoints(listing: string, kept: ReadonlyMap<string, Endpoint>): readonly Endpoint[] {
  const stale = new Map<string, Endpoint>();
  for (const line of listing.split("\n")) {
    // The second of each is that of the answer.
    const [address = ""] = valuesOf(line, "src").slice(1);
    const [port = ""] = valuesOf(line, "sport").slice(1);
    const endpoint: Endpoint = { address, transport: "udp", port: Number(port) };
    if (address === "" || port === "" || kept.has(endpointKey(endpoint))) continue;
    stale.set(endpointKey(endpoint), endpoint);
    if (stale.size === FORGOTTEN_MAX) break;
  }
  return [...stale.values()];
}

function valuesOf(line: string, name: string): readonly string[] {
  return line
    .split(/\s+/)
    .flatMap((word) => (word.startsWith(`${name}=`) ? [word.slice(name.length + 1)] : []));
}
