/**
 * Datagram: how datagrams reach a replica of another host, as a wire between the proxy and the mesh.
 *
 * One way a replica's port, not one a client: a connection for every client that asks one question would cost more
 * than the question. The flows on it are told apart by numbers that the opener chooses; the other end keeps a socket
 * for each, so that an answer finds its flow again. Nothing waits: what finds no room is dropped, as on any network.
 *
 * Pure. Types; the mesh makes ways, the proxy uses them.
 */

/** A way to one replica's port, open. */
export interface DatagramWay {
  /**
   * Sends one datagram of a flow.
   *
   * @param flow  0 to 2^32 - 1; a number that was not used before begins a flow
   * @returns false when it was dropped: too much is on its way already, or the way has ended
   */
  send(flow: number, payload: Uint8Array): boolean;
  /** Tells the other end that nothing more comes of a flow. */
  end(flow: number): void;
  /** Ends the way with all its flows. The receiver hears nothing more. */
  close(): void;
}

/** Who hears what comes back. */
export interface DatagramReceiver {
  /** The replica answered. The bytes are the receiver's. */
  answered(flow: number, payload: Buffer): void;
  /** The replica's port refused (ICMP) what came of this flow, which is over. */
  refused(flow: number): void;
  /** The replica's host has no room for the flow, or none any more: it is over. */
  ended(flow: number): void;
  /** The way broke, and every flow on it. Called at most once, and not after `close`. */
  broke(text: string): void;
}

/** The longest payload of a UDP datagram over IPv4 (RFC 768, RFC 791): 65,535 less both headers. */
export const DATAGRAM_BYTES_MAX = 65_507;
