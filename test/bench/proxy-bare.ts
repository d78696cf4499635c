/**
 * Proxy-bare: http-proxy as people run it when they know of its agent: round robin over upstreams, connections kept.
 *
 *     node proxy-bare.ts <port> <upstream port>...
 *
 * What our own proxy is built on, and so what it must not be slower than.
 *
 * Touches: loopback sockets.
 */

import { Agent, createServer } from "node:http";

import httpProxy from "http-proxy";

const [port = 0, ...upstreams] = process.argv.slice(2).map(Number);
const agent = new Agent({ keepAlive: true });
const proxies = upstreams.map((upstream) =>
  httpProxy.createProxyServer({ target: `http://127.0.0.1:${upstream}`, agent }),
);
let turn = 0;

createServer((request, response) => {
  turn = (turn + 1) % proxies.length;
  proxies[turn]?.web(request, response, {}, () => response.destroy());
}).listen(port, "127.0.0.1");
