/**
 * Pages: a list in parts, for callers that ask for so much at a time.
 *
 * A cursor names the last line that was told, not how many there were: so nothing is told twice or left out because
 * something else came or went between two calls. Lines go by their keys, in the order of the list without pages. Who
 * asks for no limit gets all, as ever.
 *
 * Pure.
 */

import { failed, success, type Result } from "../base/failure.ts";

/** Lines in a page at most. */
const PAGE_MAX = 1000;
/** A cursor's characters at most: two names of 63 bytes and an id fit, as base64. */
const CURSOR_MAX = 400;

/** What was asked: the query's `limit` and `after`, null where it has none. */
export interface PageAsked {
  readonly limit: string | null;
  readonly after: string | null;
}

/** Lines of one page. */
export interface Page<T> {
  readonly lines: readonly T[];
  /** `after` of the next page; null behind the last one. */
  readonly next: string | null;
}

/**
 * Cuts a page out of a list.
 *
 * @param keyOf  tells lines apart, and rises (by code units) along the list
 * @returns `usage` for a limit or cursor that is none
 */
export function pageOf<T>(
  lines: readonly T[],
  keyOf: (line: T) => string,
  { limit, after }: PageAsked,
): Result<Page<T>> {
  const size = sizeOf(limit);
  if (!size.ok) return size;
  const last = after === null ? success("") : keyIn(after);
  if (!last.ok) return last;
  const rest = after === null ? lines : lines.filter((line) => keyOf(line) > last.value);
  const page = rest.slice(0, size.value);
  const end = page.at(-1);
  const next = end === undefined || page.length === rest.length ? null : cursorOf(keyOf(end));
  return success({ lines: page, next });
}

/** The number of lines that a `limit` allows; without one, all. @returns `usage` */
export function sizeOf(limit: string | null): Result<number> {
  if (limit === null) return success(Number.POSITIVE_INFINITY);
  const size = /^\d{1,4}$/.test(limit) ? Number(limit) : 0;
  if (size >= 1 && size <= PAGE_MAX) return success(size);
  return failed("usage", `limit is "${limit}"; expected 1 to ${PAGE_MAX}`);
}

function cursorOf(key: string): string {
  return Buffer.from(key, "utf8").toString("base64url");
}

function keyIn(cursor: string): Result<string> {
  const key = cursor.length <= CURSOR_MAX ? Buffer.from(cursor, "base64url").toString("utf8") : "";
  if (key !== "" && cursorOf(key) === cursor) return success(key);
  const shown = cursor.length <= CURSOR_MAX ? `"${cursor}"` : `${cursor.length} characters`;
  return failed("usage", `after is ${shown}; expected what the link to this page has`);
}
