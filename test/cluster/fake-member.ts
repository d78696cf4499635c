// A member that is none: it speaks the wire as a daemon does, and keeps only those of the rules that a test tells it.

import { randomInt } from "node:crypto";
import { once } from "node:events";

import { WebSocket } from "ws";

import { decode, encode } from "../../src/gossip/codec.ts";
import { WIRE_VERSION, type Hello, type Message } from "../../src/gossip/message.ts";
import { GOSSIP_PATH, SUBPROTOCOL } from "../../src/mesh/websocket.ts";
import type { Ending } from "../support/daemons.ts";

/** An open link to a daemon. */
export interface FakeMember {
  readonly name: string;
  /** What it got so far. */
  readonly received: readonly Message[];
  readonly isOpen: () => boolean;
  /** Sends a message, or raw bytes; text goes as a text frame. */
  readonly send: (message: Message | Uint8Array | string) => void;
}

/**
 * Dials a daemon's mesh port and says hello.
 *
 * @param over  fields of the hello that differ from a good one
 * @returns a member that answers pings, and nothing else: it never says that it has applied anything
 */
export async function joinAs(
  t: Ending,
  name: string,
  address: string,
  over: Partial<Hello> = {},
): Promise<FakeMember> {
  const socket = new WebSocket(`ws://${address}:7650${GOSSIP_PATH}`, [SUBPROTOCOL]);
  const received: Message[] = [];
  const send: FakeMember["send"] = (message) => {
    if (socket.readyState !== WebSocket.OPEN) return;
    const isRaw = typeof message === "string" || message instanceof Uint8Array;
    socket.send(isRaw ? message : encode(message));
  };
  // The daemon may end the link in any way; tests look at what it did, not at how that felt.
  socket.on("error", () => undefined);
  socket.on("message", (frame: Buffer) => {
    const decoded = decode(frame);
    if (!decoded.ok) return;
    received.push(decoded.value);
    if (decoded.value.kind === "ping") send({ kind: "pong", sequence: decoded.value.sequence });
  });
  t.after(() => socket.terminate());
  await once(socket, "open");
  send({
    kind: "hello",
    wire: WIRE_VERSION,
    id: Array.from({ length: 20 }, () => "abcdefghijklmnopqrstuvwxyz234567".charAt(randomInt(32))).join(""),
    name,
    incarnation: 1,
    nonce: randomInt(2 ** 40),
    // Nothing listens there, so nobody gets far who dials it back.
    host: "127.0.0.1",
    port: 9,
    complete: true,
    wanted: true,
    digest: [],
    ...over,
  });
  return { name, received, send, isOpen: () => socket.readyState === WebSocket.OPEN };
}
