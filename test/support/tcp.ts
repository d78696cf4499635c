// TCP servers and raw connections on loopback for tests, all gone when the test ends.

import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import type { TestContext } from "node:test";

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
  await new Promise((resolve) => socket.once("connect", resolve).once("close", resolve));
  return { socket, received: () => received };
}

/** A loopback port on which nothing listens: the system just gave it and took it back. */
export async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
