/**
 * Responder: from the bytes of a query to the bytes of its answer, whichever socket they came by.
 *
 * The order of the steps is the order of their cost: cache, parse, zone, what upstreams said before, upstream. What is
 * not worth an answer gets none and is counted. An answer about our names is finished before `serve` returns; only a
 * forwarded one takes time. `recall` is the first step alone, without a closure or an object a query: by it most
 * queries are answered at hardly more than the price of the socket.
 *
 * An answer must not be ahead of the listeners at the address that it tells: who tries it at once would be refused. So
 * the query for a new name waits until they were opened, or could not be (`opensInMs`), and past a moment gets
 * SERVFAIL: "not yet", for which clients ask again.
 *
 * UDP and TCP listeners share one responder, so nothing here knows sockets: it is given bytes, the client's address and
 * a function to reply with.
 *
 * Touches: metrics, the monotonic clock, and through the forwarder the network.
 */

import { below, type Random } from "../base/random.ts";
import { LIMITS } from "../model/limits.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { Cell } from "../runtime/tally.ts";

import { answer, basisOf, isForeign, type Answer } from "./names/answer.ts";
import { spend } from "./budget.ts";
import { AnswerCache, bytesFor, restamp, type Entry } from "./cache.ts";
import { Clients, type KnownClient } from "./clients.ts";
import { RCODE, rcodeLabelOf, typeLabelOf, type RcodeName } from "./codes.ts";
import { emptyResponse, encodeResponse, encodeTruncated, TCP_BYTES_MAX, udpBytesMax } from "./encode.ts";
import type { Transport } from "./forward/exchange.ts";
import type { Forwarded, Forwarder } from "./forward/forward.ts";
import { isIsolated, type Asker, type Stranger } from "./names/lookup.ts";
import { decodeQuery } from "./packet.ts";
import type { Query } from "./query.ts";
import { Waiting } from "./waiting.ts";
import type { Zone } from "./names/zone.ts";

/** Where a query came from; the address as the socket tells it. */
export interface Client {
  readonly address: string;
  readonly transport: Transport;
}

/** Called exactly once for each query: with its answer, or with null when it deserves none. */
export type Reply = (answer: Buffer | null) => void;

/** What a responder works with. */
export interface ResponderOptions {
  readonly zone: Zone;
  /** A stranger's query waits until that changes (`askersTold`), for a moment. */
  readonly askerOf: (address: string) => Asker | Stranger;
  /** Told when a stranger's query waits. */
  readonly onStranger?: () => void;
  /**
   * For how long at most an answer with this address waits for listeners there (milliseconds): 0 where they are open,
   * or nobody opens any. Such answers wait until that changes (`listenersTold`). All are 0 unless told.
   */
  readonly opensInMs?: (address: string) => number;
  /** Whose foreign names are forwarded; the others' are refused. */
  readonly isAllowed: (address: string) => boolean;
  /** Null where there is no upstream: foreign names are refused, too. */
  readonly forwarder: Forwarder | null;
  readonly metrics: Metrics;
  readonly random: Random;
}

/** Answers queries. */
export interface Responder {
  /** The answer when it is finished already; null for all that `serve` has to be called for. Never throws. */
  recall(bytes: Buffer, address: string, transport: Transport): Buffer | null;
  /** Never throws, whatever the bytes. */
  serve(bytes: Buffer, client: Client, reply: Reply): void;
  setZone(zone: Zone): void;
  /** Who stands behind addresses has changed: all queries that wait are looked at again. */
  askersTold(): void;
  /** Listeners were opened, or tried: queries that wait for them are looked at again. */
  listenersTold(): void;
  /** Gives up the queries that wait. */
  close(): void;
  /** When an address (IPv4 never in its IPv6 form) last asked, monotonic; null when it did not, or long ago. */
  lastAskedMs(address: string): number | null;
  readonly serial: number;
  readonly cacheEntries: number;
  readonly cacheBytes: number;
}

/** Where an answer came from, as a metric label. `edge`: a malformed or unsupported query. */
type Source = "cache" | "zone" | "remembered" | "upstream" | "edge";

/** An answer on its way out, with what metrics say of it. */
interface Outcome {
  readonly bytes: Buffer;
  readonly qtype: string;
  readonly rcode: string;
  readonly source: Source;
}

/** Makes a responder with an empty cache. */
export function openResponder(options: ResponderOptions): Responder {
  return new ZoneResponder(options);
}

/** For one whose answer is ahead of the listeners: below what clients wait before they ask again (RFC 8767 5). */
const OPENING_MS = 1800;

/** For a stranger's query: engines tell of a container within some 20 ms, and clients ask again after seconds. */
const STRANGER_MS = 1000;

/** By so much the clocks of timers and of `opensInMs` may differ, generously. */
const CLOCKS_MS = 50;

/** One query being answered. */
interface Asking {
  readonly bytes: Buffer;
  /** As the socket tells it. */
  readonly address: string;
  readonly client: KnownClient;
  readonly transport: Transport;
  readonly recursive: boolean;
  readonly startMs: number;
  readonly reply: Reply;
}

/** The same of somebody who is known. */
interface KnownAsking extends Asking {
  readonly asker: Asker;
}

class ZoneResponder implements Responder {
  readonly #options: ResponderOptions;
  readonly #clients: Clients;
  readonly #cache: AnswerCache<Cell>;
  readonly #strangers = new Waiting({
    max: LIMITS.dnsStrangersMax,
    perAddress: LIMITS.dnsStrangersPerAddress,
  });
  readonly #opening = new Waiting({ max: LIMITS.dnsOpeningMax, perAddress: LIMITS.dnsOpeningPerAddress });
  #zone: Zone;
  /** Of the zone; finished answers of older ones have to be looked at again. */
  #generation = 0;

  constructor(options: ResponderOptions) {
    this.#options = options;
    this.#clients = new Clients(options);
    this.#cache = new AnswerCache(below(options.random, 2 ** 32) | 0);
    this.#zone = options.zone;
  }

  get serial(): number {
    return this.#zone.serial;
  }

  get cacheEntries(): number {
    return this.#cache.entries;
  }

  get cacheBytes(): number {
    return this.#cache.sizeBytes;
  }

  setZone(next: Zone): void {
    // Planned from the same one: nothing that is told has changed.
    if (next === this.#zone) return;
    this.#zone = next;
    this.#generation += 1;
  }

  askersTold(): void {
    for (const waiting of [this.#strangers, this.#opening]) waiting.retry();
  }

  listenersTold(): void {
    this.#opening.retry();
  }

  close(): void {
    for (const waiting of [this.#strangers, this.#opening]) waiting.close();
  }

  lastAskedMs(address: string): number | null {
    return this.#clients.lastAskedMs(address);
  }

  recall(bytes: Buffer, address: string, transport: Transport): Buffer | null {
    // Not hashed: so long a query is in no cache.
    if (bytes.length > LIMITS.dnsQueryBytes || bytes.length < 2) return null;
    const startMs = performance.now();
    const client = this.#clients.of(address, startMs);
    const recursive = this.#isRecursive(client);
    const entry = this.#cache.find(bytes, variantOf(client, transport, recursive));
    if (entry === null || entry.generation !== this.#generation) return null;
    return this.#recalled(entry, { bytes, client, transport, recursive, startMs });
  }

  serve(bytes: Buffer, { address, transport }: Client, reply: Reply): void {
    const startMs = performance.now();
    const decoded = decodeQuery(bytes);
    if (decoded.kind === "drop") {
      this.#options.metrics.dnsDropped.inc({ reason: decoded.reason });
      return reply(null);
    }
    const client = this.#clients.of(address, startMs);
    const recursive = this.#isRecursive(client);
    const asking: Asking = { bytes, address, client, transport, recursive, startMs, reply };
    if (decoded.kind === "query") {
      const { asker } = client;
      if (asker.kind !== "unknown") return this.#answer({ ...asking, asker }, decoded.query);
      // Whoever it is, he is told the same of what is foreign to who sees all.
      if (!asker.isolated && isForeign(this.#zone, decoded.query.question))
        return this.#forward(asking, decoded.query);
      return this.#wait(asking, decoded.query);
    }
    if (recursive) markRecursion(decoded.bytes);
    this.#send(asking, { bytes: decoded.bytes, qtype: "other", rcode: decoded.rcode, source: "edge" });
  }

  #isRecursive(client: KnownClient): boolean {
    return client.isAllowed && !isIsolated(client.asker) && this.#options.forwarder?.hasUpstreams === true;
  }

  /** Until it is known who asks. */
  #wait(asking: Asking, query: Query): void {
    const { address, transport, recursive, reply } = asking;
    const qtype = typeLabelOf(query.question.typeCode);
    // A copy: over TCP the query is a view of all that came with it.
    const bytes = Buffer.from(asking.bytes);
    const late = (): void =>
      this.#send({ ...asking, bytes }, { ...bare(query, "SERVFAIL", recursive), qtype, source: "zone" });
    const again = (): boolean => {
      if (this.#clients.of(address, performance.now()).asker.kind === "unknown") return false;
      this.serve(bytes, { address, transport }, reply);
      return true;
    };
    if (!this.#strangers.hold({ address, waitMs: STRANGER_MS, again, late })) return late();
    this.#options.onStranger?.();
  }

  #answer(asking: KnownAsking, query: Query): void {
    const { bytes, client, transport, recursive, asker } = asking;
    const entry = this.#cache.find(bytes, variantOf(client, transport, recursive));
    if (entry !== null && this.#holds(entry, query, asker))
      return asking.reply(this.#recalled(entry, asking));
    const given = this.#answerOf(asking, query);
    const waitMs = this.#opensInMs(given);
    if (waitMs > 0) this.#waitForListeners(asking, query, waitMs);
    else this.#tell(asking, query, given);
  }

  #answerOf({ asker, transport }: KnownAsking, query: Query): Answer {
    const { random } = this.#options;
    return answer(this.#zone, query.question, asker, { random, sizeBytesMax: bytesMax(query, transport) });
  }

  /** A service's address stands alone in its answer. */
  #opensInMs(given: Answer): number {
    const { opensInMs } = this.#options;
    if (opensInMs === undefined || given.kind === "forward") return 0;
    const [record] = given.records;
    return record?.type === "A" || record?.type === "AAAA" ? opensInMs(record.address) : 0;
  }

  /** Until what the answer leads to is served. */
  #waitForListeners(asking: KnownAsking, { questionBytes, ...asked }: Query, waitMs: number): void {
    // Copies: over TCP the query is a view of all that came with it.
    const held = { ...asking, bytes: Buffer.from(asking.bytes) };
    const query = { ...asked, questionBytes: Buffer.from(questionBytes) };
    const { address } = asking;
    const tellBefore = (leftMs: number): boolean => {
      // Looked up anew: it may be another's address by now, or be on other networks.
      const client = this.#clients.of(address, performance.now());
      const { asker } = client;
      if (asker.kind === "unknown") return false;
      const now = { ...held, client, asker, recursive: this.#isRecursive(client) };
      const given = this.#answerOf(now, query);
      if (this.#opensInMs(given) > leftMs) return false;
      this.#tell(now, query, given);
      return true;
    };
    const again = (): boolean => tellBefore(0);
    const late = (): void => {
      if (tellBefore(CLOCKS_MS)) return;
      const qtype = typeLabelOf(query.question.typeCode);
      this.#send(held, { ...bare(query, "SERVFAIL", asking.recursive), qtype, source: "zone" });
    };
    if (!this.#opening.hold({ address, waitMs: Math.min(waitMs, OPENING_MS), again, late })) late();
  }

  #tell(asking: KnownAsking, query: Query, given: Answer): void {
    if (given.kind === "forward") return this.#forward(asking, query);
    const { bytes, client, transport, recursive } = asking;
    const variant = variantOf(client, transport, recursive);
    const qtype = typeLabelOf(query.question.typeCode);
    const { rcode, basis } = given;
    const response = { ...given, recursionAvailable: recursive };
    const encoded = encodeResponse(query, response, bytesMax(query, transport));
    const label = this.#options.metrics.dnsQueries.cell({ qtype, rcode, source: "cache" });
    this.#cache.put(bytes, variant, { encoded, basis, generation: this.#generation, label });
    this.#send(asking, { bytes: encoded.bytes, qtype, rcode, source: "zone" });
  }

  /** True for an answer that this zone would give again; it is then marked as its own. */
  #holds(entry: Entry<Cell>, query: Query, asker: Asker): boolean {
    if (entry.generation === this.#generation) return true;
    const basis = entry.basis?.deref();
    if (basis === undefined || basisOf(this.#zone, query.question, asker) !== basis) return false;
    restamp(entry, this.#zone.serial);
    entry.generation = this.#generation;
    return true;
  }

  /** A finished answer for this query, counted. */
  #recalled(
    entry: Entry<Cell>,
    { bytes, client, transport, recursive, startMs }: Omit<Asking, "reply" | "address">,
  ): Buffer {
    const excessBytes = entry.encoded.bytes.length - bytes.length;
    const isWhole = transport === "tcp" || mayGet(client, excessBytes, startMs);
    entry.label.count += 1;
    const out = isWhole ? bytesFor(entry, bytes) : this.#limited(bytes, recursive);
    this.#options.metrics.dnsDuration.observe((performance.now() - startMs) / 1000);
    return out;
  }

  #forward(asking: Asking, query: Query): void {
    const { bytes, client, transport, recursive } = asking;
    const qtype = typeLabelOf(query.question.typeCode);
    const { complete } = this.#zone;
    const { forwarder } = this.#options;
    if (!recursive || forwarder === null || forwarder.isEcho(query.question.name))
      return this.#send(asking, { ...bare(query, "REFUSED", recursive), qtype, source: "zone" });
    const tell = (forwarded: Forwarded): void => {
      const isKept = forwarded.kind === "reply" && forwarded.fromCache === true;
      const source = isKept ? "remembered" : "upstream";
      // The name may be one of ours that this node has not heard of, and clients take NXDOMAIN for final.
      if (!complete && forwarded.kind === "reply" && forwarded.rcodeCode === RCODE.NXDOMAIN)
        return this.#send(asking, { ...bare(query, "SERVFAIL", recursive), qtype, source });
      this.#send(asking, { ...fitting(forwarded, query, transport), qtype, source });
    };
    const remembered = forwarder.remembered(bytes);
    if (remembered !== null) return tell(remembered);
    void forwarder.forward(bytes, transport, client.address).then(tell);
  }

  /** Replies, counts, and truncates what the client's network may not be sent. */
  #send({ bytes: asked, client, transport, recursive, startMs, reply }: Asking, outcome: Outcome): void {
    const { metrics } = this.#options;
    const { bytes, qtype, rcode, source } = outcome;
    const endMs = performance.now();
    const isWhole = transport === "tcp" || mayGet(client, bytes.length - asked.length, endMs);
    metrics.dnsQueries.cell({ qtype, rcode, source }).count += 1;
    metrics.dnsDuration.observe((endMs - startMs) / 1000);
    reply(isWhole ? bytes : this.#limited(asked, recursive));
  }

  /** "Ask again over TCP", which is no larger than the question. */
  #limited(asked: Buffer, recursionAvailable: boolean): Buffer {
    this.#options.metrics.dnsLimited.inc();
    const decoded = decodeQuery(asked);
    // Invariant: whoever calls this has understood the query; other bytes get a header, which exceeds nothing.
    if (decoded.kind !== "query") return NOTHING;
    return encodeTruncated(decoded.query, { ...emptyResponse("NOERROR"), recursionAvailable }).bytes;
  }
}

const NOTHING = Buffer.alloc(0);

function mayGet({ budget }: KnownClient, excessBytes: number, nowMs: number): boolean {
  return budget === null || spend(budget, excessBytes, nowMs);
}

/** All that an answer depends on besides the query's bytes and the zone, as a number. */
function variantOf({ askerCode }: KnownClient, transport: Transport, recursive: boolean): number {
  return askerCode * 4 + (recursive ? 2 : 0) + (transport === "tcp" ? 1 : 0);
}

function bytesMax(query: Query, transport: Transport): number {
  return transport === "tcp" ? TCP_BYTES_MAX : udpBytesMax(query);
}

/** An answer with nothing but a code. */
function bare(query: Query, rcode: RcodeName, recursionAvailable: boolean): Pick<Outcome, "bytes" | "rcode"> {
  const response = { ...emptyResponse(rcode), recursionAvailable };
  return { bytes: encodeResponse(query, response, TCP_BYTES_MAX).bytes, rcode };
}

/** Says in a finished error that this client's foreign names are forwarded: RA (RFC 1035 4.1.1). */
function markRecursion(bytes: Buffer): void {
  bytes[3] = (bytes[3] ?? 0) | 0x80;
}

/** The upstream's reply, cut to what the client takes; SERVFAIL when nobody replied. */
function fitting(forwarded: Forwarded, query: Query, transport: Transport): Pick<Outcome, "bytes" | "rcode"> {
  if (forwarded.kind === "failed") return bare(query, "SERVFAIL", true);
  const rcode = rcodeLabelOf(forwarded.rcodeCode);
  if (forwarded.bytes.length <= bytesMax(query, transport)) return { bytes: forwarded.bytes, rcode };
  const truncated = { ...emptyResponse("NOERROR"), recursionAvailable: true };
  return { bytes: encodeTruncated(query, truncated).bytes, rcode };
}
