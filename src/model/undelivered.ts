/**
 * Undelivered: how a daemon tells another that what it sent to a replica never reached it.
 *
 * A server that stops closes its idle connections. A request that crosses that on its way over a kept connection is
 * lost, and who sent it cannot tell whether it was acted upon: an idempotent one is sent again, a POST must fail. But
 * over a relayed stream the daemon beside the replica knows: when the replica ends a connection on which nothing was
 * given to it since it last spoke, whatever comes later was never seen. So who asks for a stream for HTTP may name a
 * token, and then gets in such a case, before the end, an answer that carries it; the request goes elsewhere, whatever
 * its method. 408 is the status that servers use for it (RFC 9110 15.5.9), so that whoever does not know the token
 * reads something true. The replica never sees the token: it cannot say the same.
 *
 * Pure.
 */

/** Carries the token in the request for a stream, and in the answer that tells. */
export const UNDELIVERED_HEADER = "skein-undelivered";

/** Whether text may be a token. */
export function isUndeliveredToken(text: string): boolean {
  return /^[a-z0-9]{16,64}$/.test(text);
}

/** The answer that tells, as bytes for the connection. */
export function renderUndelivered(token: string): string {
  const lines = ["HTTP/1.1 408 Request Timeout", "Connection: close", "Content-Length: 0"];
  return `${[...lines, `${UNDELIVERED_HEADER}: ${token}`].join("\r\n")}\r\n\r\n`;
}
