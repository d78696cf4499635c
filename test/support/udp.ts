// UDP on loopback: servers that answer, clients whose port stays the same, a port that nobody has.

import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";

import type { HostPort } from "../../src/base/ip.ts";

import type { Ending } from "./tcp.ts";
import { until } from "./wait.ts";

/** A UDP socket of a test that gathers what comes. */
export interface UdpEnd {
  readonly socket: Socket;
  readonly port: number;
  /** What came, as text, and from which port. */
  readonly received: { readonly text: string; readonly from: RemoteInfo }[];
  readonly close: () => Promise<void>;
}

/** Opens a socket; closed when the test ends. */
export async function openUdp(
  t: Ending,
  given: {
    readonly host?: string;
    readonly port?: number;
    readonly answer?: (text: string, from: RemoteInfo) => string | null;
  } = {},
): Promise<UdpEnd> {
  const { host = "127.0.0.1", port = 0, answer = () => null } = given;
  const socket = createSocket({ type: host.includes(":") ? "udp6" : "udp4", reuseAddr: port !== 0 });
  const received: UdpEnd["received"] = [];
  socket.on("error", () => undefined);
  socket.on("message", (payload, from) => {
    const text = payload.toString("latin1");
    received.push({ text, from });
    const reply = answer(text, from);
    if (reply !== null) socket.send(Buffer.from(reply, "latin1"), from.port, from.address);
  });
  socket.bind(port, host);
  await once(socket, "listening");
  let closing: Promise<void> | null = null;
  const close = (): Promise<void> => (closing ??= new Promise((resolve) => socket.close(resolve)));
  t.after(close);
  return { socket, port: socket.address().port, received, close };
}

/**
 * A client that sends within the call: one that is not connected looks the address up first, and sends a turn later.
 *
 * @param at  where it sends to; nobody else is heard
 */
export async function connectUdp(
  t: Ending,
  at: HostPort,
): Promise<UdpEnd & { readonly send: (payload: string | Uint8Array) => void }> {
  const end = await openUdp(t, { host: at.host === "::1" ? at.host : "127.0.0.1" });
  end.socket.connect(at.port, at.host);
  await once(end.socket, "connect");
  return { ...end, send: (payload) => end.socket.send(payload) };
}

/** A server that answers `<name> <text>`. */
export function namedUdp(
  t: Ending,
  name: string,
  at: { host?: string; port?: number } = {},
): Promise<UdpEnd> {
  return openUdp(t, { ...at, answer: (text) => `${name} ${text}` });
}

/** Sends one text and waits for the first thing that comes back for it. */
export async function askUdp(
  client: UdpEnd,
  port: number,
  text: string,
  host = "127.0.0.1",
): Promise<string> {
  const before = client.received.length;
  client.socket.send(Buffer.from(text, "latin1"), port, host);
  const answer = await until(() => client.received.slice(before).find((one) => one.text.endsWith(text)), {
    what: `an answer to ${JSON.stringify(text)}`,
  });
  return answer.text;
}

/**
 * A UDP port of 127.0.0.1 that refuses: it is bound, so the system gives it to nobody else, and connected, so what
 * comes from anybody else is answered with ICMP. Whoever names it may still open it.
 */
export async function closedUdpPort(t: Ending): Promise<number> {
  const socket = createSocket({ type: "udp4", reuseAddr: true });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  t.after(() => new Promise<void>((resolve) => socket.close(resolve)));
  const { port } = socket.address();
  socket.connect(port, "127.0.0.1");
  await once(socket, "connect");
  return port;
}
