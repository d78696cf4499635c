/**
 * Streams: opens streams to replicas of other hosts, over connections to members that are who they should be.
 *
 * First over one that was kept ready: then a stream's first byte costs no more than that of a bare connection. One kept
 * ready may have died a moment ago without our knowing; a stream that finds it so goes on with the next, and in the end
 * with a fresh one, all under the one deadline. Nothing of the client's is sent before the replica has taken the
 * connection, so trying again repeats nothing.
 *
 * Touches: sockets.
 */

import type { Socket } from "node:net";

import { Failure, textOf } from "../base/failure.ts";
import { renderHostPort } from "../base/ip.ts";
import type { Credential } from "../model/credential.ts";
import { nowMs } from "../runtime/clock.ts";
import { reset } from "../runtime/pump.ts";

import type { Dialled, DialMember } from "./dial.ts";
import { Ready } from "./ready.ts";
import { STREAM_ALPN } from "./secure.ts";
import { askStream, type OpenStream } from "./stream.ts";
import type { Objection } from "./trust.ts";

/** The streams that this daemon opened. */
export interface Streams {
  readonly open: OpenStream;
  /** How many connections are kept ready. */
  readonly readyCount: () => number;
  /** Resets all streams that go through whoever there is an objection to, and keeps none ready to him. */
  cut(objection: Objection): void;
  /** Drops what is kept ready. Streams that are open stay their openers'. */
  close(): void;
}

/** Opens an empty set of streams. */
export function openStreams({ dialMember }: { readonly dialMember: DialMember }): Streams {
  const ready = new Ready(dialMember);
  const credentialBySocket = new Map<Socket, Credential>();
  const open: OpenStream = async (peer, ask) => {
    const startedMs = nowMs();
    const leftMs = (): number => Math.max(1, ask.deadlineMs - (nowMs() - startedMs));
    for (;;) {
      const kept = ready.take(peer);
      const { socket, credential } = kept ?? (await dial(peer));
      const asked = await askStream(socket, { ...ask, deadlineMs: leftMs() });
      if (asked.kind === "stale" && kept !== null) continue;
      if (asked.kind !== "open")
        throw named(`stream to ${ask.replica} through ${renderHostPort(peer.address)}`, asked.failure);
      ready.refill(peer);
      credentialBySocket.set(socket, credential);
      socket.once("close", () => credentialBySocket.delete(socket));
      return socket;
    }
    async function dial({ address, id }: typeof peer): Promise<Dialled> {
      try {
        return await dialMember(address, { alpn: STREAM_ALPN, deadlineMs: leftMs(), expect: id });
      } catch (thrown) {
        // Whatever kept us from the daemon says nothing of the replica.
        const code = thrown instanceof Failure && thrown.code === "timeout" ? "timeout" : "unreachable";
        throw new Failure(code, `stream: ${textOf(thrown)}`, { cause: thrown });
      }
    }
  };
  return {
    open,
    readyCount: () => ready.size,
    cut(objection) {
      ready.cut(objection);
      for (const [socket, peer] of credentialBySocket) if (objection(peer) !== null) reset(socket);
    },
    close: () => ready.close(),
  };
}

function named(what: string, { code, message, cause }: Failure): Failure {
  return new Failure(code, `${what}: ${message}`, { cause });
}
