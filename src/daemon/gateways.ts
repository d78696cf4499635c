/**
 * Gateways: answers DNS where containers ask, at the host's own addresses on bridge networks.
 *
 * That is port 53, as nothing in a container can name another. Where another resolver has it, DNS is answered at
 * another port of the same address: of no use to who asks there by himself, but the kernel's rules lead there what
 * comes from overlay networks and from containers with labels of ours.
 *
 * An IPv6 address of a bridge cannot be listened at before the first container is on it and a second has passed (the
 * kernel looks for its doubles then, RFC 4862 5.4). That is nothing to tell; it is tried again soon.
 *
 * Touches: DNS listeners, a timer.
 */

import type { ProblemLine } from "../admin/contract.ts";
import { Failure, textOf } from "../base/failure.ts";
import { isIpv6, isSamePlace, renderHostPort, type HostPort } from "../base/ip.ts";
import { latest, type Latest } from "../base/latest.ts";
import { DNS_PORT } from "../base/nameservers.ts";
import type { DnsServer } from "../dns/server.ts";
import type { Log } from "../runtime/log.ts";

const AGAIN_MS = 10_000;
const SOON_MS = 1000;

/** Where it is answered when port 53 is taken: the daemon's usual port, else any. */
const PORTS_ELSEWHERE = [5300, 0];

/** The host's addresses on its bridges. */
export interface GatewayWishes {
  readonly all: readonly string[];
  /** Those on bridges whose questions are led here by the kernel, whatever the port. */
  readonly led: ReadonlySet<string>;
}

/** What DNS on the gateways leans on. */
export interface GatewaysOptions {
  readonly dns: Pick<DnsServer, "listenOn" | "stopListening">;
  /** Where DNS is answered anyway: that is not ended here. */
  readonly configured: readonly HostPort[];
  /** Where it is noted which of them cannot be served. */
  readonly report: { unservedGateways: readonly ProblemLine[] };
  readonly log: Log;
  /** Settles when DNS may listen at all. */
  readonly serving: Promise<void>;
  /** Told when it is answered elsewhere than before. */
  readonly onChanged: () => void;
}

/** DNS on the gateways. */
export class Gateways {
  readonly #options: GatewaysOptions;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;
  readonly #turns: Latest<GatewayWishes>;
  readonly #placeByGateway = new Map<string, HostPort>();
  #wanted: GatewayWishes = { all: [], led: new Set() };

  constructor(options: GatewaysOptions) {
    this.#options = options;
    this.#turns = latest(
      async (wishes) => {
        await options.serving;
        await this.#serve(wishes);
      },
      (thrown) => {
        options.log.warn(`dns on bridge gateways: ${textOf(thrown)}`);
        this.#later(AGAIN_MS);
      },
    );
  }

  /** Takes the gateways to answer at; always the newest. */
  set(wishes: GatewayWishes): void {
    this.#wanted = wishes;
    this.#turns.set(wishes);
  }

  /** Settles when DNS answers on all gateways that are known, as far as it may. Never rejects. */
  idle(): Promise<void> {
    return this.#turns.idle();
  }

  /** Where DNS is answered for those behind a gateway; null where it is not. */
  placeOf(gateway: string): HostPort | null {
    return this.#placeByGateway.get(gateway) ?? null;
  }

  /** Looks no more; listeners are the server's to close. */
  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  async #serve({ all, led }: GatewayWishes): Promise<void> {
    const before = this.#rendered();
    for (const gateway of this.#placeByGateway.keys()) {
      if (!all.includes(gateway)) await this.#leave(gateway);
    }
    const unserved: ProblemLine[] = [];
    let againMs = AGAIN_MS;
    for (const host of all) {
      const failure = await this.#serveOne(host);
      if (failure === null) continue;
      if (isIpv6(host) && failure.code === "unreachable") {
        againMs = SOON_MS;
        continue;
      }
      const text = failure.message;
      if (led.has(host) && this.#placeByGateway.has(host)) continue;
      unserved.push({ area: "bind", subject: renderHostPort({ host, port: DNS_PORT }), text });
    }
    this.#tell(unserved);
    // A port that was held for a moment must not leave a bridge's containers without names for good.
    this.#later(againMs);
    if (this.#rendered() !== before) this.#options.onChanged();
  }

  #later(ms: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (!this.#closed) this.#timer = setTimeout(() => this.#turns.set(this.#wanted), ms);
  }

  /** Answers at one gateway. @returns why not at port 53; null when it is */
  async #serveOne(host: string): Promise<Failure | null> {
    const before = this.#placeByGateway.get(host);
    try {
      const place = await this.#options.dns.listenOn({ host, port: DNS_PORT });
      if (before !== undefined && !isSamePlace(before, place)) await this.#leave(host);
      this.#placeByGateway.set(host, place);
      return null;
    } catch (thrown) {
      if (!(thrown instanceof Failure)) throw thrown;
      // Not a failure of the daemon: another resolver may hold the port, and containers can be given another address.
      const isTaken = thrown.code !== "unreachable";
      if (isTaken && (before === undefined || before.port === DNS_PORT)) await this.#serveElsewhere(host);
      if (!isTaken) this.#placeByGateway.delete(host);
      return thrown;
    }
  }

  async #serveElsewhere(host: string): Promise<void> {
    this.#placeByGateway.delete(host);
    for (const port of PORTS_ELSEWHERE) {
      try {
        this.#placeByGateway.set(host, await this.#options.dns.listenOn({ host, port }));
        return;
      } catch {
        // The next one; what is wrong with port 53 is what is told.
      }
    }
  }

  async #leave(gateway: string): Promise<void> {
    const place = this.#placeByGateway.get(gateway);
    this.#placeByGateway.delete(gateway);
    if (place === undefined || this.#options.configured.some((one) => isSamePlace(one, place))) return;
    await this.#options.dns.stopListening(place);
  }

  #tell(unserved: readonly ProblemLine[]): void {
    const { log, report } = this.#options;
    const known = new Set(report.unservedGateways.map(({ subject, text }) => `${subject} ${text}`));
    for (const { subject, text } of unserved) {
      if (!known.has(`${subject} ${text}`)) log.info(`no DNS on the bridge gateway ${subject}: ${text}`);
    }
    report.unservedGateways = unserved;
  }

  #rendered(): string {
    return Array.from(this.#placeByGateway, ([gateway, place]) => `${gateway} ${renderHostPort(place)}`).join(
      "\n",
    );
  }
}
