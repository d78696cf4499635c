/**
 * UDP asker: one client with one source port that asks all the time, as a resolver or a game does.
 *
 *   node udp-asker.mjs <own port> <address> <port>
 *
 * It says "asking" when it does: a datagram every 20 ms. At SIGUSR2 it prints a line of JSON: who answered each, in order;
 * null for nobody. A datagram counts as answered when an answer comes before the next one is sent.
 *
 * Touches: one UDP socket, timers, standard output.
 */

import { createSocket } from "node:dgram";

const EVERY_MS = 20;

const [ownPort, address, port] = process.argv.slice(2);
const socket = createSocket("udp4");
/** Who answered each datagram; null while nobody has. */
const answers = [];

socket.on("message", (message) => {
  if (answers.length > 0) answers[answers.length - 1] ??= message.toString().trim();
});
// A refusal told by ICMP is an answer that did not come.
socket.on("error", () => undefined);
socket.bind(Number(ownPort), () => {
  setInterval(() => {
    answers.push(null);
    socket.send(String(answers.length), Number(port), address);
  }, EVERY_MS);
});
process.on("SIGUSR2", () => console.log(JSON.stringify(answers)));
console.log("asking");
