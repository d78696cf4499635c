/**
 * Parse-underlay: the device that has an address, out of what `ip -j addr show to` tells.
 *
 * Pure. underlay.ts asks.
 */

/** Where overlay packets come in; or why there is no such place, in words. */
export type Underlay =
  | { readonly kind: "found"; readonly address: string; readonly device: string; readonly mtu: number }
  | { readonly kind: "none"; readonly reason: string };

/** The smallest link that a member may say it has (RFC 8200 5), and the largest packet of IPv4. */
const MTU_MIN = 1280;
const MTU_MAX = 65_535;

/** The device of a listing that has the address; where several have it, the first. */
export function parseUnderlay(listing: string, address: string): Underlay {
  const none = (why: string): Underlay => ({ kind: "none", reason: `${address}, ${why}` });
  let parsed: unknown;
  try {
    parsed = JSON.parse(listing === "" ? "[]" : listing);
  } catch {
    return none("of which its devices tell nothing that is JSON");
  }
  // Older programs put empty objects in the place of what does not fit.
  const devices = Array.isArray(parsed) ? parsed.filter((value) => isDevice(value, address)) : [];
  const [device] = devices;
  if (device === undefined) {
    return none("by which others reach this host, is no address of it (translated on the way?)");
  }
  if (device.mtu < MTU_MIN)
    return none(`is on ${device.ifname} with an MTU of ${device.mtu}; expected 1280 or more`);
  return { kind: "found", address, device: device.ifname, mtu: Math.min(device.mtu, MTU_MAX) };
}

interface Device {
  readonly ifname: string;
  readonly mtu: number;
}

function isDevice(value: unknown, address: string): value is Device {
  if (typeof value !== "object" || value === null || !("ifname" in value) || !("mtu" in value)) return false;
  const addresses: unknown = "addr_info" in value ? value.addr_info : [];
  const hasIt = Array.isArray(addresses) && addresses.some((one: unknown) => isAddress(one, address));
  return typeof value.ifname === "string" && typeof value.mtu === "number" && hasIt;
}

function isAddress(value: unknown, address: string): boolean {
  return typeof value === "object" && value !== null && "local" in value && value.local === address;
}
