// One gossip whose links the test holds in its hands: it says what peers say, and reads what is answered.

import assert from "node:assert/strict";

import type { HostPort } from "../../src/base/ip.ts";
import { seededRandom } from "../../src/base/random.ts";
import { decode, encode } from "../../src/gossip/codec.ts";
import type { GossipEffects } from "../../src/gossip/effects.ts";
import { Gossip } from "../../src/gossip/gossip.ts";
import { renderLife, type Life } from "../../src/gossip/life.ts";
import {
  WIRE_VERSION,
  type Delta,
  type Head,
  type Hello,
  type Message,
  type Write,
} from "../../src/gossip/message.ts";
import type { MemberState } from "../../src/model/member.ts";
import { cheapSeals } from "./cheap-seals.ts";
import { idOf } from "./gossip-network.ts";
import { sealed, writesOf } from "./sealed.ts";

/** As often as the shell ticks. */
const TICK_MS = 50;

/** What a node has wanted, with its frames read. */
export interface Taken extends GossipEffects {
  readonly said: readonly { readonly link: number; readonly message: Message }[];
  /** What was said, as `kind link`. */
  readonly kinds: readonly string[];
}

/** A node and the peers that the test plays. */
export interface OpenNode {
  readonly gossip: Gossip;
  /** A peer says something over its link; bytes as they are. */
  readonly say: (link: number, message: Message | Uint8Array, nowMs?: number) => void;
  /** A link comes up that a peer dialled; its hello follows unless it is null: then the peer is `a`. */
  readonly accept: (link: number, hello: Hello | null, nowMs?: number) => void;
  /** Ticks as the shell does, from the last tick on; `each` is called after every tick. */
  readonly tickTo: (nowMs: number, each?: (nowMs: number) => void) => void;
  /** All that was wanted since the last call. */
  readonly taken: () => Taken;
  readonly stateOf: (peer: string) => MemberState | "unknown";
}

/** Starts a node of this name at 0. */
export function openNode(
  options: { seeds?: HostPort[]; name?: string; incarnation?: number } = {},
): OpenNode {
  const { name = "m", incarnation = 5, seeds = [] } = options;
  const self = { id: idOf(name), name, host: name, port: 7650 };
  const seals = cheapSeals(self.id);
  const gossip = new Gossip({ self, incarnation, seeds, seals, random: seededRandom(1), nowMs: 0 });
  let tickedMs = 0;
  const say = (link: number, message: Message | Uint8Array, nowMs = tickedMs): void => {
    gossip.frame(link, message instanceof Uint8Array ? message : encode(message), nowMs);
  };
  return {
    gossip,
    say,
    accept: (link, hello, nowMs = tickedMs) => {
      const peer = hello?.id ?? idOf("a");
      gossip.linkUp({ id: link, dialled: null, remote: `10.0.0.9:${link}`, peer }, nowMs);
      if (hello !== null) say(link, hello, nowMs);
    },
    tickTo: (nowMs, each = () => undefined) => {
      while (tickedMs + TICK_MS <= nowMs) {
        tickedMs += TICK_MS;
        gossip.tick(tickedMs);
        each(tickedMs);
      }
    },
    taken: () => read(gossip.take()),
    stateOf: (peer) => gossip.standing(idOf(peer))?.state ?? "unknown",
  };
}

function read(effects: GossipEffects): Taken {
  const said = effects.send.map(({ link, frame }) => {
    const decoded = decode(frame);
    assert.ok(decoded.ok, "what is said is well-formed");
    return { link, message: decoded.value };
  });
  return { ...effects, said, kinds: said.map(({ link, message }) => `${message.kind} ${link}`) };
}

/** A hello of a node of this name, at its own name as host. */
export function helloOf(name: string, part: Partial<Hello> = {}): Hello {
  const where = { id: idOf(name), name, host: name, port: 7650 };
  const head = { kind: "hello", wire: WIRE_VERSION, ...where, incarnation: 1, nonce: 1 } as const;
  return { ...head, complete: true, wanted: true, digest: [], ...part };
}

/**
 * A delta of one write a version, as its owner seals it: the certificate, `k2` and so on, from 0 on unless told.
 *
 * @param before  as in `sealed`
 */
export function deltaOf(
  owner: string,
  to: number,
  part: Partial<Omit<Delta, "seal">> = {},
  before?: readonly Write[],
): Delta {
  const { from = 0 } = part;
  const id = idOf(owner);
  const head = { owner: id, incarnation: 1, floor: 0, from, to, writes: writesOf(id, from, to) };
  return sealed({ ...head, ...part }, before);
}

/** A delta in which an owner says something of its own life, as its only write. */
export function lifeOf(owner: string, life: Partial<Life>, part: Partial<Omit<Delta, "seal">> = {}): Delta {
  const { to = 2 } = part;
  const body = renderLife({ refutation: 0, said: "alive", forMs: 0, ...life });
  return deltaOf(owner, to, { writes: [{ key: "life", version: to, body }], ...part });
}

/** A message of deltas for the receiver alone, not to be acknowledged. */
export function deltas(...list: readonly Delta[]): Message {
  return { kind: "delta", deltas: list, until: null, acknowledge: false };
}

/** How far a log is held. */
export function headOf(owner: string, part: Partial<Head> = {}): Head {
  return { owner: idOf(owner), incarnation: 1, version: 0, deadAt: null, ...part };
}
