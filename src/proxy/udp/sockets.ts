/**
 * Sockets: where one UDP frontend listens, one socket at each address.
 *
 * An answer must leave from the address that was asked (runtime/places.ts says why that takes a socket each), so what
 * is known of a datagram includes the socket it came to. Addresses come and go with networks: they are looked at again
 * from time to time, new ones are served, and those that are gone keep their socket for a while, since a cable that was
 * out must not cost flows.
 *
 * Touches: UDP sockets, the list of the host's interfaces.
 */

import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";

import { Failure, textOf } from "../../base/failure.ts";
import { renderHostPort, type HostPort } from "../../base/ip.ts";
import { LIMITS } from "../../model/limits.ts";
import { Leaving, type Stay } from "../../runtime/leaving.ts";
import { addressesOfHost, placesFor } from "../../runtime/places.ts";
import { survey, type SharedSockets, type Survey } from "../../runtime/sharing.ts";
import { udpOptions } from "../../runtime/udp.ts";

import type { ListenAddress, Listener } from "../listen/listener.ts";

/** Where a datagram came from and to. */
export interface Arrival {
  /** Tells flows apart: the client's address and port, and our socket. */
  readonly key: string;
  readonly from: HostPort;
  readonly to: HostPort;
  /** Answers from the address that was asked. @returns false when it was dropped */
  readonly reply: (payload: Buffer) => boolean;
}

/** What a listener needs. */
export interface SocketsOptions {
  /** Those of the daemon that this one takes over from. */
  readonly shared: SharedSockets;
  readonly take: (payload: Buffer, arrival: Arrival) => void;
  /** The host's addresses; those of its interfaces unless told. */
  readonly ownAddresses?: () => readonly string[];
}

/** Asked for, the system gives what it allows: room for a burst while the event loop is busy elsewhere. */
const RECEIVE_BUFFER_BYTES = 1024 * 1024;
/** Looks in a row that must miss an address before its socket is closed. */
const LOOKS_MISSED_MAX = 30;

/** An open socket. */
interface Place {
  readonly at: HostPort;
  readonly socket: Socket;
  /** Whether a successor may listen beside it. */
  readonly isShared: boolean;
  /** Looks in a row that did not find its address. */
  missed: number;
  /** Once it is on its way out. */
  leaving: Leaving | null;
}

/** One frontend's sockets. */
export class UdpListener implements Listener {
  onError: (thrown: unknown) => void = () => undefined;
  readonly #options: SocketsOptions;
  readonly #placeByHost = new Map<string, Place>();
  readonly #toldOf = new Set<string>();
  #wanted: HostPort | null = null;
  #isLooking = false;
  #isClosed = false;

  constructor(options: SocketsOptions) {
    this.#options = options;
  }

  get port(): number | null {
    return this.#placeByHost.size === 0 ? null : (this.#wanted?.port ?? null);
  }

  /** Listens at an address, or at each that a wildcard stands for; rejects when it can nowhere. */
  async listen({ address: host, port }: ListenAddress, seen: Survey): Promise<void> {
    this.#wanted = { host, port };
    let first: Error | null = null;
    for (const place of this.#places()) {
      try {
        // For port 0 the first address chooses the port of all.
        this.#wanted = { host, port: await this.#open({ host: place.host, port: this.#wanted.port }, seen) };
      } catch (thrown) {
        first ??= thrown instanceof Error ? thrown : new Failure("unreachable", textOf(thrown));
      }
    }
    if (this.#placeByHost.size > 0) return;
    throw first ?? new Failure("unreachable", `${host} stands for no address; expected one on this host`);
  }

  /** Looks at the host's addresses again; never throws. */
  look(): void {
    const { length } = this.#places();
    const isWhole = length === this.#placeByHost.size && length <= 1;
    if (this.#isLooking || this.#isClosed || isWhole) return;
    this.#isLooking = true;
    this.#lookAgain()
      .catch((thrown: unknown) => this.onError(thrown))
      .finally(() => (this.#isLooking = false));
  }

  close(): void {
    this.#isClosed = true;
    for (const { socket, leaving } of this.#placeByHost.values()) {
      if (leaving === null) socket.close();
      else leaving.end();
    }
    this.#placeByHost.clear();
  }

  /** Leaves what comes from now on to who listens beside it. Settles when what came before is answered, all closed. */
  async leave(stay: Omit<Stay, "isShared">): Promise<void> {
    this.#isClosed = true;
    const places = [...this.#placeByHost.values()];
    const leavings = places.map(
      (place) =>
        (place.leaving ??= new Leaving(place.socket, place.at, { ...stay, isShared: place.isShared })),
    );
    await Promise.all(leavings.map(({ closed }) => closed));
    this.#placeByHost.clear();
  }

  #places(): readonly HostPort[] {
    const { ownAddresses = addressesOfHost } = this.#options;
    return this.#wanted === null
      ? []
      : placesFor(this.#wanted, ownAddresses(), LIMITS.udpAddressesMax).places;
  }

  async #lookAgain(): Promise<void> {
    const places = this.#places();
    const hosts = new Set(places.map(({ host }) => host));
    const missing = places.filter(({ host }) => !this.#placeByHost.has(host));
    if (missing.length > 0) {
      const seen = await survey(this.#options.shared);
      if (this.#isClosed) return;
      for (const place of missing) await this.#tryOpen(place, seen);
    }
    for (const [host, place] of this.#placeByHost) {
      place.missed = hosts.has(host) ? 0 : place.missed + 1;
      if (place.missed <= LOOKS_MISSED_MAX) continue;
      this.#placeByHost.delete(host);
      place.socket.close();
    }
    for (const host of this.#toldOf) if (!hosts.has(host)) this.#toldOf.delete(host);
  }

  /** What cannot be served is told once. */
  async #tryOpen(place: HostPort, seen: Survey): Promise<void> {
    try {
      await this.#open(place, seen);
      this.#toldOf.delete(place.host);
    } catch (thrown) {
      if (this.#toldOf.has(place.host)) return;
      this.#toldOf.add(place.host);
      const at = `${renderHostPort(place)}/udp`;
      const text = `${at} is not served: ${textOf(thrown)}; the host's other addresses are`;
      this.onError(new Failure("unreachable", text, { cause: thrown }));
    }
  }

  /** @returns the port */
  async #open(at: HostPort, seen: Survey): Promise<number> {
    await seen.expectShareable(at, "udp");
    // A port that the system chooses must be nobody else's.
    const isShared = at.port !== 0;
    const socket = createSocket({
      ...udpOptions(at.host),
      recvBufferSize: RECEIVE_BUFFER_BYTES,
      reusePort: isShared,
    });
    const listening = once(socket, "listening");
    try {
      socket.bind({ address: at.host, port: at.port, exclusive: true });
      await listening;
    } catch (thrown) {
      socket.close();
      throw thrown;
    }
    if (this.#isClosed) {
      socket.close();
      return at.port;
    }
    const { port } = socket.address();
    this.#serve({ at: { host: at.host, port }, socket, isShared, missed: 0, leaving: null });
    return port;
  }

  #serve(place: Place): void {
    const { at, socket } = place;
    this.#placeByHost.set(at.host, place);
    // About single datagrams: without a listener they would end the process.
    socket.on("error", (thrown) => this.onError(thrown));
    socket.on("message", (payload, from) => {
      // Nobody can be answered at port 0.
      if (from.port !== 0) this.#options.take(payload, arrivalOf(place, from));
    });
  }
}

function arrivalOf(place: Place, { address, port }: RemoteInfo): Arrival {
  const { at, socket } = place;
  return {
    key: `${at.host} ${at.port} ${address} ${port}`,
    from: { host: address, port },
    to: at,
    reply(payload) {
      if (place.leaving !== null) return place.leaving.send(payload, { host: address, port });
      try {
        if (socket.getSendQueueCount() >= LIMITS.udpSendQueueMax) return false;
        // Without a callback a failure is not told: nobody could do anything about a single lost answer.
        socket.send(payload, port, address);
        return true;
      } catch {
        // Closed: the flow will be over.
        return false;
      }
    },
  };
}
