/**
 * Format: an entry of the access log as one line.
 *
 * Two forms: JSON, which says everything, and the combined form that Apache and nginx write and every tool reads, with
 * what it has no room for behind it. All of a line is printable ASCII, whatever a client put into its request: nobody
 * writes a line of somebody else, or moves the cursor of who reads it.
 *
 * The query of a target and of a referer is left out, and so are a user and password in a URL: tokens, addresses of
 * people and what they search for travel there, and a log is read by more people than a request. The path tells which
 * part of an application was asked, and that is what a log of traffic is for.
 *
 * Pure. writer.ts writes the lines, sample.ts chooses them.
 */

import { LIMITS } from "../../model/limits.ts";

import type { AccessEntry, HttpFacts } from "./entry.ts";

/** The forms of a line. */
export type AccessFormat = "json" | "combined";

/** Renders one entry, without a line break. */
export function renderAccess(entry: AccessEntry, format: AccessFormat): string {
  return format === "json" ? renderJson(entry) : renderCombined(entry);
}

function renderJson(entry: AccessEntry): string {
  const { http } = entry;
  const line = {
    time: new Date(entry.startedAtMs).toISOString(),
    kind: entry.kind,
    client: clip(entry.client),
    service: entry.service,
    replica: entry.replica,
    node: entry.node,
    result: clip(entry.result),
    ...(http !== null && httpFields(http)),
    bytesFromClient: entry.bytesSent,
    bytesToClient: entry.bytesReceived,
    durationMs: rounded(entry.durationMs),
    retries: entry.retries,
  };
  return JSON.stringify(line).replace(UNPRINTABLE, (char) => `\\u${hex(char, 4)}`);
}

function httpFields(http: HttpFacts): object {
  return {
    status: http.status,
    method: clip(http.method),
    host: clip(http.host),
    path: clip(withoutQuery(http.target)),
    version: http.version,
    proto: http.proto,
    requestId: clip(http.requestId),
    firstByteMs: http.firstByteMs === null ? null : rounded(http.firstByteMs),
    userAgent: clip(http.userAgent),
    referer: clip(withoutQuery(http.referer)),
  };
}

/** What nginx logs of a request whose client left before an answer: readers of the combined form want a number. */
const CLIENT_LEFT = 499;

/**
 * The combined form of Apache's mod_log_config, then service, replica, duration, retries and the result. What is no
 * request has its kind and service in place of the request line, and no status.
 */
function renderCombined(entry: AccessEntry): string {
  const { http, service, replica, node, retries, result } = entry;
  const request =
    http === null
      ? `${entry.kind.toUpperCase()} ${service ?? "-"}`
      : `${clip(http.method)} ${clip(withoutQuery(http.target))} HTTP/${http.version}`;
  const status = http === null ? "-" : http.status === 0 ? CLIENT_LEFT : http.status;
  const where = replica === null ? "-" : `${replica}@${node ?? "-"}`;
  return [
    bare(entry.client),
    "- -",
    `[${combinedTime(entry.startedAtMs)}]`,
    quoted(request),
    status,
    entry.bytesReceived,
    quoted(withoutQuery(http?.referer ?? "")),
    quoted(http?.userAgent ?? ""),
    quoted(service ?? ""),
    quoted(where),
    `${rounded(entry.durationMs)}ms`,
    quoted(retries.join(",")),
    quoted(result),
  ].join(" ");
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** `10/Oct/2000:13:55:36 +0000`. */
function combinedTime(atMs: number): string {
  const iso = new Date(atMs).toISOString();
  const month = MONTHS[Number(iso.slice(5, 7)) - 1] ?? "";
  return `${iso.slice(8, 10)}/${month}/${iso.slice(0, 4)}:${iso.slice(11, 19)} +0000`;
}

/** A field in quotes, escaped as Apache does; `-` for an empty one. */
function quoted(text: string): string {
  if (text === "") return '"-"';
  return `"${escaped(clip(text).replace(/["\\]/g, (char) => `\\${char}`))}"`;
}

/** A field without quotes: a space would make two of it. */
function bare(text: string): string {
  return text === "" ? "-" : escaped(clip(text).replace(/ /g, "_"));
}

/** Everything but printable ASCII. */
const UNPRINTABLE = /[^\x20-\x7e]/g;

/** `\xhh` for each byte that is not printable, as Apache writes it. */
function escaped(text: string): string {
  return text.replace(UNPRINTABLE, (char) => {
    const code = char.charCodeAt(0);
    return code < 0x100 ? `\\x${hex(char, 2)}` : `\\u${hex(char, 4)}`;
  });
}

function hex(char: string, digits: number): string {
  return char.charCodeAt(0).toString(16).padStart(digits, "0");
}

/** The path of a target, or a URL without user, password, query and fragment. */
export function withoutQuery(text: string): string {
  const end = text.search(/[?#]/);
  const path = end === -1 ? text : text.slice(0, end);
  // Up to the last `@` of what can be the authority: a password may have one in it.
  return path.startsWith("/") ? path : path.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/]*@/i, "$1");
}

/** Cut to the bound of one field; what was cut is marked. */
function clip(text: string): string {
  const { accessFieldChars } = LIMITS;
  return text.length <= accessFieldChars ? text : `${text.slice(0, accessFieldChars - 3)}...`;
}

/** Microseconds are enough of a duration. */
function rounded(ms: number): number {
  return Math.max(0, Math.round(ms * 1000) / 1000);
}
