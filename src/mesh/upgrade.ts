/**
 * Upgrade: the request with which every link and stream begins, and the short answer to one that is refused.
 *
 * The reason goes in a header, where dialStream reads it, and in the body, where a person with curl does. A
 * refused peer may still be sending; were its socket destroyed with bytes unread, the system would answer
 * with a reset and the peer could lose the reason. So what still comes is read and dropped for a moment
 * before the socket goes.
 *
 * Touches: the socket it is given; one timer.
 */

import { STATUS_CODES, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";

/** An upgrade request as node:http hands it over. */
export interface Upgrade {
  readonly request: IncomingMessage;
  readonly socket: Socket;
  /** First bytes after the request, if any came with it. */
  readonly head: Buffer;
}

/** Header of a refusal that says why, in words. */
export const REASON_HEADER = "skein-reason";

const LINGER_MS = 1000;

/** An HTTP status for a refused request, and why in printable ASCII words. */
export interface Refusal {
  readonly status: 400 | 403 | 404 | 413 | 421 | 426 | 502 | 503 | 504 | 508;
  readonly reason: string;
}

/** Any text as it may stand in a header: printable ASCII, not too long. */
export function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?").slice(0, 200);
}

/** Answers with the refusal and ends the connection, within a second whatever the peer does. */
export function refuse(socket: Duplex, { status, reason }: Refusal): void {
  // Whatever breaks now, the connection is on its way out.
  socket.on("error", () => socket.destroy());
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once("close", () => clearTimeout(timer));
  socket.resume();
  socket.end(
    [
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
      "Connection: close",
      "Content-Type: text/plain",
      `Content-Length: ${reason.length + 1}`,
      `${REASON_HEADER}: ${reason}`,
      "",
      `${reason}\n`,
    ].join("\r\n"),
  );
}
