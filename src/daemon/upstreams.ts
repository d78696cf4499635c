/**
 * Upstreams: whom DNS asks about foreign names: those of the configuration, and for `auto` the host's own resolver.
 *
 * A host's resolver changes while we run: a laptop moves, a VPN comes, a lease is renewed. Whoever only read it at the
 * start would ask servers that are no longer there. But a file that names nobody, or only ourselves, is not followed:
 * it may be half written, and servers that worked a moment ago are better than none.
 *
 * Touches: the host's resolv.conf, the log.
 */

import { textOf } from "../base/failure.ts";
import { renderHostPort, type HostPort } from "../base/ip.ts";
import { latest } from "../base/latest.ts";
import type { DnsServer } from "../dns/server.ts";
import { isOurself, readUpstreams, watchResolver } from "../dns/forward/upstream.ts";

import type { Base } from "./base.ts";

/** Where a host's resolver is configured. */
const RESOLV_CONF = "/etc/resolv.conf";

const NONE_ANY_MORE = "resolv.conf names no other server any more, those that it named before are asked";

/** The upstreams as they are at the start. @throws Failure `unreachable` when resolv.conf cannot be read */
export async function findUpstreams(base: Base): Promise<readonly HostPort[]> {
  const { upstream, listen } = base.options.config.dns;
  const found = upstream.includes("auto") ? await readUpstreams(RESOLV_CONF, listen) : [];
  const upstreams = inOrder(upstream, found);
  tellChoice(base, upstreams);
  return upstreams;
}

/** Keeps the server's upstreams as the host's resolver has them, until the daemon ends. */
export function followUpstreams(
  { options, lifecycle, report }: Pick<Base, "options" | "lifecycle" | "report">,
  server: Pick<DnsServer, "addresses" | "setUpstreams" | "stats">,
  path = RESOLV_CONF,
): void {
  const { upstream } = options.config.dns;
  if (!upstream.includes("auto")) return;
  const asked = (): string => textsOf(server.stats().forwarding.upstreams.map(({ address }) => address));
  const refresh = latest<null>(
    async () => {
      const found = await readUpstreams(path, []);
      const before = asked();
      if (found.every((one) => isOurself(one, server.addresses))) {
        if (before !== textsOf(inOrder(upstream, [])))
          options.log.warn(NONE_ANY_MORE, { path, upstreams: before });
        return;
      }
      // With those that are ourselves: the server leaves them out for as long as they are.
      server.setUpstreams(inOrder(upstream, found));
      if (asked() === before) return;
      report.choose("dns.upstream", asked(), path);
      options.log.info("dns upstreams changed", { upstreams: asked() });
    },
    (thrown) => options.log.warn("dns upstreams stay as they are", { path, error: textOf(thrown) }),
  );
  const end = watchResolver(path, () => refresh.set(null));
  // What changed since it was read at the start, the watch does not tell.
  refresh.set(null);
  lifecycle.opened({ name: "resolver watch", close: end });
}

/** What `auto` found stands where `auto` is written; a server that is named twice is asked once. */
function inOrder(
  configured: readonly (HostPort | "auto")[],
  found: readonly HostPort[],
): readonly HostPort[] {
  const all = configured.flatMap((one) => (one === "auto" ? found : [one]));
  return [...new Map(all.map((one) => [renderHostPort(one), one])).values()];
}

function tellChoice(
  { options, report }: Pick<Base, "options" | "report">,
  upstreams: readonly HostPort[],
): void {
  if (!options.config.dns.upstream.includes("auto")) return;
  report.choose("dns.upstream", upstreams.length === 0 ? "none" : textsOf(upstreams), RESOLV_CONF);
}

function textsOf(upstreams: readonly HostPort[]): string {
  return upstreams.map((upstream) => renderHostPort(upstream)).join(", ");
}
