/**
 * Doctor facts: what `skein doctor` looks at beside the status, gathered from the parts when somebody asks.
 *
 * Touches: resolv.conf files of containers, through the source; /proc; the monotonic clock.
 */

import type { DoctorFacts } from "../admin/doctor.ts";
import { askedAgoMsOf, placeOf } from "../admin/name-path.ts";
import { renderHostPort } from "../base/ip.ts";
import { DNS_PORT } from "../base/nameservers.ts";
import type { DnsServer } from "../dns/server.ts";
import { nowMs } from "../runtime/clock.ts";
import { survey } from "../runtime/sharing.ts";

import { upstreamsOf, type Report } from "./report.ts";

/** The facts of this moment. */
export async function doctorFacts(report: Report, dns: DnsServer): Promise<DoctorFacts> {
  const paths = await report.namePaths();
  const lastAskedMs = (address: string): number | null => {
    const askedAtMs = dns.lastAskedMs(address);
    // The DNS server counts from the start of the process, the clock of all else from 1970.
    return askedAtMs === null ? null : performance.timeOrigin + askedAtMs;
  };
  const dnsPlaces = dns.places.map((place) => renderHostPort(place));
  return {
    dnsPlaces,
    gateways: report.gateways,
    upstreams: upstreamsOf(dns),
    holderByPlace: await holdersOf(report.gateways, dnsPlaces),
    containers: paths.map((path) => ({
      ...path,
      askedAgoMs: askedAgoMsOf(path.addresses, lastAskedMs, nowMs()),
    })),
  };
}

/** What holds port 53 of the gateways where we do not answer. */
async function holdersOf(
  gateways: readonly string[],
  dnsPlaces: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const holderByPlace = new Map<string, string>();
  const seen = await survey();
  for (const host of gateways) {
    const place = placeOf(host);
    if (dnsPlaces.includes(place)) continue;
    const at = { host, port: DNS_PORT };
    const holder = (await seen.holderOf(at, "udp")) ?? (await seen.holderOf(at, "tcp"));
    if (holder !== null) holderByPlace.set(place, holder);
  }
  return holderByPlace;
}
