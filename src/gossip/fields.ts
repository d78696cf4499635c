/**
 * Fields: the form on the wire of what messages are made of: heads, scopes, rumors, reports, asks.
 *
 * Each has a pair of functions, one that writes and one that reads. Nothing is told that follows from the form: parts
 * are a mask, so they are in order and none comes twice.
 *
 * Pure. codec.ts puts messages together from these.
 */

import { assert } from "../base/assert.ts";
import { LIMITS } from "../model/limits.ts";
import { SEAL_BYTES } from "../model/seal.ts";

import { REFUTATION_MAX } from "./life.ts";
import {
  DIGEST_PARTS,
  type AppliedReport,
  type Digest,
  type DrainAsk,
  type Head,
  type Reporter,
  type Rumor,
  type Scope,
  type SignedRumor,
} from "./message.ts";
import { ID_BYTES, type ListBound, type Reader, type TextBound, type Writer } from "./wire.ts";

const RUMOR_KINDS: readonly Rumor["kind"][] = ["suspect", "refused", "dead"];
const SCOPE_KINDS: readonly Scope["kind"][] = ["all", "parts", "listed"];
const PARTS_BYTES = DIGEST_PARTS / 8;

// What an element takes at least: its ids, and a byte for each of its numbers.
const HEADS: ListBound = { what: "count of heads", countMax: LIMITS.ownersMax, eachBytes: ID_BYTES + 3 };
const RUMORS: ListBound = {
  what: "count of rumors",
  countMax: LIMITS.ownersMax,
  eachBytes: 2 * ID_BYTES + 3 + SEAL_BYTES,
};
const REPORTS: ListBound = { what: "count of reports", countMax: LIMITS.ownersMax, eachBytes: ID_BYTES + 3 };
const REPORTERS: ListBound = {
  what: "count of reporters",
  countMax: LIMITS.ownersMax,
  eachBytes: ID_BYTES + 1,
};
const REPLICA: TextBound = { what: "replica", lengthMax: LIMITS.replicaIdBytes };

/** Writes a digest. */
export function writeDigest(writer: Writer, digest: Digest): void {
  writer.list(digest, writeHead);
}

/** Reads a digest. */
export function readDigest(reader: Reader): Digest {
  return reader.list(HEADS, readHead);
}

function writeHead(writer: Writer, head: Head): void {
  writer.id(head.owner);
  writer.whole(head.incarnation);
  writer.whole(head.version);
  writer.optional(head.deadAt);
}

function readHead(reader: Reader): Head {
  return {
    owner: reader.id("head's owner"),
    incarnation: reader.whole("head's incarnation"),
    version: reader.whole("head's version"),
    deadAt: reader.optional("head's deadAt", REFUTATION_MAX),
  };
}

/** Writes which owners a digest speaks of. */
export function writeScope(writer: Writer, scope: Scope): void {
  writer.byte(SCOPE_KINDS.indexOf(scope.kind));
  if (scope.kind !== "parts") return;
  const mask = Array.from({ length: PARTS_BYTES }, () => 0);
  for (const part of scope.parts) {
    assert(Number.isInteger(part) && part >= 0 && part < DIGEST_PARTS, "a part is 0..DIGEST_PARTS - 1");
    mask[part >> 3] = (mask[part >> 3] ?? 0) | (1 << (part & 7));
  }
  for (const byte of mask) writer.byte(byte);
}

/** Reads which owners a digest speaks of. */
export function readScope(reader: Reader): Scope {
  const byte = reader.byte("scope");
  const kind = SCOPE_KINDS[byte];
  if (kind === undefined) return reader.refuse("scope", `${byte}`, `0..${SCOPE_KINDS.length - 1}`);
  if (kind !== "parts") return { kind };
  const parts: number[] = [];
  for (let first = 0; first < DIGEST_PARTS; first += 8) {
    const mask = reader.byte("parts");
    for (let bit = 0; bit < 8; bit += 1) if ((mask & (1 << bit)) !== 0) parts.push(first + bit);
  }
  return { kind, parts };
}

/** Writes rumors. */
export function writeRumors(writer: Writer, rumors: readonly SignedRumor[]): void {
  writer.list(rumors, writeRumor);
}

/** Reads rumors. */
export function readRumors(reader: Reader): SignedRumor[] {
  return reader.list(RUMORS, readRumor);
}

function writeRumor(writer: Writer, rumor: SignedRumor): void {
  writer.byte(RUMOR_KINDS.indexOf(rumor.kind));
  writer.id(rumor.subject);
  writer.whole(rumor.incarnation);
  writer.whole(rumor.refutation);
  writer.id(rumor.by);
  writer.fixed(rumor.signature, SEAL_BYTES);
}

function readRumor(reader: Reader): SignedRumor {
  const byte = reader.byte("rumor's kind");
  const kind = RUMOR_KINDS[byte];
  if (kind === undefined) return reader.refuse("rumor's kind", `${byte}`, `0..${RUMOR_KINDS.length - 1}`);
  return {
    kind,
    subject: reader.id("rumor's subject"),
    incarnation: reader.whole("rumor's incarnation"),
    refutation: reader.whole("rumor's refutation", REFUTATION_MAX),
    by: reader.id("rumor's by"),
    signature: reader.fixed("rumor's signature", SEAL_BYTES),
  };
}

/** Writes reports of what was applied. */
export function writeReports(writer: Writer, reports: readonly AppliedReport[]): void {
  writer.list(reports, writeReport);
}

/** Reads reports of what was applied. */
export function readReports(reader: Reader): AppliedReport[] {
  return reader.list(REPORTS, readReport);
}

function writeReport(writer: Writer, report: AppliedReport): void {
  writer.id(report.owner);
  writer.whole(report.incarnation);
  writer.whole(report.version);
  writer.list(report.by, writeReporter);
}

function readReport(reader: Reader): AppliedReport {
  return {
    owner: reader.id("report's owner"),
    incarnation: reader.whole("report's incarnation"),
    version: reader.whole("report's version"),
    by: reader.list(REPORTERS, readReporter),
  };
}

function writeReporter(writer: Writer, { id, signature }: Reporter): void {
  writer.id(id);
  writer.optionalFixed(signature, SEAL_BYTES);
}

function readReporter(reader: Reader): Reporter {
  const id = reader.id("reporter");
  return { id, signature: reader.optionalFixed("reporter's signature", SEAL_BYTES) };
}

/** Writes an ask to drain. */
export function writeDrainAsk(writer: Writer, ask: DrainAsk): void {
  writer.id(ask.owner);
  writer.whole(ask.incarnation);
  writer.whole(ask.version);
  writer.text(ask.replica);
  writer.flag(ask.draining);
  writer.id(ask.asker);
  writer.optionalFixed(ask.signature, SEAL_BYTES);
}

/** Reads an ask to drain. */
export function readDrainAsk(reader: Reader): DrainAsk {
  return {
    owner: reader.id("owner"),
    incarnation: reader.whole("incarnation"),
    version: reader.whole("version"),
    replica: reader.text(REPLICA),
    draining: reader.flag("draining"),
    asker: reader.id("asker"),
    signature: reader.optionalFixed("signature", SEAL_BYTES),
  };
}
