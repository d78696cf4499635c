// Throws messages and broken frames at a whole node: it must go on, keep its own log, and send nothing peers refuse.

import { isDeepStrictEqual } from "node:util";

import { below, pick, type Random } from "../../src/base/random.ts";
import { decode, encode } from "../../src/gossip/codec.ts";
import { Gossip } from "../../src/gossip/gossip.ts";
import { DIGEST_PARTS, WIRE_VERSION, type Message } from "../../src/gossip/message.ts";
import { RING_SIZE } from "../../src/gossip/ring.ts";
import type { NodeId } from "../../src/model/ids.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { cheapSeals } from "../support/cheap-seals.ts";

import { Finding, type Fuzzer } from "./fuzzer.ts";
import { check, numberedId } from "./holdings.ts";
import { junkFrame } from "./junk.ts";
import { Liar } from "./liar.ts";

const SELF = numberedId(0);
const STEPS = 120;
/** What the node publishes, under a key that liars use too. */
const OWN_BODY = "own";

/** Makes the fuzzer of a whole node: each case is one, with peers that lie, over some steps. */
export function gossipFuzzer(): Fuzzer {
  return {
    name: "gossip",
    round(random) {
      const node = new Besieged(random);
      for (let step = 0; step < STEPS; step += 1) node.step();
      return node.heardCount > STEPS / 4 ? "heard much" : "heard little";
    },
  };
}

class Besieged {
  heardCount = 0;
  readonly #random: Random;
  readonly #liar: Liar;
  readonly #gossip: Gossip;
  /** The id that each open link's peer gave; null before its hello. */
  readonly #idByLink = new Map<number, NodeId | null>();
  /** Who is at the other end of each, as TLS says. */
  readonly #peerByLink = new Map<number, NodeId>();
  #lastLink = 0;
  #nowMs = 1_700_000_000_000;
  /** What came in last, for the finding. */
  #lastFrame: Uint8Array | null = null;

  constructor(random: Random) {
    this.#random = random;
    // Some clusters are a mesh, some a ring.
    const count = random() < 0.5 ? 5 : 60;
    this.#liar = new Liar(random, {
      ownersLie: random() < 0.7,
      nodes: [SELF, ...Array.from({ length: count }, (_, index) => numberedId(index + 1))],
      logOf: (owner) => this.#gossip.logs.get(owner),
      nowMs: () => this.#nowMs,
    });
    this.#gossip = new Gossip({
      self: { id: SELF, name: "self", host: "10.0.0.1", port: 7650 },
      incarnation: 3,
      seeds: [{ host: "10.0.0.2", port: 7650 }],
      seals: cheapSeals(SELF),
      random,
      nowMs: this.#nowMs,
    });
    this.#gossip.write(new Map([["k0", OWN_BODY]]), this.#nowMs);
  }

  step(): void {
    try {
      this.#act();
      this.#carryOut();
      this.#checkOwn();
    } catch (thrown) {
      throw thrown instanceof Finding ? thrown : new Finding("the node fails", this.#lastFrame, thrown);
    }
  }

  #act(): void {
    if (this.#random() < 0.005) this.#gossip.expel(this.#liar.node(), "removed", this.#nowMs);
    const links = [...this.#idByLink.keys()];
    const link = pick(this.#random, links);
    const choice = this.#random();
    if (link === undefined || (choice < 0.08 && links.length < 40)) return this.#open();
    if (choice < 0.1) return this.#down(link);
    if (choice < 0.3) return this.#tick();
    if (choice < 0.32) return this.#write();
    if (choice < 0.33) return this.#frame(link, junkFrame(this.#random));
    this.#frame(link, encode(this.#idByLink.get(link) === null ? this.#hello(link) : this.#message()));
  }

  #open(): void {
    this.#lastLink += 1;
    this.#idByLink.set(this.#lastLink, null);
    const dialled = this.#random() < 0.5 ? this.#address() : null;
    const peer = this.#liar.node();
    this.#peerByLink.set(this.#lastLink, peer);
    this.#gossip.linkUp({ id: this.#lastLink, dialled, remote: "10.0.0.9:1", peer }, this.#nowMs);
  }

  #down(link: number): void {
    this.#idByLink.delete(link);
    this.#peerByLink.delete(link);
    this.#gossip.linkDown(link, "closed", this.#nowMs);
  }

  #tick(): void {
    this.#nowMs += this.#random() < 0.95 ? 50 + below(this.#random, 100) : below(this.#random, 3_600_000);
    this.#gossip.tick(this.#nowMs);
  }

  #write(): void {
    this.#gossip.write(new Map([[`own ${below(this.#random, 4)}`, "x"]]), this.#nowMs, { acknowledge: true });
    this.#gossip.askDrain(this.#liar.node(), "replica", true);
  }

  #frame(link: number, frame: Uint8Array): void {
    this.#lastFrame = frame;
    this.heardCount += 1;
    this.#gossip.frame(link, frame, this.#nowMs);
  }

  /** Does what the node wants done, as far as it concerns links; its frames must be fit for any peer. */
  #carryOut(): void {
    const { send, close, dial } = this.#gossip.take();
    for (const { frame } of send) {
      const decoded = decode(frame);
      if (!decoded.ok) throw new Finding(`sends what is refused: ${decoded.failure.message}`, frame);
      check(frame.length <= LIMITS.frameBytes, `sends ${frame.length} bytes`);
    }
    for (const { link } of close) if (this.#idByLink.has(link)) this.#down(link);
    for (const address of dial)
      if (this.#random() < 0.5)
        this.#gossip.dialFailed(address, { refused: this.#random() < 0.5 }, this.#nowMs);
  }

  #checkOwn(): void {
    const own = this.#gossip.logs.get(SELF);
    check(own?.entryByKey.get("k0")?.body === OWN_BODY, "the node's own record is changed");
    const foreign = [...(own?.entryByKey.keys() ?? [])].filter(
      (key) => !/^(?:k0|certificate|life|own \d)$/.test(key),
    );
    check(isDeepStrictEqual(foreign, []), `the node's own log has ${foreign.join(", ")}`);
    check(this.#gossip.logs.size <= LIMITS.ownersMax, `${this.#gossip.logs.size} owners`);
  }

  #address(): { host: string; port: number } {
    return { host: `10.0.0.${2 + below(this.#random, 20)}`, port: 7650 };
  }

  #hello(link: number): Message {
    const id = this.#random() < 0.9 ? (this.#peerByLink.get(link) ?? SELF) : this.#liar.node();
    this.#idByLink.set(link, id);
    const isOdd = this.#random() < 0.1;
    return {
      kind: "hello",
      wire: isOdd ? WIRE_VERSION + below(this.#random, 2) : WIRE_VERSION,
      id,
      name: isOdd ? "" : `host-${id.slice(0, 4)}`,
      incarnation: this.#random() < 0.8 ? 1 + below(this.#random, 3) : this.#liar.number(),
      nonce: below(this.#random, 3),
      host: isOdd ? "" : this.#address().host,
      port: 7650,
      complete: this.#random() < 0.5,
      wanted: this.#random() < 0.5,
      digest: this.#liar.digest(),
    };
  }

  #message(): Message {
    const random = this.#random;
    const liar = this.#liar;
    const sequence = random() < 0.8 ? below(random, 8) : liar.number();
    const until = random() < 0.3 ? null : Math.floor(random() * RING_SIZE);
    const hops = below(random, LIMITS.hopsMax + 1);
    const few = <T>(make: () => T): T[] => Array.from({ length: below(random, 4) }, make);
    const makes: readonly (() => Message)[] = [
      () => ({ kind: "delta", deltas: few(() => liar.delta()), until, acknowledge: random() < 0.5 }),
      () => ({ kind: "delta", deltas: few(() => liar.delta()), until, acknowledge: random() < 0.5 }),
      () => ({ kind: "announce", digest: liar.digest() }),
      () => ({ kind: "compare", sum: Math.floor(random() * 2 ** 48) }),
      () => ({ kind: "parts", sums: Array.from({ length: DIGEST_PARTS }, () => below(random, 3)) }),
      () => ({ kind: "digest", digest: liar.digest(), scope: liar.scope(), wanted: random() < 0.5 }),
      () => ({ kind: "rumor", rumors: few(() => liar.rumor()), until }),
      () => ({ kind: "rumor", rumors: few(() => liar.rumor()), until }),
      () => ({ kind: "ping", sequence, suspected: liar.deadAt() }),
      () => ({ kind: "pong", sequence }),
      () => ({ kind: "probe", sequence, subject: liar.node() }),
      () => ({ kind: "probed", sequence, reached: random() < 0.5 }),
      () => ({ kind: "applied", reports: few(() => liar.report()), hops }),
      () => ({ kind: "drain", ask: liar.ask(), hops }),
      () => ({
        kind: "more",
        owner: liar.node(),
        incarnation: liar.number(),
        floor: liar.number(),
        version: liar.number(),
      }),
      () => ({ kind: "part" }),
    ];
    return (pick(random, makes) ?? (() => ({ kind: "part" })))();
  }
}
