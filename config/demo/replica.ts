/**
 * Replica: the smallest web server worth balancing, one process each, for the demo and the benchmarks.
 *
 * Says its name on `/`, is healthy on `/healthz`, and ends when whoever started it does (its standard input closes), so
 * that a killed demo leaves no process behind.
 *
 * Touches: one listener, standard input and output.
 */

import { createServer } from "node:http";

const [name = "replica", host = "127.0.0.1", port = "0"] = process.argv.slice(2);

const server = createServer((request, response) => {
  const body = request.url === "/healthz" ? "ok\n" : `${name}\n`;
  response
    .writeHead(200, { "content-type": "text/plain", "content-length": Buffer.byteLength(body) })
    .end(body);
});

server.listen(Number(port), host, () => {
  const address = server.address();
  process.stdout.write(`${JSON.stringify(address)}\n`);
});

process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
