/**
 * Proxy-pace: GETs by the clock, so many a second whatever becomes of those before, and how long each took.
 *
 *     node proxy-pace.ts <host> <port> <per second> <seconds>
 *
 * Prints the times in milliseconds as one line of JSON, the first second left out. A load that waits for answers slows
 * down with what it measures; this one does not, and counts from when a request was due. Plain sockets and a request
 * made once, since its own work is in each figure.
 *
 * Touches: sockets, timers, standard output.
 */

import { connect, type Socket } from "node:net";

const CONNECTIONS = 64;
const WARM_UP_MS = 1000;
const TICK_MS = 1;

const [host = "", port = "0", perSecond = "0", seconds = "0"] = process.argv.slice(2);
const request = `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
const tookMs: number[] = [];
const free: Socket[] = [];
/** When requests were due for which no connection was free. */
const waiting: number[] = [];

function open(): void {
  const socket = connect(Number(port), host);
  let dueMs = 0;
  let text = "";
  const send = (atMs: number): void => {
    dueMs = atMs;
    socket.write(request);
  };
  socket.setNoDelay(true).setEncoding("latin1");
  socket.on("connect", () => free.push(socket));
  socket.on("due", send);
  socket.on("data", (chunk: string) => {
    text += chunk;
    // Every upstream answers with these six bytes; some proxies chunk them.
    if (!/hello\n(\r\n0\r\n\r\n)?$/.test(text)) return;
    text = "";
    tookMs.push(performance.now() - dueMs);
    const next = waiting.shift();
    if (next === undefined) free.push(socket);
    else send(next);
  });
}

for (let count = 0; count < CONNECTIONS; count += 1) open();
const startMs = performance.now() + WARM_UP_MS / 2;
const everyMs = 1000 / Number(perSecond);
let sent = 0;
let warmedUp = 0;
const ticker = setInterval(() => {
  const nowMs = performance.now();
  for (; startMs + sent * everyMs <= nowMs; sent += 1) {
    const dueMs = startMs + sent * everyMs;
    const socket = free.pop();
    if (socket === undefined) waiting.push(dueMs);
    else socket.emit("due", dueMs);
  }
  if (warmedUp === 0 && nowMs > startMs + WARM_UP_MS) warmedUp = tookMs.length;
  if (nowMs < startMs + WARM_UP_MS + Number(seconds) * 1000) return;
  clearInterval(ticker);
  process.stdout.write(`${JSON.stringify(tookMs.slice(warmedUp))}\n`, () => process.exit(0));
}, TICK_MS);
