/**
 * Dial: a connection to another member's mesh port, or to a replica of this host.
 *
 * The one place where sockets towards others are made, so that their options, deadlines and the reading of
 * what went wrong are the same for links and streams. `refused` is told apart with care: it means that the
 * host answered and that nothing listens, and failure detection takes it for the death of that daemon.
 * Whatever is less certain is `timeout` or `unreachable`.
 *
 * To a member it is TLS, and a connection only once its certificate was found good. Who shows a bad one, or
 * is another member than the one that was meant, is told of as a refusal, for it is we who refuse.
 *
 * Touches: TCP sockets, TLS.
 */

import type { Socket } from "node:net";
import { connect as connectTls, type SecureContext, type TLSSocket } from "node:tls";

import { Failure, systemCodeOf, textOf } from "../base/failure.ts";
import { renderHostPort, type HostPort } from "../base/ip.ts";
import type { Credential } from "../model/credential.ts";
import type { NodeId } from "../model/ids.ts";
import { nowMs } from "../runtime/clock.ts";
import { connectTcp } from "../runtime/connect.ts";
import { startDeadline } from "../runtime/deadline.ts";
import { resettable } from "../runtime/pump.ts";

import type { RefusalReason, Refusals } from "./refusals.ts";
import { openContexts, TLS_OPTIONS, vouch, type MeshProtocol } from "./secure.ts";
import type { MeshTrust } from "./trust.ts";

/**
 * Connects over TCP. The socket keeps its writing half open when the other side ends (`allowHalfOpen`), sends
 * small writes at once, and has no `error` listener: the caller attaches one before it awaits anything else.
 *
 * @throws Failure `refused` when nothing listens there, `timeout` after `deadlineMs`, else `unreachable`
 */
export async function dialSocket(peer: HostPort, deadlineMs: number): Promise<Socket> {
  try {
    return await connectTcp(peer, (passed) => {
      const deadline = startDeadline(deadlineMs, passed);
      return () => deadline.clear();
    });
  } catch (thrown) {
    if (!(thrown instanceof Failure)) throw dialFailure(peer, thrown);
    throw new Failure("timeout", `${renderHostPort(peer)} took no connection in ${deadlineMs} ms`);
  }
}

function dialFailure(peer: HostPort, thrown: unknown): Failure {
  // A name with several addresses fails with all their errors; one doubtful address makes the whole doubtful.
  const errors: readonly unknown[] = thrown instanceof AggregateError ? thrown.errors : [thrown];
  const refused = errors.every((error) => systemCodeOf(error) === "ECONNREFUSED");
  const text = `${renderHostPort(peer)} cannot be reached: ${errors.map(textOf).join("; ")}`;
  return new Failure(refused ? "refused" : "unreachable", text, { cause: thrown });
}

/** A connection to a member, and which one it is. */
export interface Dialled {
  /** Half-open use is allowed. It has no `error` listener of the caller's yet. */
  readonly socket: TLSSocket;
  readonly credential: Credential;
}

/** How a member is dialled. */
export interface DialOptions {
  readonly alpn: MeshProtocol;
  /** For TCP and TLS together. */
  readonly deadlineMs: number;
  /** Who must answer there; anybody of the cluster when left out. */
  readonly expect?: NodeId;
}

/**
 * Connects to a member's mesh port.
 *
 * @throws Failure `refused` when nothing listens there (and only then), `timeout`, `unreachable`, `invalid` when what
 *   answers does not speak our TLS, `not-allowed` when its certificate does not count or is another member's
 */
export type DialMember = (peer: HostPort, options: DialOptions) => Promise<Dialled>;

/** Makes what dials members; links and streams share one. Holds nothing that must be closed. */
export function openDialler(trust: MeshTrust, refusals: Refusals): DialMember {
  const contextNow = openContexts(trust);
  return async (peer, options) => {
    const startedMs = nowMs();
    const below = await dialSocket(peer, options.deadlineMs);
    const leftMs = Math.max(1, options.deadlineMs - (nowMs() - startedMs));
    const socket = await secure(below, peer, { ...options, leftMs, context: contextNow() });
    const refuse = (reason: RefusalReason, id: NodeId | null, text: string): Failure => {
      socket.destroy();
      refusals.tell({ reason, address: renderHostPort(peer), peer: id, text });
      return new Failure("not-allowed", `${renderHostPort(peer)} is refused: ${text}`);
    };
    const vouched = vouch(socket, trust);
    if (!vouched.ok) throw refuse(vouched.reason, vouched.peer, vouched.text);
    const { credential } = vouched;
    if (options.expect !== undefined && credential.id !== options.expect)
      throw refuse(
        "another-member",
        credential.id,
        `it is node ${credential.id}; expected ${options.expect}`,
      );
    return { socket, credential };
  };
}

/** Does the handshake of TLS on a connection. */
function secure(
  below: Socket,
  peer: HostPort,
  options: DialOptions & { readonly leftMs: number; readonly context: SecureContext },
): Promise<TLSSocket> {
  const at = renderHostPort(peer);
  return new Promise((resolve, reject) => {
    const socket = connectTls({
      ...TLS_OPTIONS,
      socket: below,
      secureContext: options.context,
      ALPNProtocols: [options.alpn],
      // Names in certificates are no host names here: `vouch` judges.
      checkServerIdentity: () => undefined,
    });
    // What goes wrong below shows above.
    below.on("error", () => undefined);
    const fail = (failure: Failure): void => {
      deadline.clear();
      socket.destroy();
      reject(failure);
    };
    const deadline = startDeadline(options.leftMs, () =>
      fail(new Failure("timeout", `${at} did not end the TLS handshake in ${options.deadlineMs} ms`)),
    );
    // Stays: the handshake may end and break in one turn, before the caller has a listener of his own.
    socket.on("error", (thrown) => fail(handshakeFailure(at, thrown, options.alpn)));
    socket.once("close", () => fail(new Failure("unreachable", `${at} broke off the TLS handshake`)));
    socket.once("secureConnect", () => {
      if (socket.alpnProtocol !== options.alpn)
        return fail(new Failure("invalid", `${at} chose no protocol; expected ${options.alpn}`));
      deadline.clear();
      resolve(resettable(socket, below));
    });
  });
}

/** What OpenSSL calls it, and what that means here. */
const MEANING_BY_CODE: Readonly<Record<string, string>> = {
  ERR_SSL_WRONG_VERSION_NUMBER: "does not speak TLS",
  ERR_SSL_PACKET_LENGTH_TOO_LONG: "does not speak TLS",
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: "does not speak TLS 1.3",
  ERR_SSL_UNSUPPORTED_PROTOCOL: "does not speak TLS 1.3",
};

function handshakeFailure(at: string, cause: Error, alpn: MeshProtocol): Failure {
  const code = systemCodeOf(cause) ?? "";
  const refusesProtocol = code === "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL";
  const meaning = refusesProtocol ? `does not take ${alpn}` : MEANING_BY_CODE[code];
  if (meaning !== undefined) return new Failure("invalid", `${at} ${meaning}`, { cause });
  return new Failure(codeOfBroken(cause), `${at} broke off the TLS handshake: ${textOf(cause)}`, { cause });
}

/**
 * The code of a connection that broke before the other side's answer was whole: `unreachable` for what the
 * network did (ECONNRESET, ...), `invalid` for an answer that OpenSSL, node:http (HPE_...) or ws cannot take.
 */
export function codeOfBroken(thrown: Error): "unreachable" | "invalid" {
  const code = systemCodeOf(thrown) ?? "";
  return code.startsWith("E") && !code.startsWith("ERR_") ? "unreachable" : "invalid";
}
