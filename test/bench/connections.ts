/**
 * Connections: what a daemon's memory grows by for each client connection that is held open.
 *
 * Clients connect through published ports, exchange a few bytes, and then keep still: over TCP, where each has an
 * upstream connection too, and over HTTP with keep-alive. File descriptors bound how many that can be here; what is
 * told is for each, so that fewer tell as much.
 *
 * Touches: child processes, loopback sockets, /proc.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { fileURLToPath } from "node:url";

import { openFilesMax } from "../../src/runtime/self.ts";
import { untold, type OnStep } from "../support/steps.ts";
import { until } from "../support/wait.ts";

import { startDaemon, type MeasuredDaemon } from "./daemon.ts";

const ECHO = fileURLToPath(new URL("connections-echo.ts", import.meta.url));
const ADDRESS = "127.0.48.1";
const PORTS = { tcp: { published: 18_092, upstream: 19_192 }, http: { published: 18_093, upstream: 19_193 } };
const COUNT = 10_000;
/** Of its file descriptors the daemon gives one in so many to clients. */
const CLIENTS_SHARE = 4;
const AT_ONCE = 64;
/** Resident memory is read until it has not moved by more than this for so many looks, one a second. */
const STILL_BYTES = 1024 * 1024;
const STILL_LOOKS = 3;

type Mode = keyof typeof PORTS;

/** Bytes of resident memory that each held connection costs; `held` is how many there were. */
export interface ConnectionFigures {
  readonly held: number;
  readonly tcpBytesEach: number;
  readonly httpBytesEach: number;
}

/** Measures one daemon for each mode: what one has given back to its heap the other would find there. */
export async function measureConnections(onStep: OnStep = untold): Promise<ConnectionFigures> {
  const upstream = spawn(process.execPath, [
    ECHO,
    ADDRESS,
    `${PORTS.tcp.upstream}`,
    `${PORTS.http.upstream}`,
  ]);
  try {
    const held = Math.min(COUNT, Math.floor((openFilesMax() ?? 1024) / CLIENTS_SHARE) - AT_ONCE);
    onStep(`${held} over TCP`);
    const tcpBytesEach = await bytesEach("tcp", held);
    onStep(`${held} over HTTP`);
    return { held, tcpBytesEach, httpBytesEach: await bytesEach("http", held) };
  } finally {
    upstream.kill("SIGKILL");
    await once(upstream, "exit");
  }
}

async function bytesEach(mode: Mode, count: number): Promise<number> {
  const { published, upstream } = PORTS[mode];
  const daemon = await startDaemon(ADDRESS, {
    services: [
      {
        name: "held",
        ports: [{ name: "port", port: 80, target: upstream, protocol: mode }],
        replicas: [`${ADDRESS}:${upstream}`],
        publish: [`${published}:80/tcp`],
      },
    ],
  });
  const sockets: Socket[] = [];
  try {
    // The first ones bring the daemon to its working size.
    await hold(sockets, { mode, count: AT_ONCE });
    const before = await settledBytes(daemon);
    await hold(sockets, { mode, count });
    return ((await settledBytes(daemon)) - before) / count;
  } finally {
    for (const socket of sockets) socket.destroy();
    await daemon.end();
  }
}

const REQUEST: Readonly<Record<Mode, string>> = {
  tcp: "hello",
  http: "GET / HTTP/1.1\r\nHost: held\r\n\r\n",
};

/** Opens connections, some at a time; each has had an answer. */
async function hold(sockets: Socket[], { mode, count }: { mode: Mode; count: number }): Promise<void> {
  let left = count;
  const open = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const socket = await until(() => answered(mode), { deadlineMs: 60_000 });
      sockets.push(socket);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, open));
}

/** A connection that has had an answer; null where it was refused, as before its replica is known to be ready. */
function answered(mode: Mode): Promise<Socket | null> {
  return new Promise((resolve) => {
    const socket = connect({ host: ADDRESS, port: PORTS[mode].published, noDelay: true });
    socket.on("error", () => resolve(null));
    socket.on("close", () => resolve(null));
    socket.write(REQUEST[mode]);
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      if (text.endsWith("hello")) resolve(socket);
    });
  });
}

async function settledBytes(daemon: MeasuredDaemon): Promise<number> {
  let last = 0;
  let still = 0;
  const look = (): boolean => {
    const now = daemon.rssBytes();
    still = Math.abs(now - last) <= STILL_BYTES ? still + 1 : 0;
    last = now;
    return still >= STILL_LOOKS;
  };
  await until(look, { deadlineMs: 60_000, everyMs: 1000, what: "memory has settled" });
  return last;
}
