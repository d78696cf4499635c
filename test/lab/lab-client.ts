/**
 * Lab client: what a test has a client (client.ts) do, and what it gets to know.
 *
 * A client runs in a container or on a host, and has its orders over a unix socket.
 *
 * Touches: the client's socket.
 */

import { until } from "../support/wait.ts";

import type { Order, Resolved, Sighting, Tally } from "./client.ts";
import { exchange } from "./exchange.ts";

/** A load and a watch end by themselves after this long: longer than what any test does meanwhile. */
const LONGEST_MS = 90_000;

/** Between two questions for a watched name. */
const WATCH_EVERY_MS = 20;

/** A load that a client is to make; left out: 50 GETs a second, each over a connection of its own. */
export interface LoadWanted {
  readonly url: string;
  readonly perSecond?: number;
  readonly keepsConnections?: boolean;
  /** Whether every second request is a POST. */
  readonly posts?: boolean;
}

/** How many datagrams, and what is in each. */
export interface DatagramOptions {
  readonly count?: number;
  readonly text?: string;
}

/** A client at work, wherever it runs. */
export class LabClient {
  readonly #socketPath: string;
  readonly #server: string | null;

  /** @param server  the name server it asks when it does not use the C library; null for the one of its container */
  constructor(socketPath: string, server: string | null) {
    this.#socketPath = socketPath;
    this.#server = server;
  }

  /** What its name server answers to a query for addresses. */
  async resolve(name: string, type: "A" | "AAAA" = "A"): Promise<Resolved> {
    const server = this.#server === null ? {} : { server: this.#server };
    return await this.#order({ kind: "resolve", name, type, ...server });
  }

  /** What its C library makes of a name. */
  async lookup(name: string): Promise<Resolved> {
    return await this.#order({ kind: "lookup", name });
  }

  async get(url: string, count = 1, headers: Readonly<Record<string, string>> = {}): Promise<Tally> {
    return await this.#order({ kind: "get", url, count, headers });
  }

  /** Sends datagrams, each from a socket of its own: who answered. */
  async datagrams(host: string, port: number, options: DatagramOptions = {}): Promise<Tally> {
    const { count = 1, text = "who" } = options;
    return await this.#order({ kind: "datagrams", host, port, count, text });
  }

  /** Keeps `perSecond` (50) requests a second coming, for at least half a second before and after `action`. */
  async during(load: LoadWanted, action: () => Promise<void>): Promise<Tally> {
    const { url, perSecond = 50, keepsConnections = false, posts = false } = load;
    await this.#order({ kind: "load", url, perSecond, longestMs: LONGEST_MS, keepsConnections, posts });
    try {
      await this.#untilSent(perSecond / 2);
      await action();
      await this.#untilSent(perSecond / 2);
    } catch (error) {
      const tally = await this.#order<Tally>({ kind: "loaded" });
      throw told(error, `under load, of which came ${JSON.stringify(tally)}`);
    }
    return await this.#order({ kind: "loaded" });
  }

  /**
   * Asks for each of `names` again and again, from before `action` to after it.
   *
   * @returns each different answer to each name, and when it came first
   */
  async watching(names: readonly string[], action: () => Promise<void>): Promise<readonly Sighting[]> {
    const server = this.#server === null ? {} : { server: this.#server };
    const bounds = { everyMs: WATCH_EVERY_MS, longestMs: LONGEST_MS };
    await this.#order({ kind: "watch", names, ...bounds, ...server });
    try {
      await action();
    } catch (error) {
      const seen = await this.#order<readonly Sighting[]>({ kind: "watched" });
      throw told(error, `while there was answered ${JSON.stringify(seen)}`);
    }
    return await this.#order({ kind: "watched" });
  }

  /** Waits until so many requests of the load under way are sent. */
  async untilSentInAll(count: number, deadlineMs: number): Promise<void> {
    const isSent = async (): Promise<boolean> =>
      (await this.#order<Tally>({ kind: "loading" })).sent >= count;
    await until(isSent, { what: `${count} requests are sent`, deadlineMs, everyMs: 100 });
  }

  async #untilSent(count: number): Promise<void> {
    const { sent } = await this.#order<Tally>({ kind: "loading" });
    const isSent = async (): Promise<boolean> =>
      (await this.#order<Tally>({ kind: "loading" })).sent >= sent + count;
    await until(isSent, { what: `${count} more requests are sent`, everyMs: 50 });
  }

  async untilListening(): Promise<void> {
    await until(async () => await this.lookup("localhost"), { what: `${this.#socketPath} takes orders` });
  }

  async #order<T>(order: Order): Promise<T> {
    const path = { socketPath: this.#socketPath, path: "/" };
    const { status, text } = await exchange({ ...path, method: "POST" }, JSON.stringify(order));
    if (status !== 200) throw new Error(`${this.#socketPath} answered ${status}: ${text}`);
    return JSON.parse(text) as T;
  }
}

/** One that sends, and what. */
export interface Sending {
  readonly client: LabClient;
  readonly load: LoadWanted;
}

/**
 * Runs `action` while all of them send, as `LabClient.during` has it.
 *
 * @returns a tally for each, in their order, whole once the last answer has come
 */
export async function duringAll(
  sendings: readonly Sending[],
  action: () => Promise<void>,
): Promise<readonly Tally[]> {
  const begun = sendings.map((sending) => ({ ...sending, ...Promise.withResolvers<void>() }));
  const acted = Promise.all(begun.map(async ({ promise }) => await promise)).then(action);
  // Each of them awaits it, but for one that fails before.
  acted.catch(() => undefined);
  return await Promise.all(
    begun.map(async ({ client, load, resolve, reject }) => {
      try {
        return await client.during(load, async () => {
          resolve();
          await acted;
        });
      } catch (error) {
        reject(error);
        throw error;
      }
    }),
  );
}

/** The failure of an action with what was seen meanwhile; the failure first, for actions are nested deep. */
function told(error: unknown, seen: string): Error {
  const { message, cause } = error instanceof Error ? error : new Error(String(error));
  const because = cause instanceof Error && !message.includes(cause.message) ? ` (${cause.message})` : "";
  return new Error(`${message}${because}\n  ${seen}`, { cause: error });
}
