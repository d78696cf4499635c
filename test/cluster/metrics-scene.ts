/**
 * Scene: two hosts to which everything happens that their metrics count.
 *
 * Services of every protocol; a replica that keeps silent, an application that answers with errors only, names that
 * there are and that there are not, strangers on the mesh port, a collector that refuses spans. All of it goes on,
 * again and again, until the test has seen enough.
 *
 * Touches: daemons, servers and sockets on loopback.
 */

import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { connect, createServer, type Server } from "node:net";
import type { TestContext } from "node:test";

import { startCollector } from "../proxy/trace/collector.ts";
import { httpGet, type DaemonUnderTest } from "../support/daemons.ts";
import { namedUdp, openUdp, type UdpEnd } from "../support/udp.ts";
import { until } from "../support/wait.ts";

import { INGRESS_PORT, prepareCluster, startAll, webReplicas, webService } from "./cluster.ts";

/** The hosts, an address for whoever watches them, and what ends the traffic. */
export interface Scene {
  readonly first: DaemonUnderTest;
  readonly second: DaemonUnderTest;
  readonly address: string;
  readonly calm: () => Promise<void>;
}

/** Where each service has a replica that listens by itself, below its host's address. */
const BAD_AT = 20;
const DB_AT = 21;
const NOBODY_AT = 22;

/** Opens both hosts and begins. */
export async function openScene(t: TestContext): Promise<Scene> {
  const { block, hosts } = await prepareCluster(t);
  const [first, second] = hosts;
  const [one, two] = (await webReplicas(t, block, [1, 1])).flat();
  if (one === undefined || two === undefined) throw new Error("two replicas were asked for");
  two.silent = true;
  const bad = `${block.address(1, BAD_AT)}:9000`;
  const db = block.address(1, DB_AT);
  await listen(
    t,
    createHttpServer((request, response) => response.writeHead(request.url === "/healthz" ? 200 : 500).end()),
    bad,
  );
  await listen(
    t,
    createServer((socket) => socket.pipe(socket)),
    `${db}:9000`,
  );
  await namedUdp(t, "one", { host: db, port: 5353 });
  const collector = await startCollector(t, () => ({ status: 400 }));
  const publish = { web: ["8088:8000/tcp"], db: ["9001:9000/tcp"], echo: ["5353:53/udp"] };
  first.configure({
    // Nobody is there.
    dns: { upstream: [`${block.address(1, NOBODY_AT)}:53`] },
    tracing: { endpoint: `http://127.0.0.1:${collector.port}`, sample: 1 },
    services: [
      webService([one, two], { publish: publish.web, http: [{ host: "app.example.com", path: "/" }] }),
      webService([], { name: "bad", replicas: [bad], http: [{ host: "bad.example.com", path: "/" }] }),
      { name: "db", ports: [{ port: 9000 }], replicas: [`${db}:9000`], publish: publish.db },
      {
        name: "echo",
        ports: [{ port: 53, target: 5353, protocol: "udp" }],
        replicas: [`${db}:5353`],
        publish: publish.echo,
      },
    ],
  });
  await startAll([first, second]);
  return { first, second, address: block.address(9), calm: disturb(t, first, await openUdp(t)) };
}

async function listen(t: TestContext, server: Server, at: string): Promise<void> {
  const [host = "", port] = at.split(":");
  server.listen(Number(port), host);
  await once(server, "listening");
  t.after(() => server.close());
}

/** Lets things happen until it is told to stop. */
function disturb(t: TestContext, { address, lookup }: DaemonUnderTest, udp: UdpEnd): () => Promise<void> {
  const calmed = new AbortController();
  const once = async (): Promise<void> => {
    const hosts = ["app.example.com", "bad.example.com", "secret.example.com"];
    udp.socket.send("?", 5353, address);
    // Too short to be a query.
    udp.socket.send("?", 5300, address);
    knock(address, 9001, "hello");
    knock(address, 7650, "GET / HTTP/1.1\r\n\r\n");
    await Promise.allSettled([
      ...hosts.map((host) => httpGet(address, INGRESS_PORT, { host })),
      ...["web", "secret.default.skein.internal", "secret.example.com"].map((name) => lookup(name)),
    ]);
  };
  const isOver = async (): Promise<boolean> => {
    await once();
    return calmed.signal.aborted;
  };
  const going = until(isOver, { what: "the test has seen enough", everyMs: 200, deadlineMs: 600_000 });
  const calm = async (): Promise<void> => {
    calmed.abort();
    await going;
  };
  t.after(calm);
  return calm;
}

function knock(host: string, port: number, text: string): void {
  const socket = connect(port, host, () => socket.write(text));
  socket.on("error", () => undefined);
  socket.on("data", () => socket.end());
  socket.setTimeout(1000, () => socket.destroy());
}
