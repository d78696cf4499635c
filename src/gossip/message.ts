/**
 * Message: what daemons say to each other over a link, and its form on the wire.
 *
 * One JSON object a frame, in UTF-8. JSON because a frame can be read in a capture, and because bodies are JSON text
 * already; the codec is behind `encode` and `decode`, so a denser one can take its place with the wire number.
 * Frames come from peers: `decode` checks every field and bound, and refuses a frame as a whole, since half a delta
 * would break the rule that versions are applied without gaps. Fields it does not know it ignores.
 *
 * Pure.
 */

import { failed, success, textOf, type Result } from "../base/failure.ts";
import { isNodeId, type NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import { isPort } from "../model/service.ts";

/** Version of this wire format; peers of another are refused by name. */
export const WIRE_VERSION = 1;

/** What a node holds of one owner's log. */
export interface DigestEntry {
  readonly owner: NodeId;
  readonly incarnation: number;
  readonly version: number;
}

/** What a node holds, an entry an owner. */
export type Digest = readonly DigestEntry[];

/**
 * A part of one owner's log: all its writes with a version in (from, to], ascending. `floor` as in OwnerLog. With
 * `from` 0 it fits a holder of nothing, of an older incarnation, or of less than the floor, and starts the log anew.
 */
export interface Delta {
  readonly owner: NodeId;
  readonly incarnation: number;
  readonly floor: number;
  readonly from: number;
  readonly to: number;
  readonly writes: readonly Write[];
}

/** One write of a delta; a null body deletes the key. */
export interface Write {
  readonly key: string;
  readonly version: number;
  readonly body: string | null;
}

/** First on every link, from both sides: who I am, what I know of you, what I hold. */
export interface Hello {
  readonly kind: "hello";
  readonly wire: number;
  readonly id: NodeId;
  readonly name: string;
  readonly incarnation: number;
  /** Drawn at each start: tells a link to myself from a second node with my id. */
  readonly nonce: number;
  /** Where my mesh listener can be dialled. */
  readonly host: string;
  readonly port: number;
  readonly digest: Digest;
}

export type Message =
  | Hello
  | { readonly kind: "delta"; readonly deltas: readonly Delta[] }
  /** Repair, first half: the hash of what I hold. Answered by a digest when yours differs. */
  | { readonly kind: "compare"; readonly hash: string }
  /** Repair, second half: what I hold. Answered by what I lack; and by yours, when you `want` mine answered. */
  | { readonly kind: "digest"; readonly digest: Digest; readonly wanted: boolean }
  | { readonly kind: "ping"; readonly sequence: number }
  | { readonly kind: "pong"; readonly sequence: number }
  /** I have applied your log up to this version. */
  | { readonly kind: "applied"; readonly incarnation: number; readonly version: number }
  /** Asks the owner of a replica to take it out, or back in. */
  | { readonly kind: "drain"; readonly replica: string; readonly draining: boolean }
  /** A clean stop: my records do not count any more. */
  | { readonly kind: "goodbye"; readonly incarnation: number };

const encoder = new TextEncoder();

/** Encodes a message as one frame. */
export function encode(message: Message): Uint8Array {
  return encoder.encode(JSON.stringify(message));
}

/** Decodes one frame; the failure names what is wrong with it. */
export function decode(frame: Uint8Array): Result<Message> {
  if (frame.byteLength > LIMITS.frameBytes)
    return refuse(`${frame.byteLength} bytes`, `at most ${LIMITS.frameBytes}`);
  let fields: unknown;
  try {
    fields = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(frame));
  } catch (thrown) {
    return refuse(`not JSON (${textOf(thrown).slice(0, 80)})`, "a JSON object");
  }
  if (!isObject(fields)) return refuse(typeof fields, "a JSON object");
  const message = messageFrom(fields);
  if (message !== null) return success(message);
  const { kind } = fields;
  // Not String(kind): what a peer sent may be an object whose toString is no function.
  return refuse(
    typeof kind === "string" ? `a bad "${kind.slice(0, 40)}"` : "without a kind",
    "a known message",
  );
}

function refuse(what: string, expected: string): Result<never> {
  return failed("corrupt", `frame is ${what}; expected ${expected}`);
}

type Fields = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function messageFrom(fields: Fields): Message | null {
  const { kind, sequence, incarnation, version, hash, replica } = fields;
  switch (kind) {
    case "hello":
      return helloFrom(fields);
    case "delta":
      return deltasFrom(fields["deltas"]);
    case "compare":
      return isTextOf(hash, 64) ? { kind, hash } : null;
    case "digest": {
      const digest = digestFrom(fields["digest"]);
      return digest === null ? null : { kind, digest, wanted: fields["wanted"] === true };
    }
    case "ping":
    case "pong":
      return isCount(sequence) ? { kind, sequence } : null;
    case "applied":
      return isCount(incarnation) && isCount(version) ? { kind, incarnation, version } : null;
    case "drain":
      return isTextOf(replica, 80) ? { kind, replica, draining: fields["draining"] === true } : null;
    case "goodbye":
      return isCount(incarnation) ? { kind, incarnation } : null;
    default:
      return null;
  }
}

function helloFrom(fields: Fields): Hello | null {
  const { wire, id, name, incarnation, nonce, host, port } = fields;
  const digest = digestFrom(fields["digest"]);
  if (!isCount(wire) || typeof id !== "string" || !isNodeId(id) || !isTextOf(name, LIMITS.labelBytes))
    return null;
  if (
    !isCount(incarnation) ||
    !isCount(nonce) ||
    !isTextOf(host, LIMITS.nameBytes) ||
    typeof port !== "number" ||
    !isPort(port)
  )
    return null;
  return digest === null ? null : { kind: "hello", wire, id, name, incarnation, nonce, host, port, digest };
}

function digestFrom(value: unknown): Digest | null {
  if (!Array.isArray(value) || value.length > LIMITS.ownersMax) return null;
  const digest: DigestEntry[] = [];
  for (const element of value) {
    if (!isObject(element)) return null;
    const { owner, incarnation, version } = element;
    if (typeof owner !== "string" || !isNodeId(owner) || !isCount(incarnation) || !isCount(version))
      return null;
    digest.push({ owner, incarnation, version });
  }
  return digest;
}

function deltasFrom(value: unknown): Message | null {
  if (!Array.isArray(value) || value.length > LIMITS.ownersMax) return null;
  const deltas: Delta[] = [];
  for (const element of value) {
    const delta = isObject(element) ? deltaFrom(element) : null;
    if (delta === null) return null;
    deltas.push(delta);
  }
  return { kind: "delta", deltas };
}

function deltaFrom(fields: Fields): Delta | null {
  const { owner, incarnation, floor, from, to, writes } = fields;
  if (typeof owner !== "string" || !isNodeId(owner) || !isCount(incarnation) || !isCount(floor)) return null;
  if (!isCount(from) || !isCount(to) || to < from) return null;
  if (!Array.isArray(writes) || writes.length > LIMITS.entriesPerOwner) return null;
  const checked: Write[] = [];
  let last = from;
  for (const element of writes) {
    if (!isObject(element)) return null;
    const { key, version, body } = element;
    if (!isTextOf(key, 200) || !isCount(version) || version <= last || version > to) return null;
    if (body !== null && !isTextOf(body, LIMITS.recordBytes)) return null;
    checked.push({ key, version, body });
    last = version;
  }
  return { owner, incarnation, floor, from, to, writes: checked };
}

function isTextOf(value: unknown, lengthMax: number): value is string {
  return typeof value === "string" && value.length <= lengthMax;
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
