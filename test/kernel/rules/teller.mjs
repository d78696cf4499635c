// A server and a client for the tests of rules, run in network namespaces: who answered, and whom it saw.
// teller.mjs serve <name> <port>: answers TCP and UDP with its name and the client's address.
// teller.mjs ask <tcp|udp> <address> <port> <count> <own port> <ms>: asks one after the other; prints the answers as JSON.

import { createSocket } from "node:dgram";
import { connect, createServer } from "node:net";

const [mode, ...rest] = process.argv.slice(2);
const [port = 0, count = 0, from = 0, waitMs = 0] = rest.slice(2).map(Number);
if (mode === "serve") await serve(rest[0], Number(rest[1]));
else await ask(rest[0], { host: rest[1], port, count, from, waitMs });

async function serve(name, port) {
  const answerTo = (address) => `${name} ${address.replace("::ffff:", "")}`;
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.end(answerTo(socket.remoteAddress ?? "?"));
  });
  await new Promise((resolve) => server.listen({ port, host: "::" }, resolve));
  const udp = createSocket({ type: "udp6" });
  udp.on("message", (_, { address, port: to }) => udp.send(answerTo(address), to, address));
  await new Promise((resolve) => udp.bind(port, "::", resolve));
  console.log("ready");
}

async function ask(protocol, { host, port, count, from, waitMs }) {
  const answers = [];
  const socket = protocol === "udp" && from > 0 ? await bound(host, from) : null;
  for (let at = 0; at < count; at += 1) {
    if (protocol === "tcp") answers.push(await overTcp({ host, port, waitMs }));
    else
      answers.push(
        await overUdp(socket ?? (await bound(host, 0)), { host, port, waitMs, keep: socket !== null }),
      );
  }
  socket?.close();
  console.log(JSON.stringify(answers));
}

function overTcp({ host, port, waitMs }) {
  return new Promise((resolve) => {
    let text = "";
    const socket = connect({ host, port, timeout: waitMs });
    socket.setEncoding("utf8");
    socket.on("data", (chunk) => (text += chunk));
    socket.on("end", () => resolve(text));
    socket.on("error", (error) => resolve(error.code));
    socket.on("timeout", () => {
      socket.destroy();
      resolve("silence");
    });
  });
}

function bound(host, port) {
  const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
  return new Promise((resolve) => socket.bind(port, () => resolve(socket)));
}

function overUdp(socket, { host, port, waitMs, keep }) {
  return new Promise((resolve) => {
    const done = (answer) => {
      clearTimeout(timer);
      socket.removeAllListeners("message");
      if (!keep) socket.close();
      resolve(answer);
    };
    const timer = setTimeout(() => done("silence"), waitMs);
    socket.once("message", (message) => done(message.toString()));
    socket.send("?", port, host);
  });
}
