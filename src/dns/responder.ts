/**
 * Responder: from the bytes of a query to the bytes of its answer, whichever socket they came by.
 *
 * The order of the steps is the order of their cost: cache, parse, zone, what upstreams said before, upstream. What is
 * not worth an answer gets none and is counted. An answer about our names is finished before `serve` returns; only a
 * forwarded one takes time. `recall` is the first step alone, without a closure or an object a query: by it most
 * queries are answered at hardly more than the price of the socket.
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

import { answer, basisOf } from "./answer.ts";
import { spend } from "./budget.ts";
import { AnswerCache, bytesFor, type Entry } from "./cache.ts";
import { Clients, type KnownClient } from "./clients.ts";
import { rcodeLabelOf, typeLabelOf, type RcodeName } from "./codes.ts";
import { emptyResponse, encodeResponse, encodeTruncated, TCP_BYTES_MAX, udpBytesMax } from "./encode.ts";
import type { Transport } from "./exchange.ts";
import type { Forwarded, Forwarder } from "./forward.ts";
import { isIsolated, type Asker } from "./lookup.ts";
import { decodeQuery } from "./packet.ts";
import type { Query } from "./query.ts";
import type { Zone } from "./zone.ts";

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
  readonly askerOf: (address: string) => Asker;
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

/** One query being answered. */
interface Asking {
  readonly bytes: Buffer;
  readonly client: KnownClient;
  readonly transport: Transport;
  readonly recursive: boolean;
  readonly startMs: number;
  readonly reply: Reply;
}

class ZoneResponder implements Responder {
  readonly #options: ResponderOptions;
  readonly #clients: Clients;
  readonly #cache: AnswerCache<Cell>;
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
    this.#zone = next;
    this.#generation += 1;
  }

  lastAskedMs(address: string): number | null {
    return this.#clients.lastAskedMs(address);
  }

  recall(bytes: Buffer, address: string, transport: Transport): Buffer | null {
    // Not hashed: so long a query is in no cache.
    if (bytes.length > LIMITS.dnsQueryBytes || bytes.length < 2) return null;
    const startMs = performance.now();
    const client = this.#clients.of(address, startMs);
    const entry = this.#cache.find(bytes, variantOf(client, transport, this.#isRecursive(client)));
    if (entry === null || entry.generation !== this.#generation) return null;
    return this.#recalled(entry, { bytes, client, transport, startMs });
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
    const asking: Asking = { bytes, client, transport, recursive, startMs, reply };
    if (decoded.kind === "query") return this.#answer(asking, decoded.query);
    this.#send(asking, { bytes: decoded.bytes, qtype: "other", rcode: decoded.rcode, source: "edge" });
  }

  #isRecursive(client: KnownClient): boolean {
    return client.isAllowed && !isIsolated(client.asker) && this.#options.forwarder?.hasUpstreams === true;
  }

  #answer(asking: Asking, query: Query): void {
    const { bytes, client, transport, recursive } = asking;
    const variant = variantOf(client, transport, recursive);
    const entry = this.#cache.find(bytes, variant);
    if (entry !== null && this.#holds(entry, query, client.asker))
      return asking.reply(this.#recalled(entry, asking));
    const qtype = typeLabelOf(query.question.typeCode);
    const given = answer(this.#zone, query.question, client.asker, this.#options.random);
    if (given.kind === "forward") return this.#forward(asking, query, qtype);
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
    entry.generation = this.#generation;
    return true;
  }

  /** A finished answer for this query, counted. */
  #recalled(
    entry: Entry<Cell>,
    { bytes, client, transport, startMs }: Pick<Asking, "bytes" | "client" | "transport" | "startMs">,
  ): Buffer {
    const excessBytes = entry.encoded.bytes.length - bytes.length;
    const isWhole = transport === "tcp" || mayGet(client, excessBytes, startMs);
    entry.label.count += 1;
    const out = isWhole ? bytesFor(entry, bytes) : this.#limited(bytes);
    this.#options.metrics.dnsDuration.observe((performance.now() - startMs) / 1000);
    return out;
  }

  #forward(asking: Asking, query: Query, qtype: string): void {
    const { bytes, client, transport, recursive } = asking;
    const { forwarder } = this.#options;
    if (!recursive || forwarder === null || forwarder.isEcho(query.question.name))
      return this.#send(asking, { ...bare(query, "REFUSED"), qtype, source: "zone" });
    const tell = (forwarded: Forwarded): void => {
      const isKept = forwarded.kind === "reply" && forwarded.fromCache === true;
      const source = isKept ? "remembered" : "upstream";
      this.#send(asking, { ...fitting(forwarded, query, transport), qtype, source });
    };
    const remembered = forwarder.remembered(bytes, transport);
    if (remembered !== null) return tell(remembered);
    void forwarder.forward(bytes, transport, client.address).then(tell);
  }

  /** Replies, counts, and truncates what the client's network may not be sent. */
  #send({ bytes: asked, client, transport, startMs, reply }: Asking, outcome: Outcome): void {
    const { metrics } = this.#options;
    const { bytes, qtype, rcode, source } = outcome;
    const endMs = performance.now();
    const isWhole = transport === "tcp" || mayGet(client, bytes.length - asked.length, endMs);
    metrics.dnsQueries.cell({ qtype, rcode, source }).count += 1;
    metrics.dnsDuration.observe((endMs - startMs) / 1000);
    reply(isWhole ? bytes : this.#limited(asked));
  }

  /** "Ask again over TCP", which is no larger than the question. */
  #limited(asked: Buffer): Buffer {
    this.#options.metrics.dnsLimited.inc();
    const decoded = decodeQuery(asked);
    // Invariant: whoever calls this has understood the query; other bytes get a header, which exceeds nothing.
    if (decoded.kind !== "query") return NOTHING;
    return encodeTruncated(decoded.query, emptyResponse("NOERROR")).bytes;
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
function bare(query: Query, rcode: RcodeName): Pick<Outcome, "bytes" | "rcode"> {
  return { bytes: encodeResponse(query, emptyResponse(rcode), TCP_BYTES_MAX).bytes, rcode };
}

/** The upstream's reply, cut to what the client takes; SERVFAIL when nobody replied. */
function fitting(forwarded: Forwarded, query: Query, transport: Transport): Pick<Outcome, "bytes" | "rcode"> {
  if (forwarded.kind === "failed") return bare(query, "SERVFAIL");
  const rcode = rcodeLabelOf(forwarded.rcodeCode);
  if (forwarded.bytes.length <= bytesMax(query, transport)) return { bytes: forwarded.bytes, rcode };
  const truncated = { ...emptyResponse("NOERROR"), recursionAvailable: true };
  return { bytes: encodeTruncated(query, truncated).bytes, rcode };
}
