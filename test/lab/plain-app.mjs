/**
 * Plain app: a web server as people write them, to be restarted and to be harmed, in the lab's containers.
 *
 * At SIGTERM it closes its listener at once, finishes what it has, and exits. It waits for nobody to notice. A POST is
 * answered with its name only when all of its body has come.
 *
 * What it has are the requests that have reached it, also those that it has not read yet: so kept connections are told
 * that they end, and closed once they are quiet. With APP_STOP=drop it does what node's own `server.close()` does and
 * closes those that are idle at once. A POST that lies unread in one is then lost, and nobody but the app can know.
 *
 * Environment: APP_NAME (default: the host name); APP_STOP, `finish` (the default) or `drop`; APP_HARM, what it does to
 * each request in place of an answer:
 *
 *   silent   takes it, and never answers           reset   resets the connection
 *   half     sends a head that announces twice     none    answers (the default)
 *            what follows, then resets
 */

import { createServer } from "node:http";
import { Server as NetServer } from "node:net";
import { hostname } from "node:os";

const PORT = 8080;
/** As the lab's clients send. */
const BODY_BYTES = 1000;

/**
 * How long nothing comes before a stopping app believes that nothing more will: longer than any host needs to hear that
 * it stops, also three on one busy machine.
 */
const QUIET_MS = 1500;

const name = process.env.APP_NAME ?? hostname();

const HARMS = {
  none: (request, response) => {
    let bytes = 0;
    request.on("data", (chunk) => (bytes += chunk.length));
    request.on("end", () => {
      const isWhole = request.method !== "POST" || bytes === BODY_BYTES;
      response.writeHead(isWhole ? 200 : 400).end(isWhole ? `${name}\n` : `a body of ${bytes} bytes\n`);
    });
  },
  silent: () => undefined,
  reset: (request) => request.socket.resetAndDestroy(),
  half: (request, response) => {
    const half = `${name}\n`;
    response.writeHead(200, { "content-length": 2 * half.length });
    // Not before it is out: a reset would take it along.
    response.write(half, () => setTimeout(() => request.socket.resetAndDestroy(), 20));
  },
};

const server = createServer(HARMS[process.env.APP_HARM ?? "none"]);
server.listen(PORT, () => console.log("listening"));
process.once("SIGTERM", () => (process.env.APP_STOP === "drop" ? server.close(exit) : finish()));

function exit() {
  process.exit(0);
}

function finish() {
  NetServer.prototype.close.call(server, exit);
  let quietSinceMs = performance.now();
  server.prependListener("request", (_request, response) => {
    response.shouldKeepAlive = false;
    quietSinceMs = performance.now();
  });
  setInterval(
    () => performance.now() - quietSinceMs > QUIET_MS && server.closeIdleConnections(),
    QUIET_MS / 4,
  );
}
