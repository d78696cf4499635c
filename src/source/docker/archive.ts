/**
 * Archive: the one file in an answer of `GET /containers/<id>/archive`, which is a tar.
 *
 * Only what a small text file needs is read of it (POSIX.1-2017, pax, "ustar Interchange Format"): blocks of 512 bytes,
 * a header with the size in octal digits and the kind of the entry, then the bytes. Entries that only tell of the next
 * one (extended headers) are passed over; a link, a folder or anything cut off is no file.
 *
 * Pure. client.ts fetches it.
 */

const BLOCK = 512;
/** Fields of a header: offset and length. */
const SIZE = [124, 12] as const;
const KIND_AT = 156;
/** Extended headers of pax and of GNU: they stand before the entry that they are of. */
const PRELUDES = "xgLK";
/** Preludes that are passed over: an engine writes one or two. */
const PRELUDES_MAX = 8;

/** The text of the first file; null where there is none. @param tar  the bytes, one character each (latin1) */
export function fileIn(tar: string): string | null {
  let at = 0;
  for (let tries = 0; tries <= PRELUDES_MAX; tries += 1) {
    const header = tar.slice(at, at + BLOCK);
    const size = sizeIn(header);
    if (header.length < BLOCK || size === null) return null;
    const kind = header[KIND_AT] ?? "";
    const start = at + BLOCK;
    if (!PRELUDES.includes(kind)) {
      const isFile = kind === "0" || kind === "\0";
      return isFile && start + size <= tar.length ? tar.slice(start, start + size) : null;
    }
    at = start + Math.ceil(size / BLOCK) * BLOCK;
  }
  return null;
}

function sizeIn(header: string): number | null {
  const [offset, length] = SIZE;
  const digits = /^\s*([0-7]+)[\0 ]*$/.exec(header.slice(offset, offset + length))?.[1];
  return digits === undefined ? null : Number.parseInt(digits, 8);
}
