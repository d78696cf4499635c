/**
 * Liars: members that are what they should be but for what they say of others.
 *
 * A liar's daemon runs as any other, so its links, its pings and its own log are good. Beside that its host sends, over
 * the links that are open, what it makes of all it has heard: forged logs, old ones again, such in which something was
 * changed, left out or brought back, with true seals and with its own; parts without an end; versions and lives of
 * others that nobody has seen; accusations, reports and asks in others' names. Of accusations in its own name it makes
 * none: those are believed where nobody sees the accused, until it answers.
 *
 * logs.ts sees whether any of it was believed, deaths.ts whether anybody lost its life by it.
 */

import { below, pick, type Random } from "../../src/base/random.ts";
import { encode } from "../../src/gossip/codec.ts";
import type { Delta, DrainAsk, Head, Message, Rumor } from "../../src/gossip/message.ts";
import { drainText, reportText, rumorText } from "../../src/gossip/words.ts";
import type { OwnerLog } from "../../src/model/log.ts";
import type { Effects, Input } from "../../src/step.ts";
import { cheapSeals } from "../support/cheap-seals.ts";

import type { Simulation } from "./engine.ts";
import type { End, Host } from "./host.ts";
import type { Observer } from "./observer.ts";
import { deltasOf } from "./wire.ts";

/** How many deltas of others a liar remembers, to play them again. */
const REMEMBERED = 400;

/** What a liar does, by kind, so that a test can see that all of it was done. */
export type Lie = "forged" | "replayed" | "touched" | "staged" | "claimed" | "accused" | "reported" | "asked";

/** Lets some hosts lie. */
export class Liars implements Observer {
  /** How often each kind of lie was told. */
  readonly told = new Map<Lie, number>();
  readonly #sim: Simulation;
  readonly #random: Random;
  readonly #isLiar: (host: Host) => boolean;
  readonly #heard: Delta[] = [];

  /** @param random  of its own, so that lies change nothing else of a run */
  constructor(sim: Simulation, random: Random, isLiar: (host: Host) => boolean) {
    this.#sim = sim;
    this.#random = random;
    this.#isLiar = isLiar;
    sim.observers.push(this);
  }

  stepped(host: Host, input: Input, _effects: Effects): void {
    if (input.kind !== "frame" || !this.#isLiar(host)) return;
    for (const delta of deltasOf(input.frame)) {
      if (this.#heard.length < REMEMBERED) this.#heard.push(delta);
      else this.#heard[below(this.#random, REMEMBERED)] = delta;
    }
  }

  /** Tells one lie after the other, from now on until a moment. */
  lie(untilMs: number, everyMs: number): void {
    if (this.#sim.nowMs > untilMs) return;
    const liar = pick(this.#random, this.#sim.running.filter(this.#isLiar));
    if (liar !== undefined && !liar.isPaused) this.#tell(liar);
    this.#sim.after(2 * everyMs * this.#random(), () => this.lie(untilMs, everyMs));
  }

  #tell(liar: Host): void {
    const victim = pick(
      this.#random,
      this.#sim.hosts.filter((host) => host !== liar && !this.#isLiar(host)),
    );
    const log = victim === undefined ? undefined : liar.logs.get(victim.id);
    if (log === undefined) return;
    const lies: readonly (readonly [Lie, () => Message])[] = [
      ["forged", () => this.#spread(this.#forged(liar, log))],
      ["replayed", () => this.#spread(this.#remembered(log))],
      ["touched", () => this.#spread(this.#touched(this.#remembered(log)))],
      ["touched", () => this.#spread(this.#touched(wholeOf(log)))],
      ["staged", () => this.#spread({ ...this.#touched(wholeOf(log)), seal: null })],
      ["claimed", () => this.#claim(log)],
      ["accused", () => this.#accuse(liar, log)],
      ["reported", () => this.#report(liar, log)],
      ["asked", () => this.#ask(liar, log)],
    ];
    const [lie, make] = pick(this.#random, lies) ?? [];
    if (lie === undefined || make === undefined) return;
    const frame = encode(make());
    this.told.set(lie, (this.told.get(lie) ?? 0) + 1);
    const ends: End[] = [...liar.endByLink.values()];
    const isToAll = this.#random() < 0.3;
    const chosen = pick(this.#random, ends);
    for (const end of isToAll || chosen === undefined ? ends : [chosen])
      this.#sim.network.send(end, frame, "delta");
  }

  #spread(delta: Delta): Message {
    const isBroadcast = this.#random() < 0.5;
    const until = isBroadcast ? Math.floor(this.#random() * 2 ** 50) : null;
    return { kind: "delta", deltas: [delta], until, acknowledge: this.#random() < 0.2 };
  }

  /** Some delta of this owner that came by, or the whole of its log with a seal of one. */
  #remembered(log: OwnerLog): Delta {
    const ofOwner = this.#heard.filter(({ owner }) => owner === log.owner);
    return pick(this.#random, ofOwner) ?? wholeOf(log);
  }

  #forged(liar: Host, log: OwnerLog): Delta {
    const { owner, incarnation, floor, version } = log;
    const seals = cheapSeals(liar.id);
    const life = pick(this.#random, [incarnation, incarnation, incarnation + 1, incarnation + 1000]) ?? 0;
    const to = version + 1 + below(this.#random, 3);
    const key = pick(this.#random, [...log.entryByKey.keys()]) ?? "node";
    const body = this.#random() < 0.3 ? null : '{"forged":true}';
    const writes = [{ key: this.#random() < 0.5 ? key : "replica/forged", version: to, body }];
    const seal = seals.seal({ owner, incarnation: life, version: to }, seals.emptySum());
    return { owner, incarnation: life, floor, from: this.#random() < 0.5 ? version : 0, to, writes, seal };
  }

  #touched(delta: Delta): Delta {
    const { writes } = delta;
    const at = below(this.#random, Math.max(1, writes.length));
    const other = pick(this.#random, this.#heard);
    const ways: readonly Partial<Delta>[] = [
      { writes: writes.filter((_, index) => index !== at) },
      { writes: writes.map((write, index) => (index === at ? { ...write, body: "{}" } : write)) },
      { writes: writes.map((write, index) => (index === at ? { ...write, body: null } : write)) },
      { seal: other?.seal ?? null },
      { floor: below(this.#random, delta.to + 2) },
      { to: delta.to + 1 + below(this.#random, 3) },
      { incarnation: delta.incarnation + 1 },
      { from: 0 },
    ];
    return { ...delta, ...pick(this.#random, ways) };
  }

  #claim({ owner, incarnation, version }: OwnerLog): Message {
    const heads: readonly Partial<Head>[] = [
      { version: version + 1_000_000 },
      { incarnation: incarnation + 7 },
      { deadAt: 0 },
      { incarnation: incarnation + 7, deadAt: 3 },
    ];
    const head = { owner, incarnation, version, deadAt: null, ...pick(this.#random, heads) };
    if (this.#random() < 0.5) return { kind: "announce", digest: [head] };
    return { kind: "digest", digest: [head], scope: { kind: "all" }, wanted: this.#random() < 0.5 };
  }

  #accuse(liar: Host, { owner: subject, incarnation }: OwnerLog): Message {
    const by =
      pick(
        this.#random,
        this.#sim.hosts.filter((host) => host !== liar),
      )?.id ?? subject;
    const kind = pick(this.#random, ["suspect", "refused", "dead"] as const) ?? "dead";
    const life = incarnation + below(this.#random, 2);
    const rumor: Rumor = { kind, subject, incarnation: life, refutation: below(this.#random, 9), by };
    const signature = cheapSeals(liar.id).sign(rumorText(rumor));
    return { kind: "rumor", rumors: [{ ...rumor, signature }], until: Math.floor(this.#random() * 2 ** 50) };
  }

  #report(liar: Host, { owner, incarnation, version }: OwnerLog): Message {
    const log = { owner, incarnation, version: version + below(this.#random, 2) };
    const by = this.#sim.hosts.map(({ id }) => {
      return { id, signature: this.#random() < 0.5 ? null : cheapSeals(liar.id).sign(reportText(log, id)) };
    });
    return { kind: "applied", reports: [{ ...log, by }], hops: below(this.#random, 9) };
  }

  #ask(liar: Host, { owner, incarnation, version }: OwnerLog): Message {
    const asker =
      pick(
        this.#random,
        this.#sim.hosts.filter((host) => host !== liar),
      )?.id ?? owner;
    const replica =
      pick(
        this.#random,
        this.#sim.hosts.flatMap(({ endpoints }) => endpoints),
      )?.id ?? "x";
    const words: Omit<DrainAsk, "signature"> = {
      owner,
      incarnation,
      version,
      replica,
      draining: true,
      asker,
    };
    const isSigned = this.#random() < 0.5;
    const signature = isSigned ? cheapSeals(liar.id).sign(drainText(words)) : null;
    return { kind: "drain", ask: { ...words, signature }, hops: 0 };
  }
}

/** All of a log, as who holds it could send it, but for its seal. */
function wholeOf({ owner, incarnation, floor, version, entryByKey }: OwnerLog): Delta {
  const writes = Array.from(entryByKey, ([key, entry]) => ({ key, ...entry }));
  return { owner, incarnation, floor, from: 0, to: version, writes, seal: new Uint8Array(64) };
}
