// A replica as a process: answers every request with its name, and prints the port it got.

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

const name = process.argv[2] ?? "replica";

const server = createServer((request, response) => {
  request.resume();
  response.setHeader("x-replica", name);
  response.end(name);
});
server.listen(0, "127.0.0.1", () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
