/**
 * Listeners: the sockets of the DNS server, kept in line with the addresses that are asked for and those the host has.
 *
 * Each address is served over UDP and TCP on one port: a truncated answer sends the client to TCP (RFC 7766 5), so one
 * without the other is half a server. A port that is taken is a Failure that says what to do, never a server that
 * silently listens elsewhere. Of a wildcard's addresses (runtime/places.ts) one that cannot be served is a problem that
 * is told and tried again, since the others can be; only when none can, it fails as a single address does. An address
 * that the host lost keeps its sockets for a minute: a cable that was out must not cost the queries after it.
 *
 * Touches: UDP and TCP sockets, the list of the host's interfaces, a timer, the log.
 */

import { Failure, systemCodeOf, textOf } from "../base/failure.ts";
import { isIpv4, isSamePlace, isWildcard, renderHostPort, type HostPort } from "../base/ip.ts";
import { LIMITS } from "../model/limits.ts";
import type { Log } from "../runtime/log.ts";
import type { Metrics } from "../runtime/metrics.ts";
import { addressesOfHost, placesFor, type Places } from "../runtime/places.ts";
import { survey, type SharedSockets } from "../runtime/sharing.ts";

import type { Connections } from "./tcp/connections.ts";
import type { Responder } from "./responder.ts";
import { TcpListener } from "./tcp/tcp.ts";
import { UdpListener } from "./udp.ts";

/** RFC 7766 6.2.3 wants "on the order of seconds"; the longest wait for an upstream must fit in. */
const IDLE_MS = 10_000;

/** Ports to try when the system chose one for UDP that is taken for TCP. */
const PORT_CHOICES_MAX = 16;

/** How often the host's addresses are looked at: a new one is served by then. It costs well under a millisecond. */
const LOOK_EVERY_MS = 2000;

/** Looks in a row that must miss an address before its sockets are closed. */
const LOOKS_MISSED_MAX = 30;

/** What listeners work with. */
export interface ListenersOptions {
  readonly responder: Responder;
  readonly connections: Connections;
  readonly metrics: Metrics;
  readonly log: Log;
  /** The host's addresses; those of its interfaces unless told otherwise. */
  readonly ownAddresses?: () => readonly string[];
  /** Time between two looks at them, 2 s unless told otherwise. */
  readonly lookEveryMs?: number;
  /** Those of the daemon that this one takes over from: what they hold may be listened on beside them. */
  readonly shared?: SharedSockets;
}

/** An address that a wildcard stands for and that cannot be served at the moment. */
export interface Unserved {
  readonly address: HostPort;
  readonly text: string;
}

/** One address, both protocols. */
interface Listener {
  readonly address: HostPort;
  close(): Promise<void>;
  leave(graceMs: number): Promise<void>;
}

/** An open listener, and how many looks in a row did not find its address; one asked for by itself is never missed. */
interface Place {
  readonly listener: Listener;
  missed: number;
}

/** All listeners of a server. */
export class Listeners {
  readonly #options: ListenersOptions;
  readonly #ownAddresses: () => readonly string[];
  readonly #wanted: HostPort[] = [];
  readonly #keptByPlace = new Map<string, Place>();
  #unserved: readonly Unserved[] = [];
  #timer: NodeJS.Timeout | null = null;
  #isClosed = false;
  /** Settles when all that was begun is done: sockets are opened and closed by one hand. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: ListenersOptions) {
    this.#options = options;
    this.#ownAddresses = options.ownAddresses ?? addressesOfHost;
  }

  /** What was asked for and is served, ports resolved, wildcards as such, in the order in which it was added. */
  get wanted(): readonly HostPort[] {
    return [...this.#wanted];
  }

  /** Where sockets are open. */
  get places(): readonly HostPort[] {
    return [...this.#keptByPlace.values()].map(({ listener }) => listener.address);
  }

  /** Addresses of wildcards that cannot be served. */
  get unserved(): readonly Unserved[] {
    return this.#unserved;
  }

  /**
   * Answers at one more address; at one that is asked for already, nothing changes.
   *
   * @throws Failure `busy`, `not-allowed` or `unreachable`, the last also once closed
   */
  add(wanted: HostPort): Promise<HostPort> {
    return this.#inTurn(async () => {
      if (this.#isClosed) {
        const text = `dns address ${renderHostPort(wanted)} cannot be served; expected a server that is not closed`;
        throw new Failure("unreachable", text);
      }
      const there = this.#wanted.find((one) => isSamePlace(one, wanted));
      if (there !== undefined) return there;
      const address = isWildcard(wanted.host) ? await this.#openAll(wanted) : await this.#openOne(wanted);
      this.#wanted.push(address);
      if (isWildcard(address.host)) this.#keepLooking();
      return address;
    });
  }

  /** Stops answering at an address, as `wanted` tells it; one that is not there is none to stop. */
  remove(address: HostPort): Promise<void> {
    return this.#inTurn(async () => {
      const at = this.#wanted.findIndex((one) => isSamePlace(one, address));
      if (at === -1) return;
      this.#wanted.splice(at, 1);
      const places = this.#places();
      for (const [place, { listener }] of this.#keptByPlace) {
        if (places.has(place) || !mayMean(address, listener.address)) continue;
        // Another wildcard's address that is gone for a moment stays until its time is over.
        const isAnothers = this.#wanted.some((one) => mayMean(one, listener.address));
        if (!isAnothers) await this.#close(place, listener);
      }
    });
  }

  /** Ends every socket and connection at once. */
  close(): Promise<void> {
    this.#stop();
    return this.#inTurn(async () => {
      this.#wanted.length = 0;
      const kept = [...this.#keptByPlace];
      await Promise.all(kept.map(([place, { listener }]) => this.#close(place, listener)));
    });
  }

  /**
   * Leaves what comes from now on to who listens beside it; settles when what came before is answered, at the latest
   * after `graceMs`. All is open still, for `close` to end.
   */
  async leave(graceMs: number): Promise<void> {
    this.#stop();
    await this.#turn;
    const kept = [...this.#keptByPlace.values()];
    await Promise.all(kept.map(({ listener }) => listener.leave(graceMs)));
  }

  /** Opens nothing more. */
  #stop(): void {
    this.#isClosed = true;
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    // Whoever asked is told of the failure; the next in turn only waits.
    this.#turn = done.catch(() => null);
    return done;
  }

  async #openOne(wanted: HostPort): Promise<HostPort> {
    const listener = this.#keptByPlace.get(renderHostPort(wanted))?.listener ?? (await this.#open(wanted));
    return listener.address;
  }

  /** Opens what a wildcard stands for. For port 0 the first address chooses the port of all. */
  async #openAll(wanted: HostPort): Promise<HostPort> {
    let { port } = wanted;
    const unserved: Unserved[] = [];
    let first: Failure | null = null;
    let served = 0;
    const { places, left } = servedOf(wanted, this.#ownAddresses());
    for (const { host } of places) {
      try {
        port = (await this.#openOne({ host, port })).port;
        served += 1;
      } catch (thrown) {
        if (!(thrown instanceof Failure)) throw thrown;
        first ??= thrown;
        unserved.push({ address: { host, port }, text: thrown.message });
      }
    }
    if (served === 0) {
      const text = `dns address ${renderHostPort(wanted)} stands for none; expected an address on this host`;
      throw first ?? new Failure("unreachable", text);
    }
    this.#tell([...this.#unserved, ...unserved, ...tooMany(wanted, left)]);
    return { host: wanted.host, port };
  }

  async #open(wanted: HostPort): Promise<Listener> {
    const listener = await openListener(wanted, this.#options);
    this.#keptByPlace.set(renderHostPort(listener.address), { listener, missed: 0 });
    this.#options.log.info("answering dns", { address: renderHostPort(listener.address) });
    return listener;
  }

  async #close(place: string, listener: Listener): Promise<void> {
    this.#keptByPlace.delete(place);
    await listener.close();
  }

  /** Every place that is wanted now. */
  #places(): ReadonlyMap<string, HostPort> {
    const own = this.#ownAddresses();
    const places = this.#wanted.flatMap((wanted) => servedOf(wanted, own).places);
    return new Map(places.map((place) => [renderHostPort(place), place]));
  }

  #keepLooking(): void {
    if (this.#timer !== null || this.#isClosed) return;
    const look = (): void => {
      this.#inTurn(() => this.#look()).catch((thrown: unknown) => {
        this.#options.log.error(`dns listeners: ${textOf(thrown)}`);
      });
    };
    this.#timer = setInterval(look, this.#options.lookEveryMs ?? LOOK_EVERY_MS);
    this.#timer.unref();
  }

  /** Opens what is missing, closes what has been gone for long. */
  async #look(): Promise<void> {
    if (this.#isClosed) return;
    const places = this.#places();
    const unserved: Unserved[] = [];
    for (const [place, address] of places) {
      if (this.#keptByPlace.has(place)) continue;
      try {
        await this.#open(address);
      } catch (thrown) {
        if (!(thrown instanceof Failure)) throw thrown;
        unserved.push({ address, text: thrown.message });
      }
    }
    for (const [place, kept] of this.#keptByPlace) {
      kept.missed = places.has(place) ? 0 : kept.missed + 1;
      if (kept.missed <= LOOKS_MISSED_MAX) continue;
      await this.#close(place, kept.listener);
      this.#options.log.info("address is gone, not answering dns there", { address: place });
    }
    const own = this.#ownAddresses();
    const excess = this.#wanted.flatMap((wanted) => tooMany(wanted, servedOf(wanted, own).left));
    this.#tell([...unserved, ...excess]);
  }

  /** Notes what is not served; what was not told before goes to the log. */
  #tell(unserved: readonly Unserved[]): void {
    const known = new Set(this.#unserved.map(({ text }) => text));
    for (const { text } of unserved) if (!known.has(text)) this.#options.log.warn(text);
    this.#unserved = unserved;
  }
}

function servedOf(wanted: HostPort, own: readonly string[]): Places {
  return placesFor(wanted, own, LIMITS.dnsAddressesMax);
}

function tooMany(address: HostPort, left: number): readonly Unserved[] {
  if (left === 0) return [];
  const text = `dns address ${renderHostPort(address)} leaves out ${left} addresses of this host; list those to serve`;
  return [{ address, text }];
}

/** True for a place that an address of `dns.listen` may stand for, whether the host has it at the moment or not. */
function mayMean(wanted: HostPort, place: HostPort): boolean {
  if (!isWildcard(wanted.host)) return isSamePlace(wanted, place);
  return wanted.port === place.port && (wanted.host === "::" || isIpv4(place.host));
}

/** Opens UDP and TCP on one port. For port 0 the system chooses by UDP; TCP may be taken there, so it is tried anew. */
async function openListener(wanted: HostPort, parts: ListenersOptions): Promise<Listener> {
  for (let choice = 1; ; choice += 1) {
    try {
      return await openBoth(wanted, parts);
    } catch (thrown) {
      const isTaken = thrown instanceof Failure && thrown.code === "busy";
      if (!isTaken || wanted.port !== 0 || choice === PORT_CHOICES_MAX) throw thrown;
    }
  }
}

async function openBoth(wanted: HostPort, parts: ListenersOptions): Promise<Listener> {
  const seen = await survey(parts.shared);
  const udp = new UdpListener(wanted, parts.responder, parts.metrics);
  const tcp = new TcpListener({ ...parts, idleMs: IDLE_MS });
  const close = async (): Promise<void> => {
    await tcp.shut();
    await udp.shut();
  };
  const leave = async (graceMs: number): Promise<void> => {
    await Promise.all([tcp.leave(graceMs), udp.leave(graceMs)]);
  };
  let protocol: "udp" | "tcp" = "udp";
  try {
    await seen.expectShareable(wanted, "udp");
    const address = await udp.open(wanted);
    protocol = "tcp";
    await seen.expectShareable(wanted, "tcp");
    // Not a port that the system chose for UDP: another program may listen there, and would share.
    await tcp.open(address, wanted.port !== 0);
    return { address, close, leave };
  } catch (cause) {
    await close();
    throw openFailure(wanted, protocol, cause);
  }
}

function openFailure({ host, port }: HostPort, protocol: "udp" | "tcp", cause: unknown): Failure {
  const where = `dns address ${renderHostPort({ host, port })}/${protocol}`;
  const code = systemCodeOf(cause);
  if (code === "EADDRINUSE" || (cause instanceof Failure && cause.code === "busy")) {
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
