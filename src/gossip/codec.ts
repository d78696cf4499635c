/**
 * Codec: the form of messages on the wire.
 *
 * One message a frame: a byte for its kind, then its fields in a fixed order (wire.ts says how numbers and texts are
 * written). Binary and not JSON, since a ping is sent to every link twice a second and a digest of a large cluster is
 * mostly ids: 17 bytes a head instead of 70. Where a rule can be had by the form it is not checked: the versions of a
 * delta are written as distances, so they can only ascend.
 *
 * Frames come from peers: `decode` checks every field and bound, and refuses a frame as a whole, since half a delta
 * would break the rule that versions are applied without gaps. There is no room for unknown fields: what is added
 * raises WIRE_VERSION. All wire versions have the begin of a hello in common, so that a peer is refused by its name.
 *
 * Pure.
 */

import { assert } from "../base/assert.ts";
import { failed, Failure, success, textOf, type Result } from "../base/failure.ts";
import { LIMITS } from "../model/limits.ts";
import { SEAL_BYTES } from "../model/seal.ts";

import {
  readDigest,
  readDrainAsk,
  readReports,
  readRumors,
  readScope,
  writeDigest,
  writeDrainAsk,
  writeReports,
  writeRumors,
  writeScope,
} from "./fields.ts";
import { REFUTATION_MAX } from "./life.ts";
import {
  DIGEST_PARTS,
  WIRE_VERSION,
  type Delta,
  type Hello,
  type Message,
  type Until,
  type Write,
} from "./message.ts";
import { RING_SIZE } from "./ring.ts";
import {
  ID_BYTES,
  Reader,
  SUM_SIZE,
  WHOLE_BYTES_MAX,
  Writer,
  type ListBound,
  type TextBound,
} from "./wire.ts";

type Kind = Message["kind"];

/** The first byte of a frame, by kind. */
const BYTE_BY_KIND: Readonly<Record<Kind, number>> = {
  hello: 1,
  delta: 2,
  announce: 3,
  compare: 4,
  parts: 5,
  digest: 6,
  rumor: 7,
  ping: 8,
  pong: 9,
  probe: 10,
  probed: 11,
  applied: 12,
  drain: 13,
  part: 14,
  more: 15,
};
const KINDS = Object.keys(BYTE_BY_KIND) as readonly Kind[];

const PORT_MAX = 65_535;

const NAME: TextBound = { what: "name", lengthMax: LIMITS.labelBytes };
const HOST: TextBound = { what: "host", lengthMax: LIMITS.nameBytes };
const KEY: TextBound = { what: "write's key", lengthMax: LIMITS.recordKeyBytes };
const BODY: TextBound = { what: "write's body", lengthMax: LIMITS.recordBytes };

// What an element takes at least: its id, and a byte for each of its numbers, texts and flags.
const DELTAS: ListBound = { what: "count of deltas", countMax: LIMITS.ownersMax, eachBytes: ID_BYTES + 6 };
const WRITES: ListBound = { what: "count of writes", countMax: LIMITS.entriesPerOwner, eachBytes: 3 };

/** What a delta takes at most beside its writes: an owner, four numbers, the count of writes and the seal. */
export const DELTA_HEAD_BYTES = ID_BYTES + 5 * WHOLE_BYTES_MAX + 1 + SEAL_BYTES;
/** What a write takes at most beside its key and body: its distance from the last one, and two lengths. */
const WRITE_HEAD_BYTES = WHOLE_BYTES_MAX + 2 + 3;

/** What a write takes in a frame, in bytes: at most, and at most a dozen less. */
export function sizeOfWrite(key: string, body: string | null): number {
  return WRITE_HEAD_BYTES + Buffer.byteLength(key) + (body === null ? 0 : Buffer.byteLength(body));
}

/**
 * Encodes a message as one frame. Bounds are the sender's to keep: what goes past one, the receiver refuses. Half a
 * surrogate pair arrives as U+FFFD.
 */
export function encode(message: Message): Uint8Array {
  const writer = new Writer(sizeHintOf(message));
  writer.byte(BYTE_BY_KIND[message.kind]);
  writeFields(writer, message);
  return writer.frame();
}

/** Decodes one frame; the failure names what is wrong with it. Never throws. */
export function decode(frame: Uint8Array): Result<Message> {
  const sizeBytes = frame.byteLength;
  if (sizeBytes > LIMITS.frameBytes)
    return failed("corrupt", `frame is ${sizeBytes} bytes long; expected at most ${LIMITS.frameBytes}`);
  const [byte = 0] = frame;
  const kind = KINDS[byte - 1];
  if (kind === undefined) {
    const value = sizeBytes === 0 ? "empty" : `of kind ${byte}`;
    return failed("corrupt", `frame is ${value}; expected a kind of 1..${KINDS.length}`);
  }
  try {
    const reader = new Reader(frame, kind, 1);
    const message = readFields(reader, kind);
    reader.end();
    return success(message);
  } catch (thrown) {
    if (thrown instanceof Failure) return { ok: false, failure: thrown };
    // Our own mistake, but a peer's bytes led to it: it may cost the frame, not the daemon.
    const failure = new Failure("corrupt", `${kind} cannot be read: ${textOf(thrown)}`, { cause: thrown });
    return { ok: false, failure };
  }
}

/** Bytes to begin with: near enough that long frames need not grow, and small for the small. */
function sizeHintOf(message: Message): number {
  const digestBytes = "digest" in message ? 24 * message.digest.length : 0;
  if (message.kind !== "delta") return message.kind === "hello" ? 256 + digestBytes : 32 + digestBytes;
  let sizeBytes = 32;
  for (const { writes } of message.deltas) {
    sizeBytes += DELTA_HEAD_BYTES;
    for (const { key, body } of writes) sizeBytes += sizeOfWrite(key, body);
  }
  return sizeBytes;
}

function writeFields(writer: Writer, message: Message): void {
  switch (message.kind) {
    case "hello":
      return writeHello(writer, message);
    case "delta":
      writer.list(message.deltas, writeDelta);
      writeUntil(writer, message.until);
      return writer.flag(message.acknowledge);
    case "announce":
      return writeDigest(writer, message.digest);
    case "compare":
      return writer.sum(message.sum);
    case "parts":
      assert(message.sums.length === DIGEST_PARTS, "there is a sum a part");
      return message.sums.forEach((sum) => writer.sum(sum));
    case "digest":
      writeDigest(writer, message.digest);
      writeScope(writer, message.scope);
      return writer.flag(message.wanted);
    case "more":
      writer.id(message.owner);
      writer.whole(message.incarnation);
      writer.whole(message.floor);
      return writer.whole(message.version);
    case "rumor":
      writeRumors(writer, message.rumors);
      return writeUntil(writer, message.until);
    case "ping":
      writer.whole(message.sequence);
      return writer.optional(message.suspected);
    case "pong":
      return writer.whole(message.sequence);
    case "probe":
      writer.whole(message.sequence);
      return writer.id(message.subject);
    case "probed":
      writer.whole(message.sequence);
      return writer.flag(message.reached);
    case "applied":
      writeReports(writer, message.reports);
      return writer.whole(message.hops);
    case "drain":
      writeDrainAsk(writer, message.ask);
      return writer.whole(message.hops);
    case "part":
      return undefined;
  }
}

function readFields(reader: Reader, kind: Kind): Message {
  switch (kind) {
    case "hello":
      return readHello(reader);
    case "delta": {
      const deltas = reader.list(DELTAS, readDelta);
      return { kind, deltas, until: readUntil(reader), acknowledge: reader.flag("acknowledge") };
    }
    case "announce":
      return { kind, digest: readDigest(reader) };
    case "compare":
      return { kind, sum: reader.sum("sum") };
    case "parts":
      return { kind, sums: Array.from({ length: DIGEST_PARTS }, () => reader.sum("sum of a part")) };
    case "digest": {
      const digest = readDigest(reader);
      return { kind, digest, scope: readScope(reader), wanted: reader.flag("wanted") };
    }
    case "more": {
      const [owner, incarnation] = [reader.id("owner"), reader.whole("incarnation")];
      return { kind, owner, incarnation, floor: reader.whole("floor"), version: reader.whole("version") };
    }
    case "rumor":
      return { kind, rumors: readRumors(reader), until: readUntil(reader) };
    case "ping": {
      const sequence = reader.whole("sequence");
      return { kind, sequence, suspected: reader.optional("suspected", REFUTATION_MAX) };
    }
    case "pong":
      return { kind, sequence: reader.whole("sequence") };
    case "probe":
      return { kind, sequence: reader.whole("sequence"), subject: reader.id("subject") };
    case "probed":
      return { kind, sequence: reader.whole("sequence"), reached: reader.flag("reached") };
    case "applied":
      return { kind, reports: readReports(reader), hops: readHops(reader) };
    case "drain":
      return { kind, ask: readDrainAsk(reader), hops: readHops(reader) };
    case "part":
      return { kind };
  }
}

function writeHello(writer: Writer, hello: Hello): void {
  writer.whole(hello.wire);
  writer.id(hello.id);
  writer.text(hello.name);
  writer.whole(hello.incarnation);
  writer.whole(hello.nonce);
  writer.text(hello.host);
  writer.whole(hello.port);
  writer.flag(hello.complete);
  writer.flag(hello.wanted);
  writeDigest(writer, hello.digest);
}

function readHello(reader: Reader): Hello {
  const wire = reader.whole("wire");
  const id = reader.id("id");
  const name = reader.text(NAME);
  if (wire !== WIRE_VERSION) {
    // Who it is can be read, the rest not: it may have any form. greeting.ts refuses it by name.
    reader.skipRest();
    const rest = { incarnation: 0, nonce: 0, host: "", port: 0, complete: false, wanted: false, digest: [] };
    return { kind: "hello", wire, id, name, ...rest };
  }
  return {
    kind: "hello",
    wire,
    id,
    name,
    incarnation: reader.whole("incarnation"),
    nonce: reader.whole("nonce"),
    host: reader.text(HOST),
    port: readPort(reader),
    complete: reader.flag("complete"),
    wanted: reader.flag("wanted"),
    digest: readDigest(reader),
  };
}

function readPort(reader: Reader): number {
  const port = reader.whole("port", PORT_MAX);
  if (port === 0) reader.refuse("port", "0", `1..${PORT_MAX}`);
  return port;
}

function writeDelta(writer: Writer, { owner, incarnation, floor, from, to, writes, seal }: Delta): void {
  writer.id(owner);
  writer.whole(incarnation);
  writer.whole(floor);
  writer.whole(from);
  writer.whole(to - from);
  writer.whole(writes.length);
  let last = from;
  for (const { key, version, body } of writes) {
    writer.whole(version - last - 1);
    writer.text(key);
    writer.optionalText(body);
    last = version;
  }
  assert(last <= to, "a delta's writes are within its versions");
  writer.optionalFixed(seal, SEAL_BYTES);
}

function readDelta(reader: Reader): Delta {
  const owner = reader.id("delta's owner");
  const incarnation = reader.whole("delta's incarnation");
  const floor = reader.whole("delta's floor");
  const from = reader.whole("delta's from");
  const to = from + reader.whole("delta's distance to its end", Number.MAX_SAFE_INTEGER - from);
  let last = from;
  const writes = reader.list(WRITES, (): Write => {
    if (last === to) reader.refuse("write's version", "past the delta's end", `at most ${to}`);
    last += 1 + reader.whole("write's distance from the last", to - last - 1);
    return { version: last, key: reader.text(KEY), body: reader.optionalText(BODY) };
  });
  const seal = reader.optionalFixed("delta's seal", SEAL_BYTES);
  return { owner, incarnation, floor, from, to, writes, seal };
}

/**
 * A position takes seven bytes, whichever it is: who passes a frame on puts another in its place, and the frame must
 * not grow past what its receiver takes.
 */
function writeUntil(writer: Writer, until: Until): void {
  if (until === null) return writer.byte(0);
  const high = Math.floor(until / SUM_SIZE);
  assert(until >= 0 && until < RING_SIZE, "a position is on the ring");
  writer.byte(1 + high);
  writer.sum(until - high * SUM_SIZE);
}

function readUntil(reader: Reader): Until {
  const byte = reader.byte("until");
  if (byte > RING_SIZE / SUM_SIZE) reader.refuse("until", `of begin ${byte}`, `0..${RING_SIZE / SUM_SIZE}`);
  return byte === 0 ? null : (byte - 1) * SUM_SIZE + reader.sum("until");
}

function readHops(reader: Reader): number {
  return reader.whole("hops", LIMITS.hopsMax);
}
