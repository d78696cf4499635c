/**
 * Undelivered: watches a relayed connection for the one case in which it is certain that nothing was lost.
 *
 * See model/undelivered.ts for why. The replica's end counts only while nothing was given to it since it last spoke:
 * from the first byte on it may have acted, and then nobody can say.
 *
 * Touches: the two connections it is given.
 */

import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";

import { isUndeliveredToken, renderUndelivered, UNDELIVERED_HEADER } from "../model/undelivered.ts";

/** The token that a request for a stream names; one of another form is as if it were not there. */
export function undeliveredOf(request: Pick<IncomingMessage, "headers">): string | null {
  const token = request.headers[UNDELIVERED_HEADER];
  return typeof token === "string" && isUndeliveredToken(token) ? token : null;
}

/** To be called before the two are joined: what it says must come before the end that is passed on. */
export function tellUndelivered(asker: Duplex, replica: Socket, token: string): void {
  let givenBytes = 0;
  replica.on("data", () => {
    givenBytes = replica.bytesWritten;
  });
  replica.once("end", () => {
    if (replica.bytesWritten === givenBytes && asker.writable) asker.write(renderUndelivered(token));
  });
}
