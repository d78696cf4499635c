/**
 * Streams: what relaying costs, beside a bare TLS pipe and a bare connection.
 *
 * The relay and the replica have a thread each, the client is this one. Rates of both pipes are taken in turns in one
 * run, and what is told is their ratio: the machine's own speed cancels out. The first byte is taken over a line that
 * takes 20 ms there and back, so that round trips can be counted.
 *
 * Touches: loopback sockets, worker threads.
 */

import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { Worker } from "node:worker_threads";

import { success } from "../../src/base/failure.ts";
import { openDialler } from "../../src/mesh/dial.ts";
import { openRefusals } from "../../src/mesh/refusals.ts";
import { openStreams } from "../../src/mesh/streams.ts";
import type { MeshTrust } from "../../src/mesh/trust.ts";
import { openMetrics } from "../../src/runtime/metrics.ts";
import { authorities, makeNode } from "../trust/certificates.ts";
import { roundOf, untold, type OnStep } from "../support/steps.ts";
import { until } from "../support/wait.ts";

import { quantile } from "./statistics.ts";

const ROUNDS = 5;
const BYTES = 256 * 1024 * 1024;
const RTT_MS = 20;
const FIRST_BYTES = 20;

/** What is sent, again and again. */
export const CHUNK = Buffer.alloc(64 * 1024, "skein");

/** A member of the bench: it takes whoever comes for the other. */
export interface Side {
  readonly id: string;
  readonly keyPem: string;
  readonly pem: string;
  readonly rootPem: string;
}

/** Rates in MB/s, ratios of ours to the bare pipe's, and times to the first byte in milliseconds. */
export interface StreamFigures {
  readonly downMbps: { readonly bare: number; readonly ours: number; readonly ratio: number };
  readonly upMbps: { readonly bare: number; readonly ours: number; readonly ratio: number };
  /** Over a line of RTT_MS; the handshake of TCP itself is not on it. */
  readonly firstByteMs: { readonly tcp: number; readonly ready: number; readonly cold: number };
}

export function trustOf({ keyPem, pem, rootPem }: Side, peer: string): MeshTrust {
  const material = { key: keyPem, chain: pem, roots: [rootPem] };
  const credential = { id: peer, role: "worker", issuer: "", notAfterMs: Number.MAX_SAFE_INTEGER } as const;
  return { material: () => material, admit: () => success(credential), ownerOf: () => null };
}

type Open = () => Promise<Socket>;

async function downloadMs(open: Open): Promise<number> {
  const socket = await open();
  const startedMs = performance.now();
  socket.write(sizeOf(BYTES));
  let gotBytes = 0;
  await new Promise<void>((resolve) => {
    socket.on("data", (part: Buffer) => {
      gotBytes += part.length;
      if (gotBytes >= BYTES) resolve();
    });
  });
  const tookMs = performance.now() - startedMs;
  socket.destroy();
  return tookMs;
}

async function uploadMs(open: Open): Promise<number> {
  const socket = await open();
  const startedMs = performance.now();
  socket.write(sizeOf(0));
  for (let sentBytes = 0; sentBytes < BYTES; sentBytes += CHUNK.length) {
    if (!socket.write(CHUNK)) await once(socket, "drain");
  }
  socket.end();
  let told = "";
  for await (const part of socket) told += String(part);
  if (Number(told) !== BYTES) throw new Error(`the replica got ${told} bytes`);
  return performance.now() - startedMs;
}

async function firstByteMs(open: Open): Promise<number> {
  const startedMs = performance.now();
  const socket = await open();
  socket.write(sizeOf(1));
  await once(socket, "data");
  const tookMs = performance.now() - startedMs;
  socket.destroy();
  return tookMs;
}

function sizeOf(bytes: number): Buffer {
  const size = Buffer.alloc(8);
  size.writeBigUInt64BE(BigInt(bytes));
  return size;
}

async function rates(
  measure: (open: Open) => Promise<number>,
  { bare, ours, onStep }: { readonly bare: Open; readonly ours: Open; readonly onStep: OnStep },
) {
  const times = { bare: [] as number[], ours: [] as number[], ratio: [] as number[] };
  for (let round = 0; round <= ROUNDS; round += 1) {
    onStep(roundOf(round, ROUNDS, { warmsUp: true }));
    const [bareMs, oursMs] = [await measure(bare), await measure(ours)];
    // The first warms up.
    if (round === 0) continue;
    times.bare.push(BYTES / 1000 / bareMs);
    times.ours.push(BYTES / 1000 / oursMs);
    times.ratio.push(bareMs / oursMs);
  }
  return {
    bare: quantile(times.bare, 0.5),
    ours: quantile(times.ours, 0.5),
    ratio: quantile(times.ratio, 0.5),
  };
}

async function medianMs(measure: () => Promise<number>): Promise<number> {
  const times: number[] = [];
  while (times.length < FIRST_BYTES) times.push(await measure());
  return quantile(times, 0.5);
}

/** A line that takes half of RTT_MS each way. @returns its port */
async function openLine(port: number): Promise<{ readonly port: number; readonly close: () => void }> {
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on("error", () => to.destroy());
      from.on("data", (part) => setTimeout(() => to.write(part), RTT_MS / 2));
      from.on("end", () => setTimeout(() => to.end(), RTT_MS / 2));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: (server.address() as AddressInfo).port, close: () => server.close() };
}

/** What the threads tell: where each listens. */
interface Ports {
  readonly port: number;
  readonly mesh: number;
  readonly bare: number;
}

async function start(given: object): Promise<{ readonly told: Ports; readonly worker: Worker }> {
  const worker = new Worker(new URL("streams-relay.ts", import.meta.url), { workerData: given });
  const [told] = (await once(worker, "message")) as [Ports];
  return { told, worker };
}

/** Measures both pipes and the first byte. */
export async function measureStreams(onStep: OnStep = untold): Promise<StreamFigures> {
  const [authority] = authorities();
  const sideOf = (): Side => {
    const { id, keyPem, pem } = makeNode(authority);
    return { id, keyPem, pem, rootPem: authority.pem };
  };
  const [client, server] = [sideOf(), sideOf()];
  const replica = await start({ role: "replica" });
  const given = { role: "relay", side: server, client: client.id, port: replica.told.port };
  const relay = await start(given);
  const metrics = openMetrics();
  const refusals = openRefusals({ metrics, onRefused: () => undefined });
  const dialMember = openDialler(trustOf(client, server.id), refusals);
  const openOurs = (streams: ReturnType<typeof openStreams>, port: number): Open => {
    const peer = { id: server.id, address: { host: "127.0.0.1", port } };
    return () => streams.open(peer, { replica: "web-1", port: 80, deadlineMs: 5000 });
  };
  const openBare: Open = async () => {
    const { bare: port } = relay.told;
    const below = connect({ host: "127.0.0.1", port, allowHalfOpen: true, noDelay: true });
    const socket = connectTls({ socket: below, rejectUnauthorized: false });
    await once(socket, "secureConnect");
    return socket;
  };
  const streams = openStreams({ dialMember });
  const [meshLine, plainLine] = [await openLine(relay.told.mesh), await openLine(replica.told.port)];
  const openPlain: Open = async () => {
    const socket = connect({ host: "127.0.0.1", port: plainLine.port, noDelay: true });
    await once(socket, "connect");
    return socket;
  };
  const ready = openStreams({ dialMember });
  try {
    const ours = openOurs(streams, relay.told.mesh);
    const downMbps = await rates(downloadMs, {
      bare: openBare,
      ours,
      onStep: (text) => onStep(`down, ${text}`),
    });
    const upMbps = await rates(uploadMs, { bare: openBare, ours, onStep: (text) => onStep(`up, ${text}`) });
    onStep("the first byte");
    const tcp = await medianMs(() => firstByteMs(openPlain));
    const cold = await medianMs(async () => {
      const fresh = openStreams({ dialMember });
      const tookMs = await firstByteMs(openOurs(fresh, meshLine.port));
      fresh.close();
      return tookMs;
    });
    const openReady = openOurs(ready, meshLine.port);
    (await openReady()).destroy();
    const readyMs = await medianMs(async () => {
      await until(() => ready.readyCount() > 0);
      return firstByteMs(openReady);
    });
    return { downMbps, upMbps, firstByteMs: { tcp, ready: readyMs, cold } };
  } finally {
    for (const one of [streams, ready, meshLine, plainLine]) one.close();
    await Promise.all([relay.worker.terminate(), replica.worker.terminate()]);
  }
}
