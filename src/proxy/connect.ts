/**
 * Connect: one connection to one upstream, or a failure with a code, within a deadline.
 *
 * An upstream on this host or with an address of its own is dialled here; one behind another host's daemon through
 * `dial`, which the daemon hands in: the proxy knows nothing of the mesh. Both give the same thing, a duplex stream
 * that is connected, so nobody behind this file asks how an upstream is reached. One that expects the PROXY protocol
 * has been told by then who called.
 *
 * Touches: sockets.
 */

import type { Duplex } from "node:stream";

import { Failure, systemCodeOf, textOf, type FailureCode } from "../base/failure.ts";
import { renderHostPort } from "../base/ip.ts";
import { connectTcp } from "../runtime/connect.ts";
import type { Intake } from "../runtime/intake.ts";

import type { Deadlines } from "./deadlines.ts";
import type { Upstream } from "./routes.ts";
import { renderProxyHeader, type Caller } from "./tcp/proxy-header.ts";

/**
 * Opens a stream through the daemon of the upstream's host; rejects with a Failure.
 *
 * By `receipt`, letters and digits of this stream alone, can be asked afterwards what the upstream was given: GivenOf.
 */
export type Dial = (upstream: Upstream, deadlineMs: number, receipt?: string) => Promise<Duplex>;

/**
 * How many bytes an upstream was given over a relayed connection that has ended; null where that is not known. A
 * request none of whose bytes were given has certainly not been acted upon. Settles within a second; never rejects.
 */
export type GivenOf = (upstream: Upstream, receipt: string) => Promise<number | null>;

/**
 * Connects to an upstream. The stream allows half-open use; who asked attaches `error` at once.
 *
 * An upstream that expects the PROXY protocol is told of `caller` before anything else; without one, that it is the
 * proxy itself that calls. So a connection that was opened for one caller is not to be used for another.
 *
 * Rejects with a Failure: `refused`, `timeout`, `unreachable`, or `busy` when this host itself has no socket left.
 */
export type Connect = (upstream: Upstream, caller?: Caller | null, means?: Means) => Promise<Duplex>;

/** What a connection is for, as far as how it is made depends on that. */
export interface Means {
  /** Reads what the upstream sends, where it can; whether it does is to be asked of it. */
  readonly intake?: Intake;
  /** Names a relayed connection, so that it can be asked afterwards what the upstream was given; see GivenOf. */
  readonly receipt?: string;
  /** Gives up a direct connection that is not made yet. */
  readonly signal?: AbortSignal;
}

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
  return async (upstream, caller = null, means = {}) => {
    const isDirect = upstream.via === "direct";
    const dialled = isDirect
      ? dialDirect(upstream, options, means)
      : options.dial(upstream, options.streamMs, means.receipt);
    const stream = await dialled;
    const { proxyProtocol: version } = upstream;
    if (version !== "off") stream.write(renderProxyHeader({ version, caller }));
    return stream;
  };
}

async function dialDirect(upstream: Upstream, options: ConnectOptions, means: Means): Promise<Duplex> {
  const { deadlines, nowMs, connectMs } = options;
  const { intake, signal } = means;
  const startDeadline = (passed: () => void): (() => void) => {
    const deadline = deadlines.add(nowMs() + connectMs, passed);
    signal?.addEventListener("abort", passed);
    return () => {
      deadlines.remove(deadline);
      signal?.removeEventListener("abort", passed);
    };
  };
  try {
    return await connectTcp({ host: upstream.address, port: upstream.port }, startDeadline, intake);
  } catch (thrown) {
    throw asFailure(upstream, thrown, connectMs);
  }
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

function asFailure(upstream: Upstream, thrown: unknown, connectMs: number): Failure {
  const at = renderHostPort({ host: upstream.address, port: upstream.port });
  const why = thrown instanceof Failure ? `no connection in ${connectMs} ms` : textOf(thrown);
  const text = `${upstream.replica} at ${at}: ${why}`;
  const code = thrown instanceof Failure ? thrown.code : CODE_BY_SYSTEM_CODE[systemCodeOf(thrown) ?? ""];
  return new Failure(code ?? "unreachable", text, { cause: thrown });
}
