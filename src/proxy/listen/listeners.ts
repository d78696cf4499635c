/**
 * Listeners: makes what listens be what the table asks for, one listener at a time.
 *
 * An update opens what is new and closes what is gone; it touches no other listener and no established connection, so
 * there is no such thing as a reload. A listener that cannot be opened is reported with the reason and the remedy, and
 * tried again later; the rest works without it. Opening happens in batches with the event loop between them, since a
 * thousand VIPs must not delay a request.
 *
 * Touches: listening sockets.
 */

import { setImmediate as turn } from "node:timers/promises";

import { Failure, systemCodeOf, textOf, type FailureCode } from "../../base/failure.ts";
import { isIpv6 } from "../../base/ip.ts";
import type { ServiceKey } from "../../model/ids.ts";
import { transportOf, type Protocol } from "../../model/service.ts";
import type { Log } from "../../runtime/log.ts";
import { survey, type SharedSockets, type Survey } from "../../runtime/sharing.ts";

import type { ListenAddress, Listener } from "./listener.ts";
import { listenerKey } from "../routes.ts";

/** A listener that the table asks for. */
export interface WantedListener extends ListenAddress {
  readonly kind: Protocol;
  /** Null for the HTTP ingress, which is nobody's. */
  readonly service: ServiceKey | null;
  /** Makes it, not listening yet. */
  readonly create: () => Listener;
}

/** A listener that could not be opened. */
export interface ListenFailure extends ListenAddress {
  readonly service: ServiceKey | null;
  readonly code: FailureCode;
  /** What is wrong and what would help: `0.0.0.0:80 is held by nginx (pid 812)`. */
  readonly text: string;
}

/** A listener that is open, with the port it has (as wanted, unless that was 0). */
export interface OpenListener extends ListenAddress {
  readonly key: string;
  readonly kind: Protocol;
}

interface Opened {
  readonly wanted: WantedListener;
  readonly listener: Listener;
}

/**
 * Makes IPv6 addresses of services be there, which have to be before they are listened on (IPv4 has a route for all).
 * Others among those that it is given are none of its business.
 */
export type HoldAddresses = (
  addresses: readonly string[],
  options: { readonly mayRelease: boolean },
) => Promise<void>;

/** What listeners need. */
export interface ListenersOptions {
  readonly vipPool: string;
  readonly log: Log;
  /** Nothing is done for them unless told. */
  readonly hold?: HoldAddresses;
  /** Called when one was opened or closed. */
  readonly onChanged?: () => void;
  /** Sockets of the daemon that this one takes over from, which may be listened beside. */
  readonly shared?: SharedSockets;
}

/** Listeners opened between two turns of the event loop: some milliseconds' worth. */
const BATCH = 64;

/** The listeners of one proxy. */
export class Listeners {
  readonly #vipPool: string;
  readonly #log: Log;
  readonly #shared: SharedSockets;
  readonly #hold: HoldAddresses;
  readonly #onChanged: () => void;
  readonly #openedByKey = new Map<string, Opened>();
  readonly #closed: Listener[] = [];
  /** What was asked of `hold` the last time: tables come often, and say the same of it. */
  #asked = "";
  #failureByKey: ReadonlyMap<string, ListenFailure> = new Map();

  /** @param options.vipPool  the prefix that VIPs come from, for the remedy's text */
  constructor(options: ListenersOptions) {
    const { vipPool, log, shared = new Set(), hold = holdNothing, onChanged = tellNobody } = options;
    this.#vipPool = vipPool;
    this.#log = log;
    this.#shared = shared;
    this.#hold = hold;
    this.#onChanged = onChanged;
  }

  /** What could not be opened the last time. */
  get failures(): readonly ListenFailure[] {
    return [...this.#failureByKey.values()];
  }

  get open(): readonly OpenListener[] {
    return [...this.#openedByKey].map(([key, { wanted, listener }]) => {
      return { key, kind: wanted.kind, address: wanted.address, port: listener.port ?? wanted.port };
    });
  }

  /**
   * Opens and closes listeners until they are as wanted. Not to be called again before it has settled. Never rejects
   * for a listener: that is a failure in `failures`.
   *
   * @param mayClose  false while the table is incomplete: what it does not name stays open
   */
  async reconcile(
    wanted: readonly WantedListener[],
    { mayClose, triesFailed }: { readonly mayClose: boolean; readonly triesFailed: boolean },
  ): Promise<void> {
    const wantedByKey = new Map(wanted.map((one) => [listenerKey(one), one]));
    for (const [key, opened] of this.#openedByKey) {
      const now = wantedByKey.get(key);
      if (now === undefined ? mayClose : now.kind !== opened.wanted.kind) this.#close(key, opened);
    }
    const missing = [...wantedByKey].filter(([key]) => !this.#openedByKey.has(key));
    const standing = new Map([...this.#failureByKey].filter(([key]) => !triesFailed && wantedByKey.has(key)));
    const toTry = missing.filter(([key]) => !standing.has(key));
    await this.#holdAddresses(wanted, { mayRelease: mayClose, triesFailed });
    const failed = toTry.length === 0 ? [] : await this.#openAll(toTry);
    this.#failureByKey = new Map([...standing, ...failed]);
    if (toTry.length > 0) this.#onChanged();
  }

  async #holdAddresses(
    wanted: readonly WantedListener[],
    { mayRelease, triesFailed }: { readonly mayRelease: boolean; readonly triesFailed: boolean },
  ): Promise<void> {
    const addresses = [...new Set(wanted.map(({ address }) => address).filter(isIpv6))];
    const asked = `${addresses.join(" ")} ${mayRelease}`;
    if (asked === this.#asked && !triesFailed) return;
    this.#asked = asked;
    try {
      await this.#hold(addresses, { mayRelease });
    } catch (thrown) {
      // Whatever is not there cannot be listened on, and is told with its remedy by that.
      this.#log.debug(`IPv6 addresses: ${textOf(thrown)}`);
    }
  }

  async #openAll(
    missing: readonly (readonly [string, WantedListener])[],
  ): Promise<Map<string, ListenFailure>> {
    const failures = new Map<string, ListenFailure>();
    const seen = await survey(this.#shared);
    for (let at = 0; at < missing.length; at += BATCH) {
      const batch = missing.slice(at, at + BATCH).map(async ([key, one]) => {
        const failure = await this.#open(key, one, seen);
        if (failure !== null) failures.set(key, failure);
      });
      await Promise.all(batch);
      await turn();
    }
    return failures;
  }

  /** Stops listening everywhere; established connections go on. */
  close(): void {
    for (const { listener } of this.#openedByKey.values()) {
      listener.close();
      this.#closed.push(listener);
    }
    this.#openedByKey.clear();
  }

  /** After `close`: ends connections that are kept for a next request. */
  closeIdle(): void {
    for (const listener of this.#closed.splice(0)) listener.closeIdle?.();
  }

  #close(key: string, { listener }: Opened): void {
    this.#openedByKey.delete(key);
    this.#onChanged();
    listener.close();
    listener.closeIdle?.();
  }

  async #open(key: string, wanted: WantedListener, seen: Survey): Promise<ListenFailure | null> {
    const { address, port, service } = wanted;
    try {
      const listener = wanted.create();
      await listener.listen(wanted, seen);
      listener.onError = (thrown) => this.#log.warn(`listener ${key}: ${textOf(thrown)}`);
      this.#openedByKey.set(key, { wanted, listener });
      return null;
    } catch (thrown) {
      const { code, text } =
        thrown instanceof Failure ? asRead(thrown) : await this.#explain(wanted, thrown, seen);
      return { address, port, service, code, text };
    }
  }

  async #explain(
    wanted: WantedListener,
    thrown: unknown,
    seen: Survey,
  ): Promise<Pick<ListenFailure, "code" | "text">> {
    const key = listenerKey(wanted);
    const code = systemCodeOf(thrown);
    if (code === "EADDRINUSE") {
      const at = { host: wanted.address, port: wanted.port };
      const holder = await seen.holderOf(at, transportOf(wanted.kind));
      return { code: "busy", text: `${key} is held by ${holder ?? "another process"}` };
    }
    if (code === "EADDRNOTAVAIL") {
      const route = `run \`ip route add local ${this.#vipPool} dev lo\` as root, or give it NET_ADMIN`;
      const remedy = isIpv6(wanted.address) ? "give it NET_ADMIN, or set vip.pool6 to off" : route;
      return { code: "unreachable", text: `${key} is no address of this host; ${remedy}` };
    }
    if (code === "EACCES") {
      const remedy = "give it NET_BIND_SERVICE, or lower net.ipv4.ip_unprivileged_port_start";
      return { code: "not-allowed", text: `${key} is below the ports this user may use; ${remedy}` };
    }
    return { code: "unreachable", text: `${key}: ${textOf(thrown)}` };
  }
}

const holdNothing: HoldAddresses = () => Promise.resolve();

const tellNobody = (): void => undefined;

function asRead(failure: Failure): Pick<ListenFailure, "code" | "text"> {
  return { code: failure.code, text: failure.message };
}
