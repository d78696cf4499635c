/**
 * Server: the DNS server as the daemon sees it: addresses that come and go, a zone that is replaced whole.
 *
 * Each address is served over UDP and TCP on one port: a truncated answer sends the client to TCP (RFC 7766 5), so one
 * without the other is half a server. A port that is taken is a Failure that says what to do, never a server that
 * silently listens elsewhere. All addresses share one responder, cache and set of bounds.
 *
 * Touches: UDP and TCP sockets, metrics, the log.
 */

import { Failure, systemCodeOf, textOf } from "../base/failure.ts";
import { renderHostPort, type HostPort } from "../base/ip.ts";
import type { Random } from "../base/random.ts";
import type { Log } from "../runtime/log.ts";
import type { Metrics } from "../runtime/metrics.ts";

import type { Asker } from "./answer.ts";
import { openForwarder } from "./forward.ts";
import { openResponder, type Responder } from "./responder.ts";
import { countConnections, TcpListener, type ConnectionCount } from "./tcp.ts";
import { UdpListener } from "./udp.ts";
import { isOurself } from "./upstream.ts";
import type { Zone } from "./zone.ts";

/**
 * How long upstreams get. glibc asks again after 5 s and musl after 2.5 s: by then a second server must have had its
 * turn, and a client must not give up a moment before our SERVFAIL.
 */
const FORWARD_TIMES = { tryMs: 1000, totalMs: 4000 };

/** RFC 7766 6.2.3 wants "on the order of seconds"; the longest wait for an upstream must fit in. */
const IDLE_MS = 10_000;

/** Ports to try when the system chose one for UDP that is taken for TCP. */
const PORT_CHOICES_MAX = 16;

/** What the daemon tells the server. */
export interface DnsServerOptions {
  /** Where to answer; port 0 lets the system choose, one port for both protocols. */
  readonly listen: readonly HostPort[];
  readonly zone: Zone;
  /** Who stands behind an address (IPv4 never in its IPv6 form). */
  readonly askerOf: (address: string) => Asker;
  /** Whose foreign names are forwarded; the others' are refused. */
  readonly isAllowed: (address: string) => boolean;
  /** In the order in which they are asked; none: foreign names are refused. */
  readonly upstreams: readonly HostPort[];
  readonly log: Log;
  readonly metrics: Metrics;
  readonly random: Random;
}

/** What goes on inside, for `skein status` and the tests. */
export interface DnsStats {
  readonly serial: number;
  readonly cacheEntries: number;
  readonly cacheBytes: number;
  readonly forwardsUnderWay: number;
  readonly tcpConnections: number;
}

/** A running DNS server. */
export interface DnsServer {
  /** Where it answers now, ports resolved, in the order in which they were added. */
  readonly addresses: readonly HostPort[];
  /** Answers from this zone from now on. */
  setZone(zone: Zone): void;
  /**
   * Answers at one more address; at one that is there already, nothing changes.
   *
   * @throws Failure as openDnsServer
   */
  listenOn(address: HostPort): Promise<HostPort>;
  /** Stops answering at an address, as `addresses` tells it; one that is not there is none to stop. */
  stopListening(address: HostPort): Promise<void>;
  stats(): DnsStats;
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
  const { upstreams, log, metrics } = options;
  const forwarder = upstreams.length === 0 ? null : openForwarder({ upstreams, ...FORWARD_TIMES });
  const responder = openResponder({ ...options, forwarder });
  const parts: ListenerParts = { responder, metrics, connections: countConnections() };
  const listeners: Listener[] = [];

  const listenOn = async (wanted: HostPort): Promise<HostPort> => {
    const there = listeners.find(({ address }) => isSame(address, wanted));
    if (there !== undefined) return there.address;
    const listener = await openListener(wanted, parts);
    const own = upstreams.find((upstream) => isOurself(upstream, [listener.address]));
    if (own !== undefined) {
      await listener.close();
      const text = `dns upstream ${renderHostPort(own)} is this daemon itself; expected another server`;
      throw new Failure("invalid", text);
    }
    listeners.push(listener);
    log.info("answering dns", { address: renderHostPort(listener.address) });
    return listener.address;
  };

  const stopListening = async (wanted: HostPort): Promise<void> => {
    const at = listeners.findIndex(({ address }) => isSame(address, wanted));
    const [listener] = at === -1 ? [] : listeners.splice(at, 1);
    await listener?.close();
  };

  const close = async (): Promise<void> => {
    forwarder?.close();
    await Promise.all(listeners.splice(0).map((listener) => listener.close()));
  };

  try {
    for (const address of options.listen) await listenOn(address);
  } catch (thrown) {
    await close();
    throw thrown;
  }

  return {
    get addresses() {
      return listeners.map(({ address }) => address);
    },
    setZone: (zone) => responder.setZone(zone),
    listenOn,
    stopListening,
    stats: () => ({
      serial: responder.serial,
      cacheEntries: responder.cacheEntries,
      cacheBytes: responder.cacheBytes,
      forwardsUnderWay: forwarder?.underWay ?? 0,
      tcpConnections: parts.connections.total,
    }),
    close,
  };
}

function isSame(one: HostPort, other: HostPort): boolean {
  return one.host === other.host && one.port === other.port;
}

/** What the sockets of all addresses share. */
interface ListenerParts {
  readonly responder: Responder;
  readonly connections: ConnectionCount;
  readonly metrics: Metrics;
}

/** One address, both protocols. */
interface Listener {
  readonly address: HostPort;
  close(): Promise<void>;
}

/** Opens UDP and TCP on one port. For port 0 the system chooses by UDP; TCP may be taken there, so it is tried anew. */
async function openListener(wanted: HostPort, parts: ListenerParts): Promise<Listener> {
  for (let choice = 1; ; choice += 1) {
    try {
      return await openBoth(wanted, parts);
    } catch (thrown) {
      const isTaken = thrown instanceof Failure && thrown.code === "busy";
      if (!isTaken || wanted.port !== 0 || choice === PORT_CHOICES_MAX) throw thrown;
    }
  }
}

async function openBoth(wanted: HostPort, parts: ListenerParts): Promise<Listener> {
  const udp = new UdpListener(wanted.host, parts.responder, parts.metrics);
  const tcp = new TcpListener({ ...parts, idleMs: IDLE_MS });
  const close = async (): Promise<void> => {
    await tcp.shut();
    await udp.shut();
  };
  let protocol: "udp" | "tcp" = "udp";
  try {
    const address = await udp.open(wanted);
    protocol = "tcp";
    await tcp.open(address);
    return { address, close };
  } catch (cause) {
    await close();
    throw openFailure(wanted, protocol, cause);
  }
}

function openFailure({ host, port }: HostPort, protocol: "udp" | "tcp", cause: unknown): Failure {
  const where = `dns address ${renderHostPort({ host, port })}/${protocol}`;
  const code = systemCodeOf(cause);
  if (code === "EADDRINUSE") {
    const remedy = `stop what listens there (ss -lnp "sport = :${port}") or choose another in dns.listen`;
    return new Failure("busy", `${where} is taken; expected a free port: ${remedy}`, { cause });
  }
  if (code === "EACCES" || code === "EPERM") {
    const remedy = "give CAP_NET_BIND_SERVICE or choose a port above 1023 in dns.listen";
    return new Failure("not-allowed", `${where} may not be bound; expected the right to: ${remedy}`, {
      cause,
    });
  }
  const text = `${where} cannot be bound (${textOf(cause)}); expected an address of this host`;
  return new Failure("unreachable", text, { cause });
}
