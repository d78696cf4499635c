/**
 * Listening: opens the mesh port at its address, and says in the user's words why it cannot be.
 *
 * The port is shared with a successor of this daemon and with nobody else (runtime/sharing.ts), so who has it is looked
 * up first.
 *
 * Touches: the mesh port; /proc, through the look.
 */

import type { Server } from "node:net";

import { Failure, systemCodeOf, textOf } from "../base/failure.ts";
import { renderHostPort, type HostPort } from "../base/ip.ts";
import { survey, type SharedSockets } from "../runtime/sharing.ts";

/** Where to listen, and beside whom that may be. */
export interface Listening {
  readonly listen: HostPort;
  readonly shared?: SharedSockets;
}

/** Listens. @throws Failure `busy`, `not-allowed` or `invalid`, with `mesh.listen` named */
export async function listen(server: Server, { listen: at, shared }: Listening): Promise<void> {
  try {
    await (await survey(shared)).expectShareable(at, "tcp");
  } catch (thrown) {
    throw listenFailure(at, thrown);
  }
  await new Promise<void>((resolve, reject) => {
    server.once("error", (thrown) => reject(listenFailure(at, thrown)));
    const { host, port } = at;
    // So that a successor can listen beside it; see runtime/sharing.ts.
    server.listen({ host, port, exclusive: true, reusePort: port !== 0 }, () => {
      server.removeAllListeners("error");
      resolve();
    });
  });
}

function listenFailure(at: HostPort, cause: unknown): Failure {
  const thing = `mesh.listen is ${renderHostPort(at)}`;
  const isBusy = cause instanceof Failure && cause.code === "busy";
  switch (isBusy ? "EADDRINUSE" : (systemCodeOf(cause) ?? "")) {
    case "EADDRINUSE":
      return new Failure(
        "busy",
        `${thing}, which is taken by another program; stop it, or set mesh.listen to another port`,
        { cause },
      );
    case "EACCES":
      return new Failure("not-allowed", `${thing}; without root expected a port from 1024 up`, { cause });
    case "EADDRNOTAVAIL":
      return new Failure("invalid", `${thing}; expected an address of this host`, { cause });
    default:
      return new Failure("invalid", `${thing}: ${textOf(cause)}`, { cause });
  }
}

/** Where it listens, with the port the system chose. */
export function addressOf(server: Server, asked: HostPort): HostPort {
  const address = server.address();
  return typeof address === "object" && address !== null
    ? { host: address.address, port: address.port }
    : asked;
}
