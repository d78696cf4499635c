/**
 * Udp: a UDP socket that talks to one place, and hears of it when nobody is there.
 *
 * Connected, so that the system tells of ICMP refusals (udp(7): ECONNREFUSED) and lets nobody else's datagrams in. All
 * of it happens within the call: Node looks an address up as if it were a name, and would put off binding, connecting
 * and the first datagram to later turns. The proxy sends to replicas through it, the mesh for peers that do.
 *
 * Touches: a UDP socket.
 */

import { createSocket, type SocketOptions } from "node:dgram";

import { systemCodeOf } from "../base/failure.ts";
import { isIpv6, type HostPort } from "../base/ip.ts";
import { LIMITS } from "../model/limits.ts";

/** Who hears of a socket. */
export interface UdpReceiver {
  /** The bytes are the receiver's. */
  received(payload: Buffer): void;
  /**
   * Something went wrong, never within the call that caused it: ECONNREFUSED when nobody listens there, EMFILE and the
   * like when this host has no socket left. May come again; the socket can still be used where that makes sense.
   */
  failed(thrown: unknown): void;
}

/** A connected UDP socket. */
export interface UdpSocket {
  /** Sends; @returns false when it was dropped, since too much waits to be sent already. */
  send(payload: Uint8Array): boolean;
  /** The receiver hears nothing more. May be called again. */
  close(): void;
}

/** Out of file descriptors, of local ports, of memory. */
const OWN_FAULTS: ReadonlySet<string> = new Set(["EMFILE", "ENFILE", "EADDRNOTAVAIL", "ENOBUFS", "ENOMEM"]);

/** True when what a socket failed with is this host's doing, and says nothing of the other end. */
export function isOwnFault(thrown: unknown): boolean {
  return OWN_FAULTS.has(systemCodeOf(thrown) ?? "");
}

/** The options of a socket at an address: what needs no lookup gets none. */
export function udpOptions(address: string): SocketOptions {
  const isSix = isIpv6(address);
  return {
    type: isSix ? "udp6" : "udp4",
    lookup: (host, _options, done) => done(null, host, isSix ? 6 : 4),
  };
}

/** Opens a socket that talks to `to`, whose host is an address. Never throws: the receiver hears what is wrong. */
export function openUdpSocket(to: HostPort, receiver: UdpReceiver): UdpSocket {
  let isClosed = false;
  const failed = (thrown: unknown): void => {
    if (!isClosed) receiver.failed(thrown);
  };
  const socket = createSocket(udpOptions(to.host));
  socket.on("error", failed);
  socket.on("message", (payload) => {
    if (!isClosed) receiver.received(payload);
  });
  let broken: unknown = null;
  try {
    socket.connect(to.port, to.host, (thrown?: Error) => {
      // Told instead of an `error` to whoever hands in a callback.
      if (thrown !== undefined && thrown !== null) failed(thrown);
    });
  } catch (thrown) {
    broken = thrown;
    setImmediate(() => failed(thrown));
  }
  return {
    send(payload) {
      if (isClosed || broken !== null) return false;
      if (socket.getSendQueueCount() >= LIMITS.udpSendQueueMax) return false;
      try {
        socket.send(payload, (thrown) => {
          if (thrown !== null) failed(thrown);
        });
        return true;
      } catch {
        // Not connected: why was told, or will be.
        return false;
      }
    },
    close() {
      if (isClosed) return;
      isClosed = true;
      socket.close();
    },
  };
}
