/**
 * Connect: one connection to one upstream, or a failure with a code, within a deadline.
 *
 * An upstream on this host or with an address of its own is dialled here; one behind another host's daemon through
 * `dial`, which the daemon hands in: the proxy knows nothing of the mesh. Both give the same thing, a duplex stream
 * that is connected, so nobody behind this file asks how an upstream is reached.
 *
 * Touches: sockets.
 */

import { connect as netConnect } from "node:net";
import type { Duplex } from "node:stream";

import { Failure, systemCodeOf, textOf, type FailureCode } from "../base/failure.ts";
import { renderHostPort } from "../base/ip.ts";

import type { Deadlines } from "./deadlines.ts";
import type { Upstream } from "./routes.ts";

/** Silence after which TCP asks whether the other side is still there: below what NATs and IPVS forget (900 s). */
export const KEEPALIVE_MS = 30_000;

/** Opens a stream through the daemon of the upstream's host; rejects with a Failure. */
export type Dial = (upstream: Upstream, deadlineMs: number) => Promise<Duplex>;

/**
 * Connects to an upstream. The stream allows half-open use; the caller attaches `error` at once.
 *
 * Rejects with a Failure: `refused`, `timeout`, `unreachable`, or `busy` when this host itself has no socket left.
 */
export type Connect = (upstream: Upstream) => Promise<Duplex>;

/** What connecting needs. */
export interface ConnectOptions {
  readonly dial: Dial;
  readonly deadlines: Deadlines;
  readonly nowMs: () => number;
  /** For a direct connection: within a data centre a SYN that takes longer is lost. */
  readonly connectMs: number;
  /** For a stream: longer, since the other daemon has 500 ms for its own part. */
  readonly streamMs: number;
}

/** Makes the function that connects. */
export function openConnector(options: ConnectOptions): Connect {
  return (upstream) =>
    upstream.via === "stream" ? options.dial(upstream, options.streamMs) : dialDirect(upstream, options);
}

function dialDirect(upstream: Upstream, options: ConnectOptions): Promise<Duplex> {
  const { address, port } = upstream;
  return new Promise((resolve, reject) => {
    const socket = netConnect({
      host: address,
      port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEPALIVE_MS,
      allowHalfOpen: true,
    });
    const fail = (thrown: unknown): void => {
      options.deadlines.remove(deadline);
      socket.destroy();
      reject(asFailure(upstream, thrown));
    };
    const deadline = options.deadlines.add(options.nowMs() + options.connectMs, () =>
      fail(new Failure("timeout", `no connection in ${options.connectMs} ms`)),
    );
    socket.once("error", fail);
    socket.once("connect", () => {
      options.deadlines.remove(deadline);
      socket.removeListener("error", fail);
      resolve(socket);
    });
  });
}

const CODE_BY_SYSTEM_CODE: Readonly<Record<string, FailureCode>> = {
  ECONNREFUSED: "refused",
  ECONNRESET: "refused",
  ETIMEDOUT: "timeout",
  // Ours, not the upstream's: out of file descriptors, of local ports, of memory.
  EMFILE: "busy",
  ENFILE: "busy",
  EADDRNOTAVAIL: "busy",
  ENOBUFS: "busy",
  ENOMEM: "busy",
};

function asFailure(upstream: Upstream, thrown: unknown): Failure {
  const at = renderHostPort({ host: upstream.address, port: upstream.port });
  const text = `${upstream.replica} at ${at}: ${textOf(thrown)}`;
  const code = thrown instanceof Failure ? thrown.code : CODE_BY_SYSTEM_CODE[systemCodeOf(thrown) ?? ""];
  return new Failure(code ?? "unreachable", text, { cause: thrown });
}
