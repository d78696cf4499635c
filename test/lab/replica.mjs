/**
 * Replica: a small service to run in the lab's containers, one that says who it is.
 *
 * Tests of load balancing ask who answered, tests of retries need failures on demand, tests of addresses ask who
 * was seen asking, and tests of drain need slow answers and a proper end. It uses plain Node and runs as the first
 * process of its container: there SIGTERM has no default effect, so it must be handled, and everything still in
 * flight is answered before it ends.
 *
 *   GET /            the name, and a newline       GET /healthz     200 or what was set
 *   PUT /healthz?status=503                        GET /slow?ms=N   the name, after N ms
 *                                                   with &head its head at once
 *   GET /status?code=N                             GET /drop        the connection is reset
 *   GET /whoami      JSON: name, client, headers   POST /echo       the body
 *   GET with Upgrade: bytes are echoed             UDP, same ports: the name; to "whoami"
 *                                                   as JSON: name, client
 *
 * It says "listening" on stdout once all ports are open.
 *
 * Environment: REPLICA_NAME (default: the host name), REPLICA_ADDRESS (all, of both families), REPLICA_PORTS (8080;
 * several by comma), REPLICA_GRACE_MS (10000): how long SIGTERM waits for what is in flight, before it ends with exit
 * code 1.
 */

import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:http";
import { hostname } from "node:os";

const NAME = process.env.REPLICA_NAME ?? hostname();
const ADDRESS = process.env.REPLICA_ADDRESS ?? "::";
const PORTS = (process.env.REPLICA_PORTS ?? "8080").split(",").map(Number);
const GRACE_MS = Number(process.env.REPLICA_GRACE_MS ?? 10_000);
const SLOW_MS_MAX = 60_000;

/** An IPv4 client of a socket for both families looks like ::ffff:10.0.0.1. */
const plain = (address) => address?.replace(/^::ffff:/, "");

const state = { healthStatus: 200, stopping: false };

const ROUTES = {
  "/": (_request, response) => response.end(`${NAME}\n`),
  "/healthz": (request, response, query) => {
    if (request.method === "PUT") state.healthStatus = Number(query.get("status") ?? 200);
    response.writeHead(request.method === "PUT" ? 204 : state.healthStatus).end();
  },
  "/slow": (_request, response, query) => {
    const delayMs = Math.min(Number(query.get("ms") ?? 0), SLOW_MS_MAX);
    if (query.has("head")) response.flushHeaders();
    setTimeout(() => response.end(`${NAME}\n`), delayMs);
  },
  "/status": (_request, response, query) => response.writeHead(Number(query.get("code"))).end(`${NAME}\n`),
  "/drop": (request) => request.socket.resetAndDestroy(),
  "/whoami": (request, response) => {
    const { remoteAddress, remotePort } = request.socket;
    const client = { address: plain(remoteAddress), port: remotePort };
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ name: NAME, client, headers: request.headers }));
  },
  "/echo": (request, response) => request.pipe(response),
};

function answer(request, response) {
  // An idle connection kept alive would keep a stopping replica alive for as long.
  response.on("close", () => state.stopping && request.socket.end());
  const url = new URL(request.url ?? "/", "http://replica");
  const route = ROUTES[url.pathname];
  response.setHeader("x-replica", NAME);
  if (route === undefined) response.writeHead(404).end("no such path\n");
  else route(request, response, url.searchParams);
}

function upgrade(request, socket) {
  // A client that goes away in the middle is what these tests are about, not a fault of the replica.
  socket.on("error", () => socket.destroy());
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n`);
  socket.write(`Upgrade: ${request.headers.upgrade}\r\nX-Replica: ${NAME}\r\n\r\n`);
  socket.pipe(socket);
}

const servers = PORTS.map((port) => createServer(answer).on("upgrade", upgrade).listen(port, ADDRESS));

const sockets = PORTS.map((port) => {
  const socket = createSocket(ADDRESS.includes(":") ? "udp6" : "udp4");
  socket.on("message", (message, { port: from, address }) => {
    const client = { address: plain(address), port: from };
    const isAsked = message.toString() === "whoami";
    socket.send(isAsked ? JSON.stringify({ name: NAME, client }) : `${NAME}\n`, from, address);
  });
  return socket.bind(port, ADDRESS);
});

process.once("SIGTERM", () => {
  state.stopping = true;
  for (const socket of sockets) socket.close();
  // close() also ends idle connections; the process ends by itself when the last answer is out.
  for (const server of servers) server.close();
  setTimeout(() => process.exit(1), GRACE_MS).unref();
});
process.once("SIGINT", () => process.exit(130));

await Promise.all([...servers, ...sockets].map((each) => once(each, "listening")));
console.log("listening");
