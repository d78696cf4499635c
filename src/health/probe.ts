/**
 * Probe: asks one endpoint once whether it is there.
 *
 * `tcp` connects and closes with a proper end, so that the server sees a client that changed its mind, not a reset.
 * `http` sends GET on a connection of its own: any 2xx or 3xx passes. A redirect is an answer, not followed: where it
 * leads is not the endpoint. The verdict falls with the head of the answer; a little of the body is read after that,
 * for a clean close, and never longer than the deadline.
 *
 * Touches: sockets to the endpoint, timers. schedule.ts decides when, and how many at once.
 */

import { request } from "node:http";
import { connect, type Socket } from "node:net";

import { systemCodeOf, textOf } from "../base/failure.ts";
import { LIMITS } from "../model/limits.ts";
import { startDeadline } from "../runtime/deadline.ts";

import type { ProbeOutcome } from "./verdict.ts";

/** What to ask, and for how long. */
export interface ProbeTarget {
  readonly kind: "tcp" | "http";
  readonly address: string;
  readonly port: number;
  /** Request path for `http`; empty for `tcp`. */
  readonly path: string;
  /** The `Host` header for `http`: the service's name. */
  readonly host: string;
  readonly timeoutMs: number;
  /** What the endpoint expects in front of each connection; null for nothing. */
  readonly preamble: Uint8Array | null;
}

/** How long a connected TCP probe waits for the other side to close too. */
const LINGER_MS = 1000;

const PASSED: ProbeOutcome = { kind: "passed" };

/** Runs one probe. Never rejects: whatever goes wrong is a failed outcome, within the target's deadline. */
export function probe(target: ProbeTarget): Promise<ProbeOutcome> {
  return target.kind === "tcp" ? probeTcp(target) : probeHttp(target);
}

function probeTcp(target: ProbeTarget): Promise<ProbeOutcome> {
  return new Promise((resolve) => {
    const socket = connect({ host: target.address, port: target.port });
    const deadline = startDeadline(target.timeoutMs, () => {
      resolve(late(target));
      socket.destroy();
    });
    socket.on("connect", () => {
      deadline.clear();
      resolve(PASSED);
      // Read what the server greets with: closing over unread bytes sends a reset (RFC 9293 3.10.4, RFC 2525 2.17).
      socket.resume();
      if (target.preamble !== null) socket.write(target.preamble);
      socket.end();
      // Not socket.setTimeout: a server that talks without end is never idle.
      const lingering = setTimeout(() => socket.destroy(), LINGER_MS);
      socket.on("close", () => clearTimeout(lingering));
    });
    socket.on("error", (thrown) => {
      deadline.clear();
      resolve(failure(thrown));
    });
  });
}

function probeHttp(target: ProbeTarget): Promise<ProbeOutcome> {
  const { promise, resolve } = Promise.withResolvers<ProbeOutcome>();
  const options = {
    host: target.address,
    port: target.port,
    path: target.path,
    // Of its own, by no agent: a kept connection says that the last answer was good, and it may lead to a proxy.
    createConnection: () => openConnection(target),
    maxHeaderSize: LIMITS.httpHeadBytes,
    headers: { host: target.host, "user-agent": "skein-probe", connection: "close" },
  } as const;
  try {
    const sent = request(options);
    const deadline = startDeadline(target.timeoutMs, () => {
      resolve(late(target));
      sent.destroy();
    });
    sent.on("response", (response) => {
      resolve(judgeStatus(response.statusCode ?? 0));
      let bytes = 0;
      response.on("error", () => sent.destroy());
      response.on("data", (chunk: Uint8Array) => {
        bytes += chunk.length;
        if (bytes > LIMITS.probeBodyBytes) sent.destroy();
      });
    });
    sent.on("error", (thrown) => resolve(failure(thrown)));
    sent.on("close", () => {
      deadline.clear();
      resolve(failed("connection closed without an answer"));
    });
    sent.end();
  } catch (thrown) {
    // Node refuses to send some paths at all.
    resolve(failed(textOf(thrown)));
  }
  return promise;
}

function openConnection({ address: host, port, preamble }: ProbeTarget): Socket {
  const socket = connect({ host, port });
  if (preamble !== null) socket.write(preamble);
  return socket;
}

function judgeStatus(status: number): ProbeOutcome {
  return status >= 200 && status < 400 ? PASSED : failed(`http status ${status}`);
}

function late(target: ProbeTarget): ProbeOutcome {
  return failed(`no answer within ${target.timeoutMs} ms`);
}

const REASONS: ReadonlyMap<string | null, string> = new Map([
  ["ECONNREFUSED", "connection refused"],
  ["ECONNRESET", "connection reset"],
  ["EHOSTUNREACH", "host unreachable"],
  ["ENETUNREACH", "network unreachable"],
  ["ETIMEDOUT", "connection timed out"],
]);

function failure(thrown: unknown): ProbeOutcome {
  const code = systemCodeOf(thrown);
  // Not the error's own text where we have a word: it holds addresses, and reasons are published.
  const reason = REASONS.get(code) ?? textOf(thrown);
  return { kind: "failed", reason: reason.slice(0, 200), refused: code === "ECONNREFUSED" };
}

function failed(reason: string): ProbeOutcome {
  return { kind: "failed", reason: reason.slice(0, 200), refused: false };
}
