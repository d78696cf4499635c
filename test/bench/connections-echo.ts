/**
 * Connections-echo: an upstream of many connections: says back what it is told, and answers HTTP requests.
 *
 *     node connections-echo.ts <address> <tcp port> <http port>
 *
 * Touches: loopback sockets.
 */

import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";

const [host, tcpPort, httpPort] = process.argv.slice(2);
const BACKLOG = 1024;

createServer((socket) => {
  socket.on("error", () => undefined);
  socket.pipe(socket);
}).listen({ host, port: Number(tcpPort), backlog: BACKLOG });

createHttpServer((_request, response) => response.end("hello")).listen({
  host,
  port: Number(httpPort),
  backlog: BACKLOG,
});
