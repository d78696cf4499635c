/**
 * Server: the DNS server as the daemon sees it: addresses that come and go, a zone that is replaced whole.
 *
 * Here the parts become one: listeners that bring queries (listeners.ts), the responder that answers them, the
 * forwarder for foreign names. All addresses share one responder, cache and set of bounds. A server that is its own
 * upstream is refused: it would ask itself until its bounds stop it.
 *
 * Touches: UDP and TCP sockets, metrics, the log, through its parts.
 */

import { Failure } from "../base/failure.ts";
import { isLoopback, isSamePlace, renderHostPort, type HostPort } from "../base/ip.ts";
import type { Random } from "../base/random.ts";
import { LIMITS } from "../model/limits.ts";
import { nowMs } from "../runtime/clock.ts";
import type { Log } from "../runtime/log.ts";
import type { Metrics } from "../runtime/metrics.ts";

import type { Asker, Stranger } from "./names/lookup.ts";
import { Connections } from "./tcp/connections.ts";
import { openForwarder, type Forwarder, type ForwarderStats } from "./forward/forward.ts";
import { Listeners, type ListenersOptions, type Unserved } from "./listeners.ts";
import { openResponder } from "./responder.ts";
import { isOurself } from "./forward/upstream.ts";
import type { Zone } from "./names/zone.ts";

/**
 * How long upstreams get. glibc asks again after 5 s and musl after 2.5 s: by then a second server must have had its
 * turn, and a client must not give up a moment before our SERVFAIL. What is due is told earlier (RFC 8767 5: 1.8 s).
 */
const FORWARD_TIMES = { hedgeMs: 200, roundMs: 1000, staleAfterMs: 1800, totalMs: 4000 };

/** For what came before to be answered when another server goes on. */
const LEAVE_MS = FORWARD_TIMES.totalMs + 1000;

/** What the daemon tells the server. */
export interface DnsServerOptions extends Pick<ListenersOptions, "ownAddresses" | "lookEveryMs" | "shared"> {
  /** Where to answer; port 0 lets the system choose, one port for both protocols. A wildcard is every address. */
  readonly listen: readonly HostPort[];
  readonly zone: Zone;
  /** Who stands behind an address (IPv4 never in its IPv6 form). */
  readonly askerOf: (address: string) => Asker | Stranger;
  /** Told when the query of a stranger waits for `askersTold`. */
  readonly onStranger?: () => void;
  /** For how long at most an answer with this address waits for `listenersTold`, milliseconds; 0 unless told. */
  readonly opensInMs?: (address: string) => number;
  /** Whose foreign names are forwarded; the others' are refused. */
  readonly isAllowed: (address: string) => boolean;
  /** In the order in which they are asked; none: foreign names are refused. */
  readonly upstreams: readonly HostPort[];
  /** TCP connections at once, LIMITS.dnsConnectionsMax unless told otherwise: each takes a file descriptor. */
  readonly connectionsMax?: number;
  /** Sockets for questions to upstreams at once, LIMITS.dnsExchangesMax unless told otherwise. */
  readonly exchangesMax?: number;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly random: Random;
}

/** What goes on inside, for `skein status` and the tests. */
export interface DnsStats {
  readonly serial: number;
  readonly cacheEntries: number;
  readonly cacheBytes: number;
  readonly forwarding: ForwarderStats;
  readonly tcpConnections: number;
}

/** A running DNS server. */
export interface DnsServer {
  /** What it was asked to answer at, ports resolved, wildcards as such, in the order in which they were added. */
  readonly addresses: readonly HostPort[];
  /** Where sockets are open: of a wildcard each address of this host. */
  readonly places: readonly HostPort[];
  /** Addresses that a wildcard stands for and that cannot be served at the moment; they are tried again. */
  readonly unserved: readonly Unserved[];
  /** Answers from this zone from now on. */
  setZone(zone: Zone): void;
  /** To be called when who stands behind addresses has changed. */
  askersTold(): void;
  /** To be called when what `opensInMs` tells has become 0 for some addresses. */
  listenersTold(): void;
  /** Forwards to these from now on; those that are this server are left out for as long as they are. */
  setUpstreams(upstreams: readonly HostPort[]): void;
  /**
   * Answers at one more address; at one that is there already, nothing changes. It is no upstream meanwhile.
   *
   * @throws Failure as openDnsServer
   */
  listenOn(address: HostPort): Promise<HostPort>;
  /** Stops answering at an address, as `addresses` tells it; one that is not there is none to stop. */
  stopListening(address: HostPort): Promise<void>;
  /** When an address last asked for a name, as performance.now() counts; null when it did not, or long ago. */
  lastAskedMs(address: string): number | null;
  stats(): DnsStats;
  /**
   * Leaves queries that come from now on to a server beside this one, and answers those that came before. Settles once
   * that is done and all is closed, within five seconds, or as soon as `close` is called.
   */
  leave(): Promise<void>;
  /** Ends every socket and connection at once; forwarded queries under way are given up. */
  close(): Promise<void>;
}

/**
 * Opens the server on all its addresses, or on none.
 *
 * @throws Failure `busy` for a taken port, `not-allowed` for one that needs a privilege, `unreachable` for an address
 *   this host does not have, `invalid` for an upstream that is this server
 */
export async function openDnsServer(options: DnsServerOptions): Promise<DnsServer> {
  const forwarder = openForwarder({ ...options, times: FORWARD_TIMES, nowMs });
  const responder = openResponder({ ...options, forwarder });
  const connections = openConnections(options);
  const listeners = new Listeners({ ...options, responder, connections });

  let wished = options.upstreams;
  const chooseUpstreams = (): void => choose(wished, { listeners, forwarder, log: options.log });

  const listenOn = async (wanted: HostPort): Promise<HostPort> => {
    const address = await listeners.add(wanted);
    // Not a reason to refuse the address: a host may well name the gateway of its own bridge in its resolv.conf.
    chooseUpstreams();
    return address;
  };

  const close = async (): Promise<void> => {
    for (const part of [forwarder, responder]) part.close();
    await listeners.close();
  };

  try {
    const own = options.upstreams.find((upstream) => isOurself(upstream, options.listen));
    if (own !== undefined) {
      const text = `dns upstream ${renderHostPort(own)} is this daemon itself; expected another server`;
      throw new Failure("invalid", text);
    }
    for (const address of options.listen) await listeners.add(address);
  } catch (thrown) {
    await close();
    throw thrown;
  }
  forwarder.watchLoops();

  return {
    get addresses() {
      return listeners.wanted;
    },
    get places() {
      return listeners.places;
    },
    get unserved() {
      return listeners.unserved;
    },
    setZone: (zone) => responder.setZone(zone),
    askersTold: () => responder.askersTold(),
    listenersTold: () => responder.listenersTold(),
    setUpstreams: (upstreams) => {
      wished = upstreams;
      chooseUpstreams();
    },
    listenOn,
    async stopListening(address) {
      await listeners.remove(address);
      chooseUpstreams();
    },
    lastAskedMs: (address) => responder.lastAskedMs(address),
    stats: () => ({
      serial: responder.serial,
      cacheEntries: responder.cacheEntries,
      cacheBytes: responder.cacheBytes,
      forwarding: forwarder.stats(),
      tcpConnections: connections.total,
    }),
    async leave() {
      await listeners.leave(LEAVE_MS);
      await close();
    },
    close,
  };
}

/** Those of the wished that are this server are not asked, and asked again when they are it no more. */
function choose(
  wished: readonly HostPort[],
  { listeners, forwarder, log }: { listeners: Listeners; forwarder: Forwarder; log: DnsServerOptions["log"] },
): void {
  const own = wished.filter((upstream) => isOurself(upstream, listeners.wanted));
  const isAsked = (one: HostPort): boolean => forwarder.upstreams.some((asked) => isSamePlace(asked, one));
  for (const upstream of own.filter(isAsked)) {
    log.warn("dns upstream is this daemon itself, and is not asked", { upstream: renderHostPort(upstream) });
  }
  forwarder.setUpstreams(wished.filter((upstream) => !own.includes(upstream)));
}

function openConnections({ connectionsMax, askerOf }: DnsServerOptions): Connections {
  const isLocal = (address: string): boolean => isLoopback(address) || askerOf(address).kind === "container";
  return new Connections({ max: connectionsMax ?? LIMITS.dnsConnectionsMax, isLocal });
}
