// Throws queries at what answers DNS, over UDP and in the framing of TCP: noise, damaged queries, answers, streams that
// are cut anywhere. What is not ours goes to an upstream whose replies are damaged, too.

import packet, { type Packet } from "dns-packet";

import { below, pick, seededRandom, type Random } from "../../src/base/random.ts";
import { Connections } from "../../src/dns/tcp/connections.ts";
import { decodeQuery } from "../../src/dns/packet.ts";
import { HEADER_BYTES } from "../../src/dns/query.ts";
import { openResponder, type Responder } from "../../src/dns/responder.ts";
import { TcpListener } from "../../src/dns/tcp/tcp.ts";
import { planZone } from "../../src/dns/names/zone.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { openMetrics, type Metrics } from "../../src/runtime/metrics.ts";
import { frame, opt, OPTIONS, query, replicas, service, view } from "../dns/fixture.ts";

import { Finding, type Fuzzer } from "./fuzzer.ts";
import { mutated } from "./mutate.ts";
import { QuietSocket } from "./quiet-socket.ts";
import { fakeForwarder, type FakeForwarder } from "./upstream.ts";

/** One query takes no longer, of this thread's own time. */
const QUERY_MS_MAX = 5;
/** The largest datagram. */
const DATAGRAM_BYTES_MAX = 65_507;

const ZONES = [3, 4].map((count) =>
  planZone(
    view([
      service("default", "web", { vip: "10.96.0.1", replicas: replicas("web", count, 1), stack: "shop" }),
      service("default", "many", { replicas: replicas("many", 300, 2) }),
      service("blue", "web", { vip: "10.96.0.2", replicas: replicas("web", 1, 3) }),
    ]),
    OPTIONS,
  ),
);

const NAMES = [
  "",
  "web",
  "wEb.Default.skein.INTERNAL",
  "tasks.web.default.skein.internal",
  "tasks.many",
  "web-1.web.default.skein.internal",
  "2.web",
  "_web._tcp.web.default.skein.internal",
  "_tcp.web",
  "web.shop",
  "shop.skein.internal",
  "host-1.node.skein.internal",
  "skein.internal",
  "nobody.skein.internal",
  "1.0.96.10.in-addr.arpa",
  "96.10.in-addr.arpa",
  `1.${"0.".repeat(31)}ip6.arpa`,
  "version.bind",
  "example.org",
  `${"a".repeat(63)}.`.repeat(3) + "a".repeat(61),
];
const TYPES = ["A", "A", "A", "AAAA", "SRV", "PTR", "SOA", "NS", "TXT", "ANY", "AXFR", "DS", "NULL"];

/** Queries that are in order, each name with each type, in many ways to ask. */
function corpusOf(): readonly Buffer[] {
  const ways: readonly Partial<Packet>[] = [
    {},
    {},
    { additionals: [opt()] },
    { additionals: [opt()] },
    { additionals: [opt({ udpPayloadSize: 700, flag_do: true, flags: 0x8000 })] },
    { additionals: [opt({ ednsVersion: 1, options: [{ code: 10, data: Buffer.alloc(8, 7) }] })] },
    { additionals: [opt(), opt()] },
    { flags: 0 },
    { flags: 5 << 11 },
    { type: "response" },
  ];
  const plain = NAMES.flatMap((name) => TYPES.map((type) => ({ name, type })));
  return plain.map(({ name, type }, at) => query(name, type, ways[at % ways.length]));
}

/** What is fuzzed: a responder and a TCP listener in front of it. */
interface Target {
  readonly responder: Responder;
  readonly forwarder: FakeForwarder;
  readonly listener: TcpListener;
  readonly connections: Connections;
}

/** Makes the fuzzer of queries; what `keptBytes` counts and metrics are all that may grow. */
export function queryFuzzer(): Fuzzer & { readonly keptBytes: () => number } {
  const corpus = corpusOf();
  const metrics = openMetrics();
  const forwarder = fakeForwarder(seededRandom(2));
  const responder = openedResponder(metrics, forwarder);
  // The event loop never has its turn here.
  const connections = new Connections({ turnMs: Infinity });
  const listener = new TcpListener({ responder, connections, metrics, idleMs: 60_000 });
  const target = { responder, forwarder, listener, connections };
  return {
    name: "queries",
    keptBytes: () => responder.cacheBytes + forwarder.sizeBytes,
    round(random) {
      forwarder.forget();
      const zone = random() < 0.001 ? pick(random, ZONES) : undefined;
      if (zone !== undefined) responder.setZone(zone);
      const address = `10.${below(random, 4)}.${below(random, 256)}.${below(random, 256)}`;
      if (random() < 0.3) return overTcp(target, random, corpus, address);
      const bytes = Buffer.from(datagramOf(random, corpus)).subarray(0, DATAGRAM_BYTES_MAX);
      return overUdp(target, bytes, address);
    },
  };
}

function openedResponder(metrics: Metrics, forwarder = fakeForwarder(seededRandom(3))): Responder {
  const [zone] = ZONES;
  if (zone === undefined) throw new Error("there is no zone");
  return openResponder({
    zone,
    askerOf: (address) =>
      address.startsWith("10.1.")
        ? { kind: "container", networks: ["blue"], isolated: false }
        : { kind: "host" },
    isAllowed: (address) => !address.startsWith("10.2."),
    forwarder,
    metrics,
    random: seededRandom(1),
  });
}

function datagramOf(random: Random, corpus: readonly Buffer[]): Uint8Array {
  const good = pick(random, corpus) ?? Buffer.alloc(12);
  const choice = random();
  if (choice < 0.05) return Uint8Array.from({ length: below(random, 64) }, () => below(random, 256));
  if (choice < 0.3) return mutated(good, pick(random, corpus) ?? good, random);
  // Damage to the header makes most queries refused at the first look, so most of it is behind the header.
  const from = choice < 0.5 ? 12 : choice < 0.65 ? good.indexOf(0, 12) + 5 : good.length;
  if (from < good.length)
    return Buffer.concat([good.subarray(0, from), mutated(good.subarray(from), good, random)]);
  return good;
}

/** Asks twice, so that a cached answer is looked at, too. @returns what came of it */
function overUdp({ responder, forwarder }: Target, bytes: Buffer, address: string): string {
  const first = served(responder, bytes, address);
  for (const answer of [first, served(responder, bytes, address)]) {
    if (answer !== null && forwarder.gave(answer)) checkForwarded(bytes, answer, "udp");
    else checkAnswer(bytes, answer, "udp");
  }
  if (first === null) return "dropped";
  if (served(responder, first, address) !== null) throw new Finding("an answer is answered", first);
  return forwarder.gave(first) ? "forwarded" : outcomeOf(first);
}

/** One query's answer; a second look is taken at what takes long. */
function served(responder: Responder, bytes: Buffer, address: string): Buffer | null {
  const startMs = performance.now();
  const answer = answerOf(responder, bytes, address);
  const isSuspect = performance.now() - startMs > QUERY_MS_MAX;
  if (isSuspect && isSlow(() => answerOf(openedResponder(openMetrics()), bytes, address)))
    throw new Finding(`a query takes more than ${QUERY_MS_MAX} ms`, bytes);
  return answer;
}

/** True when it takes that long each time, of this thread's own time: so neither a busy machine nor a collection is. */
function isSlow(work: () => void): boolean {
  for (let tries = 0; tries < 5; tries += 1) {
    const before = process.threadCpuUsage();
    work();
    const { user, system } = process.threadCpuUsage(before);
    if ((user + system) / 1000 <= QUERY_MS_MAX) return false;
  }
  return true;
}

function answerOf(responder: Responder, bytes: Buffer, address: string): Buffer | null {
  const answers: (Buffer | null)[] = [];
  try {
    // As the listener does: what is finished already needs no more than a look.
    const finished = responder.recall(bytes, address, "udp");
    if (finished !== null) answers.push(finished);
    else responder.serve(bytes, { address, transport: "udp" }, (answer) => answers.push(answer));
  } catch (thrown) {
    throw new Finding("throws", bytes, thrown);
  }
  if (answers.length !== 1) throw new Finding(`is answered ${answers.length} times`, bytes);
  return answers[0] ?? null;
}

function outcomeOf(answer: Buffer): string {
  if ((answer.readUInt8(2) & 0x02) !== 0) return "truncated";
  const hasRecords = answer.readUInt16BE(6) > 0;
  return hasRecords ? "answered" : (answer.readUInt8(3) & 15) === 0 ? "nothing there" : "error";
}

/**
 * Checks what must hold of any answer to any bytes, told a second time and without the decoder.
 *
 * @throws Finding  with the query
 */
export function checkAnswer(asked: Buffer, answer: Buffer | null, transport: "udp" | "tcp"): void {
  const isQuery = asked.length >= 12 && (asked.readUInt8(2) & 0x80) === 0;
  const problem = answer === null ? null : isQuery ? problemOf(asked, answer, transport) : "is no query";
  if (problem !== null) throw new Finding(`${problem}: ${answer?.toString("hex")}`, asked);
}

/**
 * Checks an upstream's reply on its way to the client: it comes as it is, but under the client's id and question, and
 * no larger than the client takes.
 *
 * @throws Finding  with the query
 */
export function checkForwarded(asked: Buffer, answer: Buffer, transport: "udp" | "tcp"): void {
  const size = asked.indexOf(0, HEADER_BYTES) + 5;
  const hasQuestion = answer.length >= HEADER_BYTES && answer.readUInt16BE(4) === 1;
  const problems = {
    "the reply has another id": answer.readUInt16BE(0) !== asked.readUInt16BE(0),
    "the reply is none": answer.length < HEADER_BYTES || (answer.readUInt8(2) & 0x80) === 0,
    "the question is another one":
      hasQuestion && !answer.subarray(HEADER_BYTES, size).equals(asked.subarray(HEADER_BYTES, size)),
    [`the reply has ${answer.length} bytes`]: answer.length > bytesMaxOf(asked, transport),
  };
  for (const [problem, isSo] of Object.entries(problems)) {
    if (isSo) throw new Finding(`${problem}: ${answer.toString("hex")}`, asked);
  }
}

function bytesMaxOf(asked: Buffer, transport: "udp" | "tcp"): number {
  if (transport === "tcp") return 65_535;
  return asked.readUInt16BE(10) > 0 ? 1232 : 512;
}

function problemOf(asked: Buffer, answer: Buffer, transport: "udp" | "tcp"): string | null {
  if (answer.length < 12) return "the answer has no header";
  if (answer.readUInt16BE(0) !== asked.readUInt16BE(0)) return "the answer has another id";
  // QR set, opcode and RD as they were.
  if ((answer.readUInt8(2) & 0xf9) !== ((asked.readUInt8(2) & 0x79) | 0x80)) return "the header is wrong";
  const isTruncated = (answer.readUInt8(2) & 0x02) !== 0;
  const hasOpt = asked.readUInt16BE(10) > 0;
  // Besides answers nothing may follow the question but the OPT.
  const isMore = answer.readUInt16BE(8) > 0 || answer.readUInt16BE(10) > (hasOpt ? 1 : 0);
  if (isTruncated && (transport === "tcp" || isMore)) return "TC is wrong";
  if (answer.length > bytesMaxOf(asked, transport)) return `the answer has ${answer.length} bytes`;
  const question = packet.decode(answer).questions ?? [];
  if (question.length > 1) return "the answer has several questions";
  // Byte for byte, since clients compare the case they sent.
  const questionBytes = question.length === 0 ? 0 : answer.indexOf(0, 12) + 5 - 12;
  const echoes = answer.subarray(12, 12 + questionBytes).equals(asked.subarray(12, 12 + questionBytes));
  return echoes ? null : "the question is another one";
}

/** A stream of frames, damaged or not, in pieces; what comes back must not depend on where it is cut. */
function overTcp(
  { listener, connections, forwarder }: Target,
  random: Random,
  corpus: readonly Buffer[],
  address: string,
): string {
  const frames = Array.from({ length: 1 + below(random, 6) }, () =>
    frame(Buffer.from(datagramOf(random, corpus))),
  );
  const whole = Buffer.concat(frames);
  const stream = random() < 0.3 ? Buffer.from(mutated(whole, whole, random)) : whole;
  const expected = expectedOf(stream);
  const socket = new QuietSocket(address);
  try {
    listener.handle(socket);
    for (const piece of piecesOf(stream, random)) socket.emit("data", piece);
    socket.emit("end");
  } catch (thrown) {
    throw new Finding("throws", stream, thrown);
  }
  const ids = socket.messages().map((message) => message.readUInt16BE(0));
  const isSame =
    ids.length === expected.length && ids.every((id, at) => id === expected[at]?.readUInt16BE(0));
  if (!isSame) throw new Finding(`${ids.length} answers instead of ${expected.length}`, stream);
  for (const [at, message] of socket.messages().entries()) {
    const check = forwarder.gave(message) ? checkForwarded : checkAnswer;
    check(expected[at] ?? message, message, "tcp");
  }
  if (!socket.isOver) throw new Finding("the connection is still there when the client has ended it", stream);
  socket.destroy();
  if (connections.total !== 0) throw new Finding(`${connections.total} connections are counted`, stream);
  return `tcp ${ids.length === 0 ? "nothing" : "answers"}`;
}

/** The queries of a stream that deserve an answer: those before the first that ends the connection. */
function expectedOf(stream: Buffer): readonly Buffer[] {
  const queries: Buffer[] = [];
  for (let at = 0; at + 2 <= stream.length;) {
    const size = stream.readUInt16BE(at);
    const bytes = stream.subarray(at + 2, at + 2 + size);
    if (size > LIMITS.dnsQueryBytes || bytes.length < size || decodeQuery(bytes).kind === "drop") break;
    queries.push(bytes);
    at += 2 + size;
  }
  return queries;
}

function piecesOf(stream: Buffer, random: Random): readonly Buffer[] {
  const pieces: Buffer[] = [];
  const longest = pick(random, [1, 3, 40, 2000]) ?? 1;
  for (let at = 0; at < stream.length;) {
    const size = 1 + below(random, longest);
    pieces.push(stream.subarray(at, at + size));
    at += size;
  }
  return pieces;
}
