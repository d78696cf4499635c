// A server that tells whoever connects by which address it sees them. Says "ready" once it listens.

import { createServer } from "node:net";

const server = createServer((socket) => {
  socket.on("error", () => socket.destroy());
  socket.end(`${socket.remoteAddress?.replace("::ffff:", "") ?? ""}\n`);
});
server.listen(Number(process.argv[2]), "::", () => console.log("ready"));
