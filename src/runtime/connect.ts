/**
 * Connect: one TCP connection, or why there is none.
 *
 * The proxy dials replicas, the mesh dials daemons and replicas of this host: the options of the socket must be the
 * same for all, and a socket that came too late must not be left behind. What a failure means is read by who dials,
 * for it differs: to the mesh a refusal is the death of a daemon, to the proxy a reason to try the next replica.
 *
 * Touches: TCP sockets.
 */

import { connect, type Socket } from "node:net";

import { Failure } from "../base/failure.ts";
import type { HostPort } from "../base/ip.ts";

/**
 * How long a silent connection stays before the system asks whether the other side is still there; shorter than what
 * address translators, firewalls and IPVS (900 s) forget.
 */
export const KEEPALIVE_MS = 30_000;

/** Calls `passed` in due time unless what it returns is called before. */
export type StartDeadline = (passed: () => void) => () => void;

/**
 * Connects over TCP. The socket keeps its writing half open when the other side ends, sends small writes at once, and
 * has no `error` listener: the caller attaches one before it awaits anything else.
 *
 * Rejects with what the system threw, or with a Failure `timeout` when the deadline passed.
 */
export function connectTcp({ host, port }: HostPort, startDeadline: StartDeadline): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host,
      port,
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEPALIVE_MS,
    });
    const fail = (thrown: unknown): void => {
      clear();
      socket.destroy();
      reject(thrown);
    };
    const clear = startDeadline(() => fail(new Failure("timeout", "the deadline passed")));
    // Stays until it is connected, also after a failure: what is said of a destroyed socket harms nobody.
    socket.on("error", fail);
    socket.once("connect", () => {
      clear();
      socket.off("error", fail);
      resolve(socket);
    });
  });
}
