/**
 * Line holder: opens a connection to a replica (replica.mjs) through a port, and leaves it alone.
 *
 *   node line-holder.mjs <address> <port>
 *
 * The replica echoes what comes after a handshake. "held" is printed when that is done; at SIGUSR2 a word is sent, and
 * what comes back is printed; "closed" when the connection ends.
 *
 * Touches: one TCP connection, standard output.
 */

import { connect } from "node:net";

const [address, port] = process.argv.slice(2);
const socket = connect(Number(port), address);
let isHeld = false;

socket.write("GET / HTTP/1.1\r\nHost: line\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
socket.setEncoding("latin1").on("data", (text) => {
  console.log(isHeld ? text : "held");
  isHeld = true;
});
socket.on("error", () => undefined);
socket.on("close", () => console.log("closed"));
process.on("SIGUSR2", () => socket.write("still here"));
