/**
 * Files: state that survives a crash at any moment, a full disk and a flipped bit.
 *
 * A save never touches the file that is there: it writes beside it, forces that to the disk, keeps the old
 * one as `.previous` and puts the new one in its place. A load believes nothing without its checksum: a
 * damaged file is set aside, never deleted or overwritten, since a person may want it, and the previous one
 * is used. A file of a newer version is a failure: an older daemon that went on would write over what it does
 * not understand.
 *
 * The format is one line of JSON, so people can read it: {"schema":1,"sha256":"...","value":...}. The
 * checksum covers the schema and the exact bytes of the value. This frame must never change, or old daemons
 * could not tell a newer file from a damaged one.
 *
 * Touches: the file system.
 */

import { createHash } from "node:crypto";
import { mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";

import { assert } from "../base/assert.ts";
import { Failure, failed, success, systemCodeOf, textOf, type Result } from "../base/failure.ts";
import { LIMITS } from "../model/limits.ts";

/** What loadState needs to know of a state file. */
export interface StateFormat<T> {
  /** The newest schema this version of Skein understands, from 1. */
  readonly schema: number;
  /** Makes a value of what the file holds, written under `schema`, which is at most the one above. */
  readonly parse: (value: unknown, schema: number) => Result<T>;
}

/** What loadState found. */
export interface Loaded<T> {
  /** Null when there is nothing to use: no file yet, or none that is whole. */
  readonly value: T | null;
  readonly from: "current" | "previous" | "none";
  /** Where the damaged file went; null when none was. */
  readonly setAside: string | null;
  /** Why it is not the current file's value, in words; null when it is, and when there never was a file. */
  readonly reason: string | null;
}

/**
 * Loads a state file, or its previous version when it is missing or damaged.
 *
 * @param nowMs  part of the name under which a damaged file is set aside: `<path>.corrupt-<nowMs>`
 * @throws Failure when the file is of a newer schema (`invalid`), or when it cannot be read or set aside
 */
export async function loadState<T>(path: string, format: StateFormat<T>, nowMs: number): Promise<Loaded<T>> {
  const current = await loadOne(path, format);
  if (current.kind === "whole")
    return { value: current.value, from: "current", setAside: null, reason: null };
  const previousPath = `${path}.previous`;
  const previous = await loadOne(previousPath, format);
  // Both are read before either is moved: a previous file of a newer schema must find everything in its
  // place.
  let setAside: string | null = null;
  let reason: string | null = null;
  if (previous.kind === "damaged") {
    setAside = await putAside(previousPath, nowMs);
    reason = `${previousPath}: ${previous.reason}`;
  }
  if (current.kind === "damaged") {
    setAside = await putAside(path, nowMs);
    reason = `${path}: ${current.reason}`;
  }
  if (previous.kind !== "whole") return { value: null, from: "none", setAside, reason };
  return { value: previous.value, from: "previous", setAside, reason: reason ?? `${path} is missing` };
}

/**
 * Saves a value, which must be JSON-able, as the current state; the current one becomes the previous. At most
 * one save of a path may run at a time.
 *
 * @throws Failure `invalid` above LIMITS.fileBytes, otherwise as the file system says; what was saved before
 *   still loads
 */
export async function saveState(path: string, schema: number, value: unknown): Promise<void> {
  assert(value !== undefined, "a state has a value");
  const body = JSON.stringify(value);
  const text = `{"schema":${schema},"sha256":"${checksum(schema, body)}","value":${body}}\n`;
  const sizeBytes = Buffer.byteLength(text);
  if (sizeBytes > LIMITS.fileBytes) {
    throw new Failure(
      "invalid",
      `state for ${path} is ${sizeBytes} bytes; expected at most ${LIMITS.fileBytes}`,
    );
  }
  const freshPath = `${path}.new`;
  try {
    await writeDurably(freshPath, text);
    // Not a hard link, though it would leave no moment without a current file: not every file system has
    // them, and a load that finds the current file missing takes the previous one.
    await rename(path, `${path}.previous`).catch(unlessMissing);
    await rename(freshPath, path);
    await syncFolder(dirname(path));
  } catch (thrown) {
    throw fileFailure(path, "written", thrown);
  }
}

/**
 * Writes a small file that must never be seen half-written, such as a key: mode 0600, forced to the disk,
 * then put in place in one step over whatever is there.
 */
export async function writeWhole(path: string, text: string): Promise<void> {
  try {
    await writeDurably(`${path}.new`, text);
    await rename(`${path}.new`, path);
    await syncFolder(dirname(path));
  } catch (thrown) {
    throw fileFailure(path, "written", thrown);
  }
}

/**
 * Reads a file as text.
 *
 * @returns null when there is none
 * @throws Failure above LIMITS.fileBytes, or as the file system says
 */
export async function readBounded(path: string): Promise<string | null> {
  try {
    return (await readBytes(path))?.toString("utf8") ?? null;
  } catch (thrown) {
    throw fileFailure(path, "read", thrown);
  }
}

/**
 * Makes a folder for state, mode 0700, with the folders above it; one that is there already is left as it is.
 */
export async function ensureFolder(path: string): Promise<void> {
  try {
    await makeFolder(path, 0o700);
  } catch (thrown) {
    if (!["ENOENT", "ENOTDIR", "EEXIST"].includes(systemCodeOf(thrown) ?? ""))
      throw fileFailure(path, "created", thrown);
    const text = `${path} cannot be a folder: a file, or what takes no folders, is in its way`;
    throw new Failure("invalid", `${text}; expected another --data-dir`, { cause: thrown });
  }
}

/**
 * Makes a folder with the folders above it; one that is there already is left as it is.
 *
 * Not by mkdir's `recursive`: Node goes round for ever where the folder above is there and takes none (/proc).
 *
 * @throws the system's own error, ENOTDIR where a file stands in the way
 */
export async function makeFolder(path: string, mode: number): Promise<void> {
  try {
    await mkdir(path, { mode });
  } catch (thrown) {
    const code = systemCodeOf(thrown);
    if (code === "EEXIST" && (await stat(path)).isDirectory()) return;
    const above = dirname(path);
    if (code !== "ENOENT" || above === path || (await isThere(above))) throw thrown;
    await makeFolder(above, mode);
    await makeFolder(path, mode);
  }
}

async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

/**
 * What a failed file operation means to a user.
 *
 * @param done  what was to be done with it: `read`, `written`
 */
export function fileFailure(path: string, done: string, cause: unknown): Failure {
  if (cause instanceof Failure) return cause;
  const thing = `${path} cannot be ${done}`;
  switch (systemCodeOf(cause) ?? "") {
    case "EACCES":
    case "EPERM":
      return new Failure(
        "not-allowed",
        `${thing}: not permitted; chown it to the user who runs skein, or set --data-dir to their own folder`,
        { cause },
      );
    case "EROFS":
      return new Failure(
        "not-allowed",
        `${thing}: its file system is read-only; mount it writable, or set --data-dir`,
        {
          cause,
        },
      );
    case "ENOSPC":
    case "EDQUOT":
      return new Failure("busy", `${thing}: the disk is full; make room, or set --data-dir`, { cause });
    case "EMFILE":
    case "ENFILE":
      return new Failure("busy", `${thing}: too many open files; raise the limit (ulimit -n)`, { cause });
    case "EIO":
      return new Failure("corrupt", `${thing}: the disk fails`, { cause });
    default:
      return new Failure("invalid", `${thing}: ${textOf(cause)}`, { cause });
  }
}

type One<T> =
  | { readonly kind: "whole"; readonly value: T }
  | { readonly kind: "missing" }
  | { readonly kind: "damaged"; readonly reason: string };

async function loadOne<T>(path: string, format: StateFormat<T>): Promise<One<T>> {
  let bytes: Buffer | null;
  try {
    bytes = await readBytes(path);
  } catch (thrown) {
    throw fileFailure(path, "read", thrown);
  }
  if (bytes === null) return { kind: "missing" };
  const frame = unframe(bytes.toString("utf8"));
  if (!frame.ok) return { kind: "damaged", reason: frame.failure.message };
  const { schema, value } = frame.value;
  if (schema > format.schema) {
    const remedy = "run that version again, or move the file away to start without it";
    const known = `this version understands up to ${format.schema}`;
    throw new Failure(
      "invalid",
      `${path} has schema ${schema}, written by a newer skein; ${known}; ${remedy}`,
    );
  }
  const parsed = format.parse(value, schema);
  return parsed.ok
    ? { kind: "whole", value: parsed.value }
    : { kind: "damaged", reason: parsed.failure.message };
}

const FRAME = /^\{"schema":([1-9]\d{0,8}),"sha256":"([0-9a-f]{64})","value":/;
const FRAME_END = "}\n";

function unframe(text: string): Result<{ readonly schema: number; readonly value: unknown }> {
  const match = FRAME.exec(text);
  if (match === null || !text.endsWith(FRAME_END))
    return failed("corrupt", "it is cut short or no state file");
  const schema = Number(match[1]);
  const body = text.slice(match[0].length, -FRAME_END.length);
  if (checksum(schema, body) !== match[2]) return failed("corrupt", "its checksum does not fit its content");
  // Cannot fail: what the checksum fits, saveState wrote.
  return success({ schema, value: JSON.parse(body) });
}

function checksum(schema: number, body: string): string {
  return createHash("sha256").update(`${schema}\n${body}`).digest("hex");
}

async function readBytes(path: string): Promise<Buffer | null> {
  const file = await open(path, "r").catch(unlessMissing);
  if (file === undefined) return null;
  try {
    const { size } = await file.stat();
    if (size > LIMITS.fileBytes) {
      throw new Failure("invalid", `${path} is ${size} bytes; expected at most ${LIMITS.fileBytes}`);
    }
    return await file.readFile();
  } finally {
    await file.close();
  }
}

async function writeDurably(path: string, text: string): Promise<void> {
  // A leftover of a crash goes first; then `wx` makes sure that we do not follow a link somebody put in its
  // place.
  await rm(path, { force: true });
  const file = await open(path, "wx", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function putAside(path: string, nowMs: number): Promise<string> {
  const asidePath = `${path}.corrupt-${Math.floor(nowMs)}`;
  try {
    await rename(path, asidePath);
  } catch (thrown) {
    throw fileFailure(path, "set aside", thrown);
  }
  return asidePath;
}

function unlessMissing(thrown: unknown): undefined {
  if (systemCodeOf(thrown) !== "ENOENT") throw thrown;
}
