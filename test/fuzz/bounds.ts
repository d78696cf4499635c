// What holds of every message that is let in, told a second time and without the codec, so that the two can differ.

import { isNodeId } from "../../src/model/ids.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { SEAL_BYTES } from "../../src/model/seal.ts";
import { isPort } from "../../src/model/service.ts";
import {
  DIGEST_PARTS,
  WIRE_VERSION,
  type Delta,
  type Digest,
  type Hello,
  type Message,
  type Scope,
} from "../../src/gossip/message.ts";

/** Throws an Error that says which bound a message breaks. */
export function checkBounds(message: Message): void {
  switch (message.kind) {
    case "hello":
      return checkHello(message);
    case "delta":
      checkList("deltas", message.deltas, LIMITS.ownersMax);
      for (const delta of message.deltas) checkDelta(delta);
      return checkUntil(message.until);
    case "announce":
      return checkDigest(message.digest);
    case "compare":
      return checkWhole("sum", message.sum, 2 ** 48 - 1);
    case "parts":
      check(message.sums.length === DIGEST_PARTS, `${message.sums.length} sums`);
      return message.sums.forEach((sum) => checkWhole("sum", sum, 2 ** 48 - 1));
    case "digest":
      checkScope(message.scope);
      return checkDigest(message.digest);
    case "rumor":
      checkList("rumors", message.rumors, LIMITS.ownersMax);
      for (const { subject, by, incarnation, refutation, signature } of message.rumors) {
        checkIds(subject, by);
        checkMark(signature);
        checkWhole("incarnation", incarnation);
        checkWhole("refutation", refutation, 2 ** 31);
      }
      return checkUntil(message.until);
    case "ping":
      if (message.suspected !== null) checkWhole("suspected", message.suspected, 2 ** 31);
      return checkWhole("sequence", message.sequence);
    case "pong":
    case "probed":
      return checkWhole("sequence", message.sequence);
    case "probe":
      checkIds(message.subject);
      return checkWhole("sequence", message.sequence);
    case "applied":
      checkList("reports", message.reports, LIMITS.ownersMax);
      for (const { owner, incarnation, version, by } of message.reports) {
        checkList("reporters", by, LIMITS.ownersMax);
        checkIds(owner, ...by.map(({ id }) => id));
        for (const { signature } of by) checkMark(signature);
        checkWhole("incarnation", incarnation);
        checkWhole("version", version);
      }
      return checkWhole("hops", message.hops, LIMITS.hopsMax);
    case "drain":
      checkIds(message.ask.owner, message.ask.asker);
      checkText("replica", message.ask.replica, LIMITS.replicaIdBytes);
      checkWhole("incarnation", message.ask.incarnation);
      checkWhole("version", message.ask.version);
      checkMark(message.ask.signature);
      return checkWhole("hops", message.hops, LIMITS.hopsMax);
    case "more":
      checkIds(message.owner);
      checkWhole("incarnation", message.incarnation);
      checkWhole("floor", message.floor);
      return checkWhole("version", message.version);
    case "part":
      return undefined;
  }
}

function checkHello({ wire, id, name, incarnation, nonce, host, port, digest }: Hello): void {
  checkWhole("wire", wire);
  checkIds(id);
  checkText("name", name, LIMITS.labelBytes);
  checkWhole("incarnation", incarnation);
  checkWhole("nonce", nonce);
  checkText("host", host, LIMITS.nameBytes);
  check(wire !== WIRE_VERSION || isPort(port), `port is ${port}`);
  check(wire === WIRE_VERSION || digest.length === 0, "a hello of another version is read to its end");
  checkDigest(digest);
}

function checkMark(mark: Uint8Array | null): void {
  check(mark === null || mark.byteLength === SEAL_BYTES, `a seal of ${mark?.byteLength} bytes`);
}

function checkDelta({ owner, incarnation, floor, from, to, writes, seal }: Delta): void {
  checkIds(owner);
  checkMark(seal);
  checkWhole("incarnation", incarnation);
  checkWhole("floor", floor);
  checkWhole("to", to);
  checkWhole("from", from, to);
  checkList("writes", writes, LIMITS.entriesPerOwner);
  let last = from;
  for (const { key, version, body } of writes) {
    checkWhole("version", version, to);
    check(version > last, `version ${version} follows ${last}`);
    last = version;
    checkText("key", key, LIMITS.recordKeyBytes);
    if (body !== null) checkText("body", body, LIMITS.recordBytes);
  }
}

function checkDigest(digest: Digest): void {
  checkList("heads", digest, LIMITS.ownersMax);
  for (const { owner, incarnation, version, deadAt } of digest) {
    checkIds(owner);
    checkWhole("incarnation", incarnation);
    checkWhole("version", version);
    if (deadAt !== null) checkWhole("deadAt", deadAt, 2 ** 31);
  }
}

function checkScope(scope: Scope): void {
  if (scope.kind !== "parts") return;
  scope.parts.forEach((part, index) => {
    checkWhole("part", part, DIGEST_PARTS - 1);
    check(part > (scope.parts[index - 1] ?? -1), `part ${part} is out of order`);
  });
}

function checkUntil(until: number | null): void {
  if (until !== null) checkWhole("until", until, 2 ** 50 - 1);
}

function checkIds(...ids: readonly string[]): void {
  for (const id of ids) check(isNodeId(id), `id is ${JSON.stringify(id)}`);
}

function checkWhole(what: string, value: number, max: number = Number.MAX_SAFE_INTEGER): void {
  check(Number.isSafeInteger(value) && value >= 0 && value <= max, `${what} is ${value}`);
}

function checkText(what: string, text: string, lengthMax: number): void {
  check(typeof text === "string" && text.length <= lengthMax, `${what} is ${text.length} long`);
  check(text.isWellFormed(), `${what} has half a surrogate pair`);
}

function checkList(what: string, list: readonly unknown[], countMax: number): void {
  check(Array.isArray(list) && list.length <= countMax, `${list.length} ${what}`);
}

function check(holds: boolean, text: string): void {
  if (!holds) throw new Error(`a message past its bounds: ${text}`);
}
