/**
 * Reading: what the programs ip and wg say of a WireGuard device, as values.
 *
 * `wg` prints the private key and preshared keys beside the rest; they are dropped here and go nowhere.
 *
 * Pure.
 */

import type { Observed, ObservedPeer } from "./changes.ts";

/** A link as it is there. */
export interface ObservedLink extends Pick<Observed, "mtu" | "isUp" | "addresses"> {
  /** `wireguard`; `tun` where a program serves it; any other is not ours. */
  readonly kind: string;
}

/** What `wg show <device> dump` tells (wg(8)), without the secrets in it. */
export function parseDump(text: string): Pick<Observed, "key" | "port" | "peers"> {
  const [first = "", ...rest] = text.split("\n").filter((line) => line !== "");
  const [, key = "", port = ""] = first.split("\t");
  const peers = rest.map((line): ObservedPeer => {
    const [peer = "", , endpoint = "", allowed = ""] = line.split("\t");
    return {
      key: peer,
      endpoint: endpoint === "(none)" || endpoint === "" ? null : endpoint,
      allowed: allowed === "(none)" || allowed === "" ? [] : allowed.split(",").sort(),
    };
  });
  return { key: key === "(none)" || key === "" ? null : key, port: Number(port) || 0, peers };
}

/**
 * What `ip -json -details address show dev <device>` tells of it (ip-address(8)).
 *
 * @returns null where the text is not that
 */
export function parseLink(text: string): ObservedLink | null {
  const link = firstOf(parsed(text));
  if (link === null) return null;
  const { mtu, flags, addr_info: entries, linkinfo } = link;
  const kind = isFields(linkinfo) ? linkinfo["info_kind"] : "";
  if (typeof mtu !== "number" || !Array.isArray(flags) || !Array.isArray(entries)) return null;
  const addresses = entries.flatMap((entry: unknown) => {
    if (!isFields(entry) || entry["family"] !== "inet") return [];
    const { local, prefixlen } = entry;
    return typeof local === "string" && typeof prefixlen === "number" ? [`${local}/${prefixlen}`] : [];
  });
  return { kind: typeof kind === "string" ? kind : "", mtu, isUp: flags.includes("UP"), addresses };
}

type Fields = Readonly<Record<string, unknown>>;

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function firstOf(value: unknown): Fields | null {
  // ip prints an empty object for what its filter leaves out.
  const found: unknown = Array.isArray(value) ? value.find((one) => isFields(one) && "mtu" in one) : null;
  return isFields(found) ? found : null;
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
