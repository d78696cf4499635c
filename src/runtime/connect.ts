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

import { Failure, systemCodeOf } from "../base/failure.ts";
import type { HostPort } from "../base/ip.ts";

import type { Intake } from "./intake.ts";

/**
 * How long a silent connection stays before the system asks whether the other side is still there; shorter than what
 * address translators, firewalls and IPVS (900 s) forget.
 */
export const KEEPALIVE_MS = 30_000;

const SOCKET_OPTIONS = {
  allowHalfOpen: true,
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: KEEPALIVE_MS,
} as const;

/** Calls `passed` in due time unless what it returns is called before. */
export type StartDeadline = (passed: () => void) => () => void;

/**
 * Connects over TCP. The socket keeps its writing half open when the other side ends, sends small writes at once, and
 * has no `error` listener: the caller attaches one before it awaits anything else.
 *
 * A host without a way to it is tried once more at once: Linux fails what waits for an address to be resolved together
 * with the attempt that began seconds before it (arp(7)), when the host may not have been there yet.
 *
 * Rejects with what the system threw, or with a Failure `timeout` when the deadline passed.
 *
 * @param intake  reads what the socket sends; it is paused then
 */
export function connectTcp(to: HostPort, startDeadline: StartDeadline, intake?: Intake): Promise<Socket> {
  return new Promise((resolve, reject) => {
    let socket: Socket;
    const fail = (thrown: unknown): void => {
      clear();
      socket.destroy();
      reject(thrown);
    };
    const clear = startDeadline(() => fail(new Failure("timeout", "the deadline passed")));
    const attempt = (failed: (thrown: unknown) => void): void => {
      const { host, port } = to;
      socket = connect({ host, port, ...SOCKET_OPTIONS, ...(intake && { onread: intake.onread }) });
      intake?.takeFrom(socket);
      // Stays until it is connected, also after a failure: what is said of a destroyed socket harms nobody.
      socket.on("error", failed);
      socket.once("connect", () => {
        clear();
        socket.off("error", failed);
        resolve(socket);
      });
    };
    attempt((thrown) => {
      if (systemCodeOf(thrown) !== "EHOSTUNREACH") fail(thrown);
      else attempt(fail);
    });
  });
}
