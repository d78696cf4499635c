// A forwarder without sockets: its upstream replies at once, by every second reply damaged; what is kept and told again
// goes through the same readers as the daemon's, at a time that jumps.

import { below, pick, type Random } from "../../src/base/random.ts";
import { addressTo, readAsked } from "../../src/dns/forward/asked.ts";
import { TYPE } from "../../src/dns/codes.ts";
import type { Forwarded, Forwarder } from "../../src/dns/forward/forward.ts";
import { HEADER_BYTES } from "../../src/dns/query.ts";
import { Remembered, type Recalled } from "../../src/dns/forward/remembered.ts";
import { readReply } from "../../src/dns/forward/reply.ts";

import { mutated } from "./mutate.ts";

const TTLS = [0, 0, 1, 2, 3, 60, 86_400, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
const RCODES = [0, 0, 0, 2, 2, 3, 3, 1, 5, 15];
const JUMPS_MS = [0, 0, 1, 999, 1000, 2000, 60_000, 3_600_000, 86_400_000];

/** What the responder asks instead of an upstream. */
export interface FakeForwarder extends Forwarder {
  /** True for an answer that was given since the last call of `forget`. */
  gave(answer: Buffer): boolean;
  forget(): void;
  readonly sizeBytes: number;
}

/** Makes one; the same random numbers make the same replies. */
export function fakeForwarder(random: Random): FakeForwarder {
  const kept = new Remembered();
  const given = new Set<string>();
  let nowMs = 0;

  const told = (query: Buffer): Forwarded => {
    nowMs += pick(random, JUMPS_MS) ?? 0;
    const asked = readAsked(query);
    const key = asked?.rememberedKey ?? null;
    const recalled: Recalled | null = key === null ? null : kept.get(key, nowMs);
    if (recalled !== null) return replied(query, recalled);
    const bytes = replyTo(query, asked?.questionBytes ?? Buffer.alloc(0), random);
    const header = readReply(bytes, query);
    if (header !== null && key !== null) kept.put(key, header.bytes, nowMs);
    if (key !== null && random() < 0.2) kept.serveStale(key, nowMs + 30_000);
    const stale = key === null || header !== null ? null : kept.stale(key, nowMs);
    if (stale !== null) return replied(query, stale);
    if (header === null) return { kind: "failed", reason: "silent" };
    return replied(query, { ...header, bytes: Buffer.from(header.bytes) });
  };

  const replied = (query: Buffer, { bytes, rcodeCode }: Recalled): Forwarded => {
    return { kind: "reply", bytes: addressTo(query, bytes), rcodeCode };
  };

  return {
    upstreams: [],
    hasUpstreams: true,
    remembered(query) {
      const forwarded = told(query);
      if (forwarded.kind === "reply") given.add(forwarded.bytes.toString("latin1"));
      return forwarded;
    },
    isEcho: () => false,
    forward: () => Promise.reject(new Error("a query is forwarded that was answered from memory")),
    setUpstreams: () => kept.clear(),
    watchLoops: () => {},
    stats: () => ({
      underWay: 0,
      rememberedEntries: kept.entries,
      rememberedBytes: kept.sizeBytes,
      upstreams: [],
    }),
    close: () => kept.clear(),
    gave: (answer) => given.has(answer.toString("latin1")),
    forget: () => given.clear(),
    get sizeBytes() {
      return kept.sizeBytes;
    },
  };
}

/** A reply with a few records of any TTL, whole or damaged. */
function replyTo(query: Buffer, question: Buffer, random: Random): Buffer {
  const sections = [0, 1, 2].map(() => Array.from({ length: below(random, 3) }, () => recordOf(random)));
  const header = Buffer.alloc(HEADER_BYTES);
  query.copy(header, 0, 0, 2);
  header.writeUInt16BE(0x8180 | (pick(random, RCODES) ?? 0), 2);
  header.writeUInt16BE(1, 4);
  for (const [at, records] of sections.entries()) header.writeUInt16BE(records.length, 6 + 2 * at);
  const whole = Buffer.concat([header, question, ...sections.flat()]);
  if (random() < 0.5) return whole;
  if (random() < 0.3) return whole.subarray(0, below(random, whole.length + 1));
  // Mostly behind the question: a reply to another one is not looked at any further.
  const from = random() < 0.1 ? 0 : HEADER_BYTES + question.length;
  return Buffer.concat([whole.subarray(0, from), mutated(whole.subarray(from), whole, random)]);
}

function recordOf(random: Random): Buffer {
  const seconds = pick(random, TTLS) ?? 0;
  switch (below(random, 5)) {
    case 0:
      return record(TYPE.A, seconds, Buffer.of(192, 0, 2, 7));
    case 1:
      return record(TYPE.CNAME, seconds, Buffer.of(0xc0, HEADER_BYTES));
    case 2: {
      // Two root names, four numbers, the minimum.
      const soa = Buffer.alloc(22);
      soa.writeUInt32BE(pick(random, TTLS) ?? 0, 18);
      return record(TYPE.SOA, seconds, soa);
    }
    case 3:
      return record(TYPE.TXT, seconds, Buffer.alloc(pick(random, [0, 1, 200, 1000]) ?? 0, 120));
    default:
      // The root's OPT, 1232 bytes, no flags.
      return Buffer.of(0, 0, TYPE.OPT, 4, 208, 0, 0, 0, 0, 0, 0);
  }
}

function record(typeCode: number, seconds: number, rdata: Buffer): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(0xc000 | HEADER_BYTES, 0);
  head.writeUInt16BE(typeCode, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt32BE(seconds, 6);
  head.writeUInt16BE(rdata.length, 10);
  return Buffer.concat([head, rdata]);
}
