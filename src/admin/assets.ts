/**
 * Assets: the files of the dashboard, as `npm run build` makes them.
 *
 * Read when they are asked for: a daemon that nobody looks at holds none of them. Names are plain, with no slash, so
 * nothing outside the folder can be named. They carry no hash, so a browser asks each time whether its copy is still
 * good (ETag, RFC 9110 8.8.3), and an upgrade shows at once. Beside a file lies what gzip makes of it, for those who
 * take that: nothing is compressed here. The page may load scripts and styles of its own and talk to its own daemon,
 * and nothing else: whatever a name or a label holds, no markup of it can run or call out.
 *
 * Touches: files of one folder.
 */

import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { sha256Hex } from "../base/bytes.ts";
import { Failure } from "../base/failure.ts";

import { HEADERS, type Answer } from "./answers.ts";

/** Media types by a name's ending; what has no other is not served. */
const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
};

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "frame-ancestors 'none'",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

/** What decides which file goes out, and whether the caller has it already. */
export interface AssetAsked {
  /** Folder of the built dashboard; null where there is none. */
  readonly folder: string | null;
  readonly name: string;
  /** `If-None-Match` of the request. */
  readonly known: string | null;
  /** `Accept-Encoding` of the request. */
  readonly encodings: string | null;
}

/** One file of the dashboard. @throws Failure `not-found` */
export async function asset({ folder, name, known, encodings }: AssetAsked): Promise<Answer> {
  const type = /^[a-z0-9-]{1,40}\.([a-z]{2,4})$/.exec(name)?.[1] ?? "";
  if (!Object.hasOwn(TYPES, type)) throw new Failure("not-found", `dashboard has no file "${name}"`);
  const path = folder === null ? null : join(folder, name);
  const packed = path === null || !takesGzip(encodings) ? null : await readOrNull(`${path}.gz`);
  const bytes = packed ?? (path === null ? null : await readOrNull(path));
  if (bytes === null) {
    const expected = name === "index.html" ? "npm run build makes it" : "expected one that its page names";
    throw new Failure("not-found", `dashboard has no file "${name}" here; ${expected}`);
  }
  const etag = `"${sha256Hex(bytes).slice(0, 32)}"`;
  const headers = {
    ...HEADERS,
    "cache-control": "no-cache",
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    etag,
    vary: "accept-encoding",
    ...(packed === null ? {} : { "content-encoding": "gzip" }),
  };
  if (isKnown(known, etag)) return { kind: "whole", status: 304, headers, body: "" };
  const typed = { ...headers, "content-type": TYPES[type] ?? "" };
  return { kind: "whole", status: 200, headers: typed, body: bytes };
}

async function readOrNull(path: string): Promise<Buffer | null> {
  try {
    return await readFile(path);
  } catch {
    // Not there, or not readable: for who asks it is the same.
    return null;
  }
}

/** RFC 9110 12.5.3: a list of codings, each of which a weight of 0 rules out. */
function takesGzip(encodings: string | null): boolean {
  const weights = new Map(
    (encodings ?? "").split(",").map((one): readonly [string, string] => {
      const [coding = "", ...parameters] = one.split(";").map((part) => part.trim().toLowerCase());
      return [coding, parameters.find((text) => text.startsWith("q="))?.slice(2) ?? "1"];
    }),
  );
  return Number(weights.get("gzip") ?? weights.get("*") ?? 0) > 0;
}

/** RFC 9110 13.1.2: a list, or `*`; weak ones count as the strong ones they name. */
function isKnown(known: string | null, etag: string): boolean {
  const tags = known?.split(",").map((tag) => tag.trim().replace(/^W\//, "")) ?? [];
  return tags.includes(etag) || tags.includes("*");
}
