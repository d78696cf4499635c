// Stands in for traefik/whoami, since no registry is in reach: says who answers, on port 80, until it is told to stop.

import { createServer } from "node:http";
import { hostname } from "node:os";

const server = createServer((request, response) => {
  const address = request.socket.remoteAddress?.replace(/^::ffff:/, "");
  const head = Object.entries(request.headers).map(([name, value]) => `${name}: ${value}\n`);
  response.end(
    `Hostname: ${hostname()}\nRemoteAddr: ${address}\n${request.method} ${request.url}\n${head.join("")}`,
  );
});
server.listen(80, "::");
process.once("SIGTERM", () => process.exit(0));
