/**
 * Watch name: asks one name server for one name each millisecond, and prints each answer that differs from the last.
 *
 *   node watch-name.ts <address> <port> <name>
 *
 * One line of JSON an answer: when it came, in Unix milliseconds with a fraction, and the addresses in it, sorted. It
 * is for measuring how long a change takes to be seen, so it must cost little and say exactly when: one socket, a query
 * made once, no retries; a lost answer costs a millisecond.
 *
 * Touches: one UDP socket, standard output.
 */

import { createSocket } from "node:dgram";

import { decode, encode } from "dns-packet";

/** A line of its output. */
export interface SeenAnswer {
  readonly atMs: number;
  readonly addresses: readonly string[];
}

const EVERY_MS = 1;

function watchName(address: string, port: number, name: string): void {
  const query = encode({ type: "query", id: 1, questions: [{ type: "A", name }] });
  const socket = createSocket("udp4");
  let last = "";
  socket.on("message", (message) => {
    const atMs = performance.timeOrigin + performance.now();
    const { answers = [] } = decode(message);
    const addresses = answers.flatMap((answer) => (answer.type === "A" ? [answer.data] : [])).sort();
    if (addresses.join(" ") === last) return;
    last = addresses.join(" ");
    const seen: SeenAnswer = { atMs, addresses };
    process.stdout.write(`${JSON.stringify(seen)}\n`);
  });
  setInterval(() => socket.send(query, port, address), EVERY_MS);
}

const [address = "", port = "", name = ""] = process.argv.slice(2);
watchName(address, Number(port), name);
