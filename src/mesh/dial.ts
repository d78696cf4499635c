/**
 * Dial: a connection to another daemon's mesh port, or to a replica of this host.
 *
 * The one place where sockets towards others are made, so that their options, deadlines and the reading of
 * what went wrong are the same for links and streams; and the one place that changes when the mesh port
 * speaks TLS. `refused` is told apart with care: it means that the host answered and that nothing listens,
 * and failure detection takes it for the death of that daemon. Whatever is less certain is `timeout` or
 * `unreachable`.
 *
 * Touches: TCP sockets.
 */

import { connect, type Socket } from "node:net";

import { Failure, systemCodeOf, textOf } from "../base/failure.ts";
import { renderHostPort, type HostPort } from "../base/ip.ts";

/**
 * How long a silent connection stays before the system asks whether the other host is still there; shorter
 * than the idle limits of common firewalls and address translators.
 */
export const KEEPALIVE_MS = 30_000;

/**
 * Connects over TCP. The socket keeps its writing half open when the other side ends (`allowHalfOpen`), sends
 * small writes at once, and has no `error` listener: the caller attaches one before it awaits anything else.
 *
 * @throws Failure `refused` when nothing listens there, `timeout` after `deadlineMs`, else `unreachable`
 */
export function dialSocket(peer: HostPort, deadlineMs: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: peer.host,
      port: peer.port,
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEPALIVE_MS,
    });
    const timer = setTimeout(() => {
      socket.destroy(
        new Failure("timeout", `${renderHostPort(peer)} took no connection in ${deadlineMs} ms`),
      );
    }, deadlineMs);
    const broken = (thrown: Error): void => {
      clearTimeout(timer);
      reject(thrown instanceof Failure ? thrown : dialFailure(peer, thrown));
    };
    socket.once("error", broken);
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.off("error", broken);
      resolve(socket);
    });
  });
}

function dialFailure(peer: HostPort, thrown: Error): Failure {
  // A name with several addresses fails with all their errors; one doubtful address makes the whole doubtful.
  const errors: readonly unknown[] = thrown instanceof AggregateError ? thrown.errors : [thrown];
  const refused = errors.every((error) => systemCodeOf(error) === "ECONNREFUSED");
  const text = `${renderHostPort(peer)} cannot be reached: ${errors.map(textOf).join("; ")}`;
  return new Failure(refused ? "refused" : "unreachable", text, { cause: thrown });
}

/**
 * The code of a connection that broke before the other side's answer was whole: `unreachable` for what the
 * network did (ECONNRESET, ...), `invalid` for an answer that node:http (HPE_...) or ws cannot take.
 */
export function codeOfBroken(thrown: Error): "unreachable" | "invalid" {
  return systemCodeOf(thrown)?.startsWith("E") === true ? "unreachable" : "invalid";
}
