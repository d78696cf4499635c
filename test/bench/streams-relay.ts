// The far side of the streams bench, a thread each: the relay with its mesh port and a bare TLS pipe, and the replica
// behind both. Started by streams.ts.

import { connect, createServer as createTcpServer, type AddressInfo } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { parentPort, workerData } from "node:worker_threads";

import { openLanes } from "../../src/mesh/lanes.ts";
import { openListener } from "../../src/mesh/listener.ts";
import { openRefusals } from "../../src/mesh/refusals.ts";
import { openMetrics } from "../../src/runtime/metrics.ts";
import { openSilentLog } from "../support/silence.ts";

import { CHUNK, trustOf, type Side } from "./streams.ts";

interface Given {
  readonly role: "relay" | "replica";
  readonly side: Side;
  readonly client: string;
  /** Of the replica, for the relay. */
  readonly port: number;
}

/** Sends as many bytes as the first eight of a client say; of what comes after those it tells the number at the end. */
async function serveReplica(): Promise<number> {
  const server = createTcpServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on("error", () => undefined);
    socket.once("data", (first: Buffer) => {
      let gotBytes = first.length - 8;
      let leftBytes = Number(first.readBigUInt64BE(0));
      const send = (): void => {
        while (leftBytes > 0) {
          const part = CHUNK.subarray(0, Math.min(leftBytes, CHUNK.length));
          leftBytes -= part.length;
          if (!socket.write(part)) return void socket.once("drain", send);
        }
      };
      send();
      socket.on("data", (part: Buffer) => (gotBytes += part.length));
      socket.on("end", () => socket.end(String(gotBytes)));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

async function serveRelay({
  side,
  client,
  port,
}: Given): Promise<{ readonly mesh: number; readonly bare: number }> {
  const trust = trustOf(side, client);
  const metrics = openMetrics();
  const listener = await openListener({
    listen: { host: "127.0.0.1", port: 0 },
    trust,
    refusals: openRefusals({ metrics, onRefused: () => undefined }),
    nextLinkId: () => 1,
    onLink: (link) => link.close("no links here"),
    resolve: () => ({ address: "127.0.0.1", port }),
    wayTo: () => ({ kind: "unknown" }),
    streams: { open: () => Promise.reject(new Error("nothing is passed on here")) },
    onJoin: (_request, response) => response.end(),
    lanes: openLanes(),
    log: openSilentLog(),
    metrics,
  });
  const bare = createTlsServer(
    { key: side.keyPem, cert: side.pem, minVersion: "TLSv1.3", allowHalfOpen: true, noDelay: true },
    (socket) => {
      const upstream = connect({ host: "127.0.0.1", port, allowHalfOpen: true, noDelay: true });
      for (const one of [socket, upstream]) one.on("error", () => undefined);
      socket.pipe(upstream).pipe(socket);
    },
  );
  await new Promise<void>((resolve) => bare.listen(0, "127.0.0.1", resolve));
  return { mesh: listener.address.port, bare: (bare.address() as AddressInfo).port };
}

const given = workerData as Given;
const told = given.role === "replica" ? { port: await serveReplica() } : await serveRelay(given);
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port, not a window's
parentPort?.postMessage(told);
