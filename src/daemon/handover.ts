/**
 * Handover: the words between a daemon and the one that takes over from it, on one host.
 *
 * The new one asks on the old one's admin socket, and the connection of that request stays: it is how each notices
 * that the other is gone. The old one gives up what only one can have and serves on, until the new one says that it
 * does, however long that takes; if it goes away before, the old one takes all back. "relays" comes before the new one
 * meets its peers, so that what they open anew in this life comes to it.
 *
 *     new -> old   POST /api/v1/handover, Upgrade: skein-handover
 *     old -> new   101, and when it has given up: its legacy (legacy.ts), one line
 *     new -> old   relays      old -> new   done: it does not listen on the mesh port any more
 *     new -> old   ready       old -> new   done: it listens nowhere any more; it ends with its connections
 *
 * Touches: the admin socket.
 */

import { request as httpRequest, type IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { StringDecoder } from "node:string_decoder";

import { HANDOVER_PATH, HANDOVER_PROTOCOL } from "../admin/contract.ts";
import { Failure, systemCodeOf, textOf } from "../base/failure.ts";
import { LIMITS } from "../model/limits.ts";
import { startDeadline } from "../runtime/deadline.ts";

import { parseLegacy, renderLegacy, type Legacy } from "./legacy.ts";

/** For the old daemon to give up what only one can have; its parts have seconds in all (lifecycle.ts). */
const LEGACY_MS = 15_000;
/**
 * For the new daemon's next step. Most need a few seconds; one may wait long, as for a Docker that does not answer, and
 * is no reason to serve nobody meanwhile. But what is handed over is known as it was then, and grows old.
 */
const READY_MS = 600_000;
/** For the old daemon to stop listening. */
const DONE_MS = 5000;

/** The old daemon, in the eyes of the new one. */
export interface Predecessor {
  readonly legacy: Legacy;
  /** False when nobody listens on the mesh port any more: another successor was to, and is gone. */
  readonly isRelaying: boolean;
  /** Tells it that streams are relayed here. Settles when it takes no new ones, or is gone. Never rejects. */
  relieveOfStreams(): Promise<void>;
  /** Tells it that all is served here. Settles when it listens no more, or is gone. Never rejects. */
  relieve(): Promise<void>;
  /** Tells it that nothing comes of this: it takes back what it gave. */
  abandon(): void;
}

/** The new daemon, in the eyes of the old one. */
export interface Successor {
  /** Tells it what is left to it. */
  give(legacy: Legacy): void;
  /** What it says next. `gone`: it ended before it was ready; `late`: it lives, and after ten minutes is not ready. */
  next(): Promise<"relays" | "ready" | "gone" | "late">;
  /** Tells it that what it said is acted on. */
  done(): void;
}

/**
 * Asks the daemon behind an admin socket to hand over.
 *
 * @returns null when none runs there
 * @throws Failure `busy` when it is stopping, `not-allowed`, `timeout`, `invalid` when it cannot hand over
 */
export async function askHandover(socketPath: string): Promise<Predecessor | null> {
  const connection = await upgraded(socketPath);
  if (connection === null) return null;
  const lines = new Lines(connection);
  const first = await lines.next(LEGACY_MS);
  if (first === null) {
    connection.destroy();
    const text = `the daemon behind ${socketPath} hands nothing over; expected it within ${LEGACY_MS / 1000} s`;
    throw new Failure("busy", text);
  }
  const legacy = parseLegacy(first);
  if (!legacy.ok) {
    connection.destroy();
    throw legacy.failure;
  }
  return {
    legacy: legacy.value,
    isRelaying: true,
    async relieveOfStreams() {
      connection.write("relays\n");
      await lines.next(DONE_MS);
    },
    async relieve() {
      connection.write("ready\n");
      await lines.next(DONE_MS);
      connection.destroy();
    },
    abandon: () => void connection.destroy(),
  };
}

/** Takes the connection of a daemon that asks to take over. */
export function openSuccessor(connection: Duplex): Successor {
  const lines = new Lines(connection);
  return {
    give: (legacy) => void connection.write(`${renderLegacy(legacy)}\n`),
    async next() {
      const line = await lines.next(READY_MS);
      if (line === "relays" || line === "ready") return line;
      const isGone = connection.destroyed;
      connection.destroy();
      return isGone ? "gone" : "late";
    },
    done: () => void connection.write("done\n"),
  };
}

/** The connection of a handover that was granted; null when no daemon is there. */
function upgraded(socketPath: string): Promise<Duplex | null> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      socketPath,
      path: HANDOVER_PATH,
      method: "POST",
      headers: { host: "localhost", connection: "Upgrade", upgrade: HANDOVER_PROTOCOL },
      agent: false,
      timeout: LEGACY_MS,
    });
    const refuse = (thrown: Failure): void => {
      request.destroy();
      reject(thrown);
    };
    request.once("timeout", () => refuse(new Failure("timeout", `no answer on ${socketPath}`)));
    request.once("error", (thrown) => {
      const code = systemCodeOf(thrown) ?? "";
      if (code === "ENOENT" || code === "ECONNREFUSED") return resolve(null);
      const text = `admin socket ${socketPath}: ${textOf(thrown)}`;
      refuse(new Failure(code === "EACCES" ? "not-allowed" : "unreachable", text, { cause: thrown }));
    });
    request.once("response", (response: IncomingMessage) => {
      const status = response.statusCode ?? 0;
      const remedy = "its version cannot: stop it, then start this one";
      refuse(new Failure("invalid", `the daemon on ${socketPath} does not hand over (${status}); ${remedy}`));
    });
    request.once("upgrade", (_response, socket: Duplex, head: Buffer) => {
      // Neither end has an idle deadline from here on: taking over lasts as long as it lasts.
      if ("setTimeout" in socket && typeof socket.setTimeout === "function") socket.setTimeout(0);
      if (head.length > 0) socket.unshift(head);
      resolve(socket);
    });
    request.end();
  });
}

/** The lines that come over a connection, one at a time. */
class Lines {
  #text = "";
  #isEnded = false;
  #wake: () => void = () => undefined;

  constructor(connection: Duplex) {
    // Not setEncoding: a connection that was HTTP's refuses it.
    const decoder = new StringDecoder("utf8");
    // What ends a connection is told by its `close`.
    connection.on("error", () => undefined);
    connection.on("data", (part: Buffer) => {
      this.#text += decoder.write(part);
      if (this.#text.length > LIMITS.handoverBytes) connection.destroy();
      this.#wake();
    });
    for (const event of ["end", "close"]) {
      connection.on(event, () => {
        this.#isEnded = true;
        connection.destroy();
        this.#wake();
      });
    }
  }

  /** The next line, without its break; null when the connection ended before it, or the deadline passed. */
  async next(deadlineMs: number): Promise<string | null> {
    await this.#arrived(deadlineMs);
    if (!this.#text.includes("\n")) return null;
    const [line = "", ...rest] = this.#text.split("\n");
    this.#text = rest.join("\n");
    return line;
  }

  /** Settles when there is a line, or none will come. */
  #arrived(deadlineMs: number): Promise<void> {
    return new Promise((resolve) => {
      const deadline = startDeadline(deadlineMs, resolve);
      this.#wake = () => {
        if (!this.#text.includes("\n") && !this.#isEnded) return;
        deadline.clear();
        resolve();
      };
      this.#wake();
    });
  }
}
