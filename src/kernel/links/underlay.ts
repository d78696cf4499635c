/**
 * Underlay: by which device others reach this host, and how large a packet it takes.
 *
 * Tunnels go to the address at which the mesh is reached, for that one is known to work between hosts. It has to be an
 * address of this host itself: packets from another one would be no answer to what the others sent. Where it is not
 * (a translation in between, loopback, an IPv6 mesh) there is no overlay, and replicas of other hosts are reached by
 * streams as before.
 *
 * Touches: processes (`ip`).
 */

import { textOf } from "../../base/failure.ts";
import { isIpv4, isLocalToHost } from "../../base/ip.ts";
import { run } from "../../runtime/exec.ts";

import { parseUnderlay, type Underlay } from "./parse-underlay.ts";

const DEADLINE_MS = 2000;

/** A device for a moment, called as no bridge of a network is, and a number no network has. */
const PROBE_DEVICE = "skein-vx-try";
const PROBE_VNI = "4095";

/** Finds the device that has an address. Never rejects. @param address  the one others reach this host's mesh by */
export async function observeUnderlay(address: string): Promise<Underlay> {
  if (!isIpv4(address) || isLocalToHost(address)) {
    return {
      kind: "none",
      reason: `this host is reached at ${address}; overlay networks want an IPv4 address`,
    };
  }
  try {
    const { status, stdout, stderr } = await run("ip", ["-4", "-j", "addr", "show", "to", `${address}/32`], {
      deadlineMs: DEADLINE_MS,
    });
    if (status !== 0) return { kind: "none", reason: `its addresses cannot be read: ${stderr.trim()}` };
    return parseUnderlay(stdout, address);
  } catch (thrown) {
    return { kind: "none", reason: `its addresses cannot be read: ${textOf(thrown)}` };
  }
}

/** Whether this kernel makes VXLAN devices and we may; null when it does, else the reason. Never rejects. */
export async function probeVxlan(): Promise<string | null> {
  // Only one of that kind: somebody else's may have the name.
  const remove = async (): Promise<void> => {
    const named = ["-o", "link", "show", "dev", PROBE_DEVICE, "type", "vxlan"];
    const { stdout } = await run("ip", named, { deadlineMs: DEADLINE_MS });
    if (stdout.trim() === "") return;
    await run("ip", ["link", "del", "dev", PROBE_DEVICE], { deadlineMs: DEADLINE_MS });
  };
  try {
    // One that was left by a daemon that ended at this very moment.
    await remove();
    const make = ["link", "add", PROBE_DEVICE, "type", "vxlan", "id", PROBE_VNI, "dstport", "0"];
    const { status, stderr } = await run("ip", make, { deadlineMs: DEADLINE_MS });
    if (status !== 0) return `no VXLAN: ${stderr.trim()}`;
    await remove();
    return null;
  } catch (thrown) {
    return `no VXLAN: ${textOf(thrown)}`;
  }
}
