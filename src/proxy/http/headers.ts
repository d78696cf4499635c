/**
 * Headers: what of a message's head passes through the proxy.
 *
 * Framing is written anew instead of copied, and what concerns one connection only (RFC 9110 7.6.1) stops here. Names,
 * order within a name and values of all else pass as they came.
 *
 * Who the client is, upstreams learn from us alone: X-Forwarded-* and Forwarded (RFC 7239) of a client that is not a
 * trusted proxy are dropped, in every spelling that some framework reads as the same name.
 *
 * Pure. Heads are lists of alternating names and values, as node:http gives them.
 */

import type { RequestHead } from "./refusal.ts";

/** How the client reached us. */
export interface ClientFacts {
  /** Its address, without the `::ffff:` of dual-stack sockets. */
  readonly address: string;
  /** The port that it came to. */
  readonly port: number;
  /** True for a proxy whose word on the client before it counts. */
  readonly isTrusted: boolean;
  readonly proto: "http" | "https";
  /** Ours in Via (RFC 9110 7.6.3). */
  readonly pseudonym: string;
  readonly requestId: string;
}

/** Header fields by name as first spelled; several lines of one name keep their order. */
export type HeaderFields = ReadonlyMap<string, readonly string[]>;

const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "http2-settings",
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "transfer-encoding",
  "upgrade",
  // Announces trailers of a chunked body; passed on only where the next hop's is chunked too. Trailers always pass.
  "trailer",
]);

/** Names that a Connection header may not take away: without them the message means something else. */
const NEVER_LISTED: ReadonlySet<string> = new Set(["host", "content-length"]);

const FORWARDED: ReadonlySet<string> = new Set(["forwarded", "x-forwarded", "x-real-ip", "x-request-id"]);

/** All values of one header, in order; `name` in lower case. */
export function valuesOf(rawHeaders: readonly string[], name: string): readonly string[] {
  const values: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const candidate = rawHeaders[at] ?? "";
    if (candidate.length === name.length && candidate.toLowerCase() === name)
      values.push(rawHeaders[at + 1] ?? "");
  }
  return values;
}

/** True when the head announces a body (RFC 9112 6.3). */
export function announcesBody(rawHeaders: readonly string[]): boolean {
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? "";
    if (name.length === 17 && name.toLowerCase() === "transfer-encoding") return true;
    if (name.length !== 14 || name.toLowerCase() !== "content-length") continue;
    if (!/^0*$/.test(rawHeaders[at + 1] ?? "")) return true;
  }
  return false;
}

/**
 * The header fields to send upstream: end-to-end ones as they came, the body's framing, and who the client is.
 *
 * A body of unknown length is framed as chunked whatever the method: node:http would send that of a DELETE bare, and
 * the upstream would read it as the next request. DELETE and OPTIONS without a body say so, as old servers wait for it.
 *
 * @param hasBody  of HTTP/2, where neither a length nor a coding need announce one
 */
export function upstreamFields(head: RequestHead, client: ClientFacts, hasBody: boolean): HeaderFields {
  const { rawHeaders, method, httpVersion } = head;
  const fields = new Fields(endToEnd(rawHeaders, client.isTrusted));
  const isChunked = hasBody && !fields.has("content-length");
  if (isChunked) fields.set("transfer-encoding", "chunked");
  else if ((method === "DELETE" || method === "OPTIONS") && !fields.has("content-length")) {
    fields.set("content-length", "0");
  }
  if (isChunked) fields.add("Trailer", valuesOf(rawHeaders, "trailer"));
  // RFC 9110 10.1.4: of this hop, but said on for a client that takes trailers, as they pass.
  if (takesTrailers(rawHeaders)) {
    fields.set("TE", "trailers");
    fields.set("Connection", "keep-alive, TE");
  }
  // The proxy answers it itself: it knows when there is an upstream to take the body.
  fields.remove("expect");
  const hopsLeft = hopsOf(method, fields.joined("max-forwards"));
  if (hopsLeft !== null) fields.set("max-forwards", String(hopsLeft - 1));
  addForwarded(fields, client, valuesOf(rawHeaders, "host")[0] ?? "");
  const via = fields.joined("via");
  const hop = `${httpVersion} ${client.pseudonym}`;
  fields.set("via", via === "" ? hop : `${via}, ${hop}`, "Via");
  fields.set("x-request-id", client.requestId, "X-Request-Id");
  return fields.toMap();
}

/** The fields of a WebSocket handshake to send upstream: as `upstreamFields`, with the upgrade it asks for. */
export function upgradeFields(head: RequestHead, client: ClientFacts): HeaderFields {
  const fields = new Map(upstreamFields(head, client, false));
  fields.set("Connection", ["Upgrade"]);
  fields.set("Upgrade", ["websocket"]);
  return fields;
}

/**
 * How many more hops an OPTIONS request may go (RFC 9110 7.6.2); null when it does not say.
 *
 * @param value  of Max-Forwards; empty for none
 */
export function hopsOf(method: string, value: string): number | null {
  return method === "OPTIONS" && /^\d{1,9}$/.test(value) ? Number(value) : null;
}

/** The headers of an upstream's answer to pass to the client: end-to-end ones as they came. */
export function clientHeaders(rawHeaders: readonly string[]): string[] {
  const listed = listedIn(rawHeaders);
  const kept: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? "";
    if (!isDropped(name.toLowerCase(), listed)) kept.push(name, rawHeaders[at + 1] ?? "");
  }
  return kept;
}

/**
 * The headers of a final answer to pass to the client: end-to-end ones as they came, but for what would be at odds with
 * the body that the client gets.
 *
 * The names of trailers to come are passed where that body is chunked. A length is not where there is none by the
 * status: of 204 (RFC 9110 8.6), and over HTTP/2 of 205 too, as node ends the stream with its head.
 */
export function answerHeaders(
  { method, httpVersion }: Pick<RequestHead, "method" | "httpVersion">,
  status: number,
  rawHeaders: readonly string[],
): string[] {
  const headers = clientHeaders(rawHeaders);
  if (status === 204 || (status === 205 && httpVersion === "2.0")) return without(headers, "content-length");
  const isChunked = valuesOf(rawHeaders, "transfer-encoding").length > 0;
  if (!isChunked || httpVersion === "1.0" || method === "HEAD" || status === 304) return headers;
  for (const value of valuesOf(rawHeaders, "trailer")) headers.push("Trailer", value);
  return headers;
}

function without(headers: readonly string[], name: string): string[] {
  return headers.filter((_, at) => headers[at - (at % 2)]?.toLowerCase() !== name);
}

/** Trailers to pass on: none that would frame, route, authenticate or tell of the client (RFC 9110 6.5.1). */
export function endToEndTrailers(rawTrailers: readonly string[]): string[] {
  if (rawTrailers.length === 0) return [];
  const kept = clientHeaders(rawTrailers);
  return kept.filter((_, at) => {
    const name = (kept[at - (at % 2)] ?? "").toLowerCase();
    return !NO_TRAILER.has(name) && !tellsOfClient(name);
  });
}

const NO_TRAILER: ReadonlySet<string> = new Set([
  "authorization",
  "cache-control",
  "content-encoding",
  "content-length",
  "content-range",
  "content-type",
  "cookie",
  "expect",
  "host",
  "max-forwards",
  "range",
  "set-cookie",
  "via",
]);

/** True for a client that takes trailers (RFC 9110 10.1.4). */
function takesTrailers(rawHeaders: readonly string[]): boolean {
  return valuesOf(rawHeaders, "te").some((value) => /(?:^|,)\s*trailers\s*(?:$|,)/i.test(value));
}

function endToEnd(rawHeaders: readonly string[], isTrusted: boolean): readonly string[] {
  const kept = clientHeaders(rawHeaders);
  if (isTrusted) return kept;
  return kept.filter((_, at) => !tellsOfClient(kept[at - (at % 2)] ?? ""));
}

/**
 * True for headers that speak of the client before us, or name its request; `_` for `-` is how CGI-like interfaces see
 * both.
 */
function tellsOfClient(name: string): boolean {
  const first = name.charCodeAt(0) | 0x20;
  if (first !== LETTER_X && first !== LETTER_F) return false;
  const plain = name.toLowerCase().replaceAll("_", "-");
  return plain.startsWith("x-forwarded-") || FORWARDED.has(plain);
}

const LETTER_X = 0x78;
const LETTER_F = 0x66;

function isDropped(name: string, listed: ReadonlySet<string>): boolean {
  return HOP_BY_HOP.has(name) || (listed.has(name) && !NEVER_LISTED.has(name));
}

const NOTHING_LISTED: ReadonlySet<string> = new Set();

/** The names that Connection headers declare to be of this hop only, in lower case. */
function listedIn(rawHeaders: readonly string[]): ReadonlySet<string> {
  const values = valuesOf(rawHeaders, "connection");
  if (values.length === 0) return NOTHING_LISTED;
  const options = values.flatMap((value) => value.split(","));
  return new Set(options.map((option) => option.trim().toLowerCase()));
}

function addForwarded(fields: Fields, client: ClientFacts, host: string): void {
  const before = fields.joined("x-forwarded-for");
  const chain = before === "" ? client.address : `${before}, ${client.address}`;
  fields.set("x-forwarded-for", chain, "X-Forwarded-For");
  if (!fields.has("x-forwarded-proto")) fields.set("x-forwarded-proto", client.proto, "X-Forwarded-Proto");
  if (!fields.has("x-forwarded-port"))
    fields.set("x-forwarded-port", String(client.port), "X-Forwarded-Port");
  if (host !== "" && !fields.has("x-forwarded-host"))
    fields.set("x-forwarded-host", host, "X-Forwarded-Host");
  const node = client.address.includes(":") ? `"[${client.address}]"` : client.address;
  const hostPart = host === "" ? "" : `;host="${host}"`;
  const element = `for=${node}${hostPart};proto=${client.proto}`;
  const elements = fields.joined("forwarded");
  fields.set("forwarded", elements === "" ? element : `${elements}, ${element}`, "Forwarded");
}

/**
 * The client that a trusted proxy tells of: the last in its chain that is no trusted proxy itself, since what stands
 * before that one is the client's own word. Its own address where it tells of none.
 */
export function toldClient(
  rawHeaders: readonly string[],
  address: string,
  isTrusted: (address: string) => boolean,
): string {
  const chain = valuesOf(rawHeaders, "x-forwarded-for").flatMap((value) => value.split(","));
  let client = address;
  while (isTrusted(client)) {
    const before = chain.pop()?.trim();
    if (before === undefined || !/^[0-9A-Fa-f:.]{2,45}$/.test(before)) break;
    client = before;
  }
  return client;
}

/** Header fields under construction; names are compared without case, and keep the spelling they came in. */
class Fields {
  readonly #byName = new Map<string, { readonly name: string; readonly values: string[] }>();

  constructor(rawHeaders: readonly string[]) {
    for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
      const name = rawHeaders[at] ?? "";
      const lower = name.toLowerCase();
      const value = rawHeaders[at + 1] ?? "";
      const known = this.#byName.get(lower);
      if (known === undefined) this.#byName.set(lower, { name, values: [value] });
      else known.values.push(value);
    }
  }

  has(name: string): boolean {
    return this.#byName.has(name);
  }

  joined(name: string): string {
    return this.#byName.get(name)?.values.join(", ") ?? "";
  }

  /** Sets a field; a spelling is for one that was not there. */
  set(name: string, value: string, spelling = name): void {
    this.#byName.set(name.toLowerCase(), { name: spelling, values: [value] });
  }

  add(name: string, values: readonly string[]): void {
    if (values.length > 0) this.#byName.set(name.toLowerCase(), { name, values: [...values] });
  }

  remove(name: string): void {
    this.#byName.delete(name);
  }

  toMap(): Map<string, readonly string[]> {
    const map = new Map<string, readonly string[]>();
    for (const { name, values } of this.#byName.values()) map.set(name, values);
    return map;
  }
}
