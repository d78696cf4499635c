/**
 * Observe: what this host's kernel has that concerns the cluster: its routing table, and which devices of ours.
 *
 * Read from /proc where that tells it, not asked of `ip`: that costs no process, so it may be done often, and a
 * container without the program knows its routes as well. The table is read as far as a host needs, not as far as a
 * router's reaches. Tables of rules are told by nft alone.
 *
 * Touches: /proc/net/route, /proc/net/dev; the program nft.
 */

import { open, readFile, type FileHandle } from "node:fs/promises";
import { endianness } from "node:os";

import type { Prefix } from "../base/ip.ts";

import { run } from "../runtime/exec.ts";

import { DEVICE_PREFIX, TABLE as RULES } from "./names.ts";
import { prefixesFrom } from "./prefixes.ts";

const TABLE = "/proc/net/route";
/** Eight thousand routes of 128 bytes each. */
const TABLE_BYTES_MAX = 1024 * 1024;

/**
 * The prefixes that this host's main routing table leads to.
 *
 * @param ranges  ours, or such as may become it: prefixes that share addresses with one are told first
 * @returns none where there is no such table (another system than Linux)
 */
export async function observePrefixes(ranges: readonly Prefix[]): Promise<readonly string[]> {
  let file: FileHandle;
  try {
    file = await open(TABLE, "r");
  } catch {
    // No /proc, or hidden from us: then nothing is known, and nothing is told.
    return [];
  }
  try {
    return prefixesFrom(await read(file), { ranges, littleEndian: endianness() === "LE" });
  } finally {
    await file.close();
  }
}

/** The file's text up to the bound; a line that was cut is too short to be one. */
async function read(file: FileHandle): Promise<string> {
  const buffer = Buffer.alloc(TABLE_BYTES_MAX);
  let length = 0;
  while (length < buffer.length) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return buffer.toString("latin1", 0, length);
}

/** Lines of /proc/net/dev begin with the device's name: `  sk-app: 1234 ...`. */
const OWN_DEVICE = new RegExp(`^\\s*(${DEVICE_PREFIX}[^:\\s]+):`, "gm");

/** Lines of `nft list tables` are like `table inet skein`. */
const OWN_TABLE = new RegExp(`^table inet (${RULES}\\S*)$`, "gm");
/** It answers in milliseconds. */
const TABLES_DEADLINE_MS = 2000;

/** The names of our tables of rules that are there; null where nft does not tell. */
export async function observeOwnTables(): Promise<ReadonlySet<string> | null> {
  try {
    const { status, stdout } = await run("nft", ["list", "tables"], { deadlineMs: TABLES_DEADLINE_MS });
    if (status !== 0) return null;
    return new Set(Array.from(stdout.matchAll(OWN_TABLE), ([, name = ""]) => name));
  } catch {
    // No nft now, or a host under load: looked at again.
    return null;
  }
}

/** The names of our devices that are there; none where the kernel does not tell. */
export async function observeOwnDevices(): Promise<ReadonlySet<string>> {
  try {
    const text = await readFile("/proc/net/dev", "latin1");
    return new Set(Array.from(text.matchAll(OWN_DEVICE), ([, name = ""]) => name));
  } catch {
    // No /proc, or hidden from us.
    return new Set();
  }
}
