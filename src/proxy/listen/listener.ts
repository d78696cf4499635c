/**
 * Listener: one thing that listens, whatever comes to it: connections or datagrams.
 *
 * What opens and closes listeners (listeners.ts) needs no more of them than this.
 *
 * Touches: listening sockets.
 */

import { once } from "node:events";
import { Server } from "node:net";

import type { Survey } from "../../runtime/sharing.ts";

/** An address and port to listen on. */
export interface ListenAddress {
  readonly address: string;
  readonly port: number;
}

/** One listener, not listening yet when it is made. */
export interface Listener {
  /**
   * Settles when it listens. Rejects with a Failure when the place is somebody else's, or with what the system threw;
   * it is then of no more use.
   *
   * @param seen  what listens on this host
   */
  listen(at: ListenAddress, seen: Survey): Promise<void>;
  /** The port it has; null while it does not listen. */
  readonly port: number | null;
  /** Told of what goes wrong while it listens: it goes on when it can. */
  onError: (thrown: unknown) => void;
  /** Takes nothing new from now on; what is established goes on, kept connections without a request as well. */
  close(): void;
  /** After `close`: ends connections that are kept for a next request; absent where there are none. */
  closeIdle?(): void;
}

/** Connections that may wait to be accepted: what comes in while the event loop has a long turn. */
const BACKLOG = 1024;

/** What is to be told of a listener's end beside its server, which does not know of all that it carries. */
export type Endings = Partial<Pick<Listener, "close" | "closeIdle">>;

/** A server of connections as a listener. */
export function serverListener(server: Server, endings: Endings = {}): Listener {
  const listener: Listener = {
    async listen({ address: host, port }, seen) {
      await seen.expectShareable({ host, port }, "tcp");
      // `reusePort`: see runtime/sharing.ts.
      server.listen({ host, port, backlog: BACKLOG, exclusive: true, reusePort: true });
      await once(server, "listening");
      // Accepting may fail later, when the process is out of file descriptors: then it goes on when there are some.
      server.on("error", (thrown) => listener.onError(thrown));
    },
    get port() {
      const bound = server.address();
      return typeof bound === "object" && bound !== null ? bound.port : null;
    },
    onError: () => undefined,
    // Not `server.close()`: that of an HTTP server ends idle connections, on which the next request may be on its way.
    close() {
      Server.prototype.close.call(server);
      endings.close?.();
    },
    closeIdle() {
      server.close();
      endings.closeIdle?.();
    },
  };
  return listener;
}
