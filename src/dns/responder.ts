/**
 * Responder: from the bytes of a query to the bytes of its answer, whichever socket they came by.
 *
 * The order of the steps is the order of their cost: cache, parse, zone, upstream. What is not worth an answer gets
 * none and is counted. An answer about our names is finished before `serve` returns; only a forwarded one takes time.
 *
 * UDP and TCP listeners share one responder, so nothing here knows sockets: it is given bytes, the client's address and
 * a function to reply with.
 *
 * Touches: metrics, the monotonic clock, and through the forwarder the network.
 */

import type { Random } from "../base/random.ts";
import type { Metrics } from "../runtime/metrics.ts";

import { answer, type Asker } from "./answer.ts";
import { openAnswerCache } from "./cache.ts";
import { rcodeLabelOf, typeLabelOf, type RcodeName } from "./codes.ts";
import type { Forwarder, Transport } from "./forward.ts";
import {
  decodeQuery,
  emptyResponse,
  encodeResponse,
  encodeTruncated,
  TCP_BYTES_MAX,
  udpBytesMax,
  type Query,
} from "./packet.ts";
import type { Zone } from "./zone.ts";

/** Where a query came from. `address` is plain: IPv4 never in its IPv6 form. */
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
  /** Never throws, whatever the bytes. */
  serve(bytes: Buffer, client: Client, reply: Reply): void;
  setZone(zone: Zone): void;
  readonly serial: number;
  readonly cacheEntries: number;
  readonly cacheBytes: number;
}

/** Where an answer came from, as a metric label. `edge`: a malformed or unsupported query. */
type Source = "cache" | "zone" | "upstream" | "edge";

/** An answer on its way out, with what metrics say of it. */
interface Outcome {
  readonly bytes: Buffer;
  readonly qtype: string;
  readonly rcode: string;
  readonly source: Source;
}

/** Makes a responder with an empty cache. */
export function openResponder(options: ResponderOptions): Responder {
  const { askerOf, isAllowed, forwarder, metrics, random } = options;
  const cache = openAnswerCache();
  let zone = options.zone;

  const serve: Responder["serve"] = (bytes, client, reply) => {
    const startMs = performance.now();
    const send = ({ bytes: out, qtype, rcode, source }: Outcome): void => {
      metrics.dnsQueries.inc({ qtype, rcode, source });
      metrics.dnsDuration.observe((performance.now() - startMs) / 1000);
      reply(out);
    };
    const asker = askerOf(client.address);
    const recursive = forwarder !== null && isAllowed(client.address);
    const key = cache.keyOf(bytes, askedAs(asker, client.transport, recursive));
    const hit = cache.get(key, bytes);
    if (hit !== null) return send({ ...hit, source: "cache" });
    const decoded = decodeQuery(bytes);
    if (decoded.kind === "drop") {
      metrics.dnsDropped.inc({ reason: decoded.reason });
      return reply(null);
    }
    if (decoded.kind === "refused") {
      return send({ bytes: decoded.bytes, qtype: "other", rcode: decoded.rcode, source: "edge" });
    }
    const { query } = decoded;
    const qtype = typeLabelOf(query.question.typeCode);
    const given = answer(zone, query.question, asker, random);
    if (given.kind === "own") {
      const response = { ...given, recursionAvailable: recursive };
      const encoded = encodeResponse(query, response, bytesMax(query, client));
      cache.put(key, { encoded, qtype, rcode: given.rcode });
      return send({ bytes: encoded.bytes, qtype, rcode: given.rcode, source: "zone" });
    }
    if (!recursive) return send({ ...bare(query, "REFUSED"), qtype, source: "zone" });
    void forwardFor(forwarder, { bytes, query, client }).then((forwarded) =>
      send({ ...forwarded, qtype, source: "upstream" }),
    );
  };

  return {
    serve,
    setZone(next) {
      zone = next;
      cache.clear();
    },
    get serial() {
      return zone.serial;
    },
    get cacheEntries() {
      return cache.entries;
    },
    get cacheBytes() {
      return cache.sizeBytes;
    },
  };
}

/** All that an answer depends on besides the query's bytes and the zone. Labels hold no space and no comma. */
function askedAs(asker: Asker, transport: Transport, recursive: boolean): string {
  const who = asker.kind === "host" ? "host" : `on ${asker.networks.join(",")}`;
  return `${transport} ${recursive ? "recursive" : "own"} ${who}`;
}

function bytesMax(query: Query, client: Client): number {
  return client.transport === "tcp" ? TCP_BYTES_MAX : udpBytesMax(query);
}

/** An answer with nothing but a code. */
function bare(query: Query, rcode: RcodeName): Pick<Outcome, "bytes" | "rcode"> {
  return { bytes: encodeResponse(query, emptyResponse(rcode), TCP_BYTES_MAX).bytes, rcode };
}

interface ForeignQuery {
  readonly bytes: Buffer;
  readonly query: Query;
  readonly client: Client;
}

/** The upstream's reply, cut to what the client takes; SERVFAIL when nobody replied. */
async function forwardFor(
  forwarder: Forwarder,
  { bytes, query, client }: ForeignQuery,
): Promise<Pick<Outcome, "bytes" | "rcode">> {
  const forwarded = await forwarder.forward(bytes, client.transport);
  if (forwarded.kind === "failed") {
    return { ...bare(query, "SERVFAIL") };
  }
  const rcode = rcodeLabelOf(forwarded.rcodeCode);
  if (forwarded.bytes.length <= bytesMax(query, client)) return { bytes: forwarded.bytes, rcode };
  const truncated = { ...emptyResponse("NOERROR"), recursionAvailable: true };
  return { bytes: encodeTruncated(query, truncated).bytes, rcode };
}
