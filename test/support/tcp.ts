// TCP servers and raw connections on loopback for tests, all gone when the test ends.

import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import type { TestContext } from "node:test";

import { within } from "./wait.ts";

/** Anything with an `after` hook: a test's context, or a stand-in for a suite's. */
export type Ending = Pick<TestContext, "after">;

/** A TCP server of a test. */
export interface TcpServer {
  readonly port: number;
  readonly server: Server;
  /** Every connection it took, in order. */
  readonly sockets: readonly Socket[];
}

/** Listens on a loopback port that the system chooses; `answer` gets each connection, half-open allowed. */
export async function openTcpServer(t: Ending, answer: (socket: Socket) => void): Promise<TcpServer> {
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    answer(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, server, sockets };
}

/** A raw connection to a loopback port, half-open allowed, with all it received as text. */
export async function openTcp(
  t: Ending,
  port: number,
): Promise<{ readonly socket: Socket; readonly received: () => string }> {
  const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
  socket.on("error", () => undefined);
  t.after(() => socket.destroy());
  let received = "";
  socket.on("data", (chunk: Buffer) => (received += chunk.toString("latin1")));
  const settled = new Promise((resolve) => socket.once("connect", resolve).once("close", resolve));
  await within(settled, `a connection to 127.0.0.1:${port}, or its refusal`);
  return { socket, received: () => received };
}

/**
 * A port of 127.0.0.1 on which nothing listens for as long as this process lives: connections to it are refused.
 *
 * It is our own end of a connection that stays: bound, so the system gives it to nobody who asks for any port. Not a
 * port that was free a moment ago: another test may have that by now. Whoever names it may still listen on it, and so
 * has a port that was known before.
 */
export async function closedPort(): Promise<number> {
  const server = createServer((socket) => socket.unref());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const holder = connect({ port, host: "127.0.0.1", localAddress: "127.0.0.1" });
  await once(holder, "connect");
  const { localPort } = holder;
  if (localPort === undefined) throw new Error("the connection that was to hold a port has ended");
  server.unref();
  holder.unref();
  return localPort;
}
