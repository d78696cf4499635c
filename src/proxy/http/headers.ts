/**
 * Headers: what of a message's head passes through the proxy, and which heads are refused.
 *
 * Two programs that read one message differently are how requests are smuggled, so a head with two meanings is
 * refused, framing is written anew instead of copied, and what concerns one connection only (RFC 9110 7.6.1) stops
 * here. Names, order within a name and values of all else pass as they came.
 *
 * Who the client is, upstreams learn from us alone: X-Forwarded-* and Forwarded (RFC 7239) of a client that is not a
 * trusted proxy are dropped, in every spelling that some framework reads as the same name.
 *
 * Pure. Heads are lists of alternating names and values, as node:http gives them.
 */

/** A request's head as it was received. */
export interface RequestHead {
  readonly method: string;
  /** The request target, byte for byte. */
  readonly target: string;
  /** `1.0` or `1.1`. */
  readonly httpVersion: string;
  readonly rawHeaders: readonly string[];
}

/** How the client reached us. */
export interface ClientFacts {
  /** Its address, without the `::ffff:` of dual-stack sockets. */
  readonly address: string;
  /** True for a proxy whose word on the client before it counts. */
  readonly isTrusted: boolean;
  readonly proto: "http" | "https";
}

/** A refusal, ready to be answered. */
export interface HeadRefusal {
  readonly status: number;
  readonly reason: string;
}

/** Header fields by name as first spelled; several lines of one name keep their order. */
export type HeaderFields = ReadonlyMap<string, readonly string[]>;

/** The answer to CONNECT: nobody tunnels through here. */
export const CONNECT_REFUSAL: HeadRefusal = { status: 501, reason: "CONNECT is not offered here" };

const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "transfer-encoding",
  "upgrade",
  // Announces trailers of a chunked body; whether the next hop's is chunked is not known yet. Trailers still pass.
  "trailer",
]);

/** Names that a Connection header may not take away: without them the message means something else. */
const NEVER_LISTED: ReadonlySet<string> = new Set(["host", "content-length"]);

const FORWARDED: ReadonlySet<string> = new Set(["forwarded", "x-real-ip"]);

const HOST = /^(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?$/;

/**
 * Why a request's head is refused; null for a good one.
 *
 * Refuses what smuggling is made of (RFC 9112 6.1, 11.2): Content-Length beside Transfer-Encoding, several lengths,
 * codings other than chunked; no Host, several, or one that is no host (RFC 9112 3.2); and targets that are meant for
 * a forward proxy: CONNECT, absolute form.
 */
export function refusalOf(head: RequestHead): HeadRefusal | null {
  if (head.method === "CONNECT") return CONNECT_REFUSAL;
  if (!head.target.startsWith("/") && !(head.target === "*" && head.method === "OPTIONS")) {
    return { status: 400, reason: "the request target must start with a slash" };
  }
  return framingRefusal(head) ?? hostRefusal(head);
}

function framingRefusal(head: RequestHead): HeadRefusal | null {
  const lengths = valuesOf(head.rawHeaders, "content-length");
  const codings = valuesOf(head.rawHeaders, "transfer-encoding");
  if (lengths.length > 0 && codings.length > 0) {
    return { status: 400, reason: "both Content-Length and Transfer-Encoding are given" };
  }
  if (lengths.length > 1 || lengths.some((length) => !/^\d+$/.test(length))) {
    return { status: 400, reason: "Content-Length must be given once, in digits" };
  }
  if (codings.length === 0) return null;
  if (head.httpVersion === "1.0") return { status: 400, reason: "HTTP/1.0 has no Transfer-Encoding" };
  const isChunked = codings.length === 1 && codings[0]?.toLowerCase() === "chunked";
  return isChunked ? null : { status: 501, reason: "Transfer-Encoding must be chunked, once" };
}

function hostRefusal(head: RequestHead): HeadRefusal | null {
  const hosts = valuesOf(head.rawHeaders, "host");
  const [host] = hosts;
  if (hosts.length > 1) return { status: 400, reason: "several Host headers are given" };
  if (host === undefined) {
    return head.httpVersion === "1.0" ? null : { status: 400, reason: "the Host header is missing" };
  }
  return host === "" || HOST.test(host) ? null : { status: 400, reason: "the Host header is not a host" };
}

/** All values of one header, in order; `name` in lower case. */
export function valuesOf(rawHeaders: readonly string[], name: string): readonly string[] {
  const values: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    if (rawHeaders[at]?.toLowerCase() === name) values.push(rawHeaders[at + 1] ?? "");
  }
  return values;
}

/** True when the head announces a body (RFC 9112 6.3). */
export function announcesBody(rawHeaders: readonly string[]): boolean {
  if (valuesOf(rawHeaders, "transfer-encoding").length > 0) return true;
  return valuesOf(rawHeaders, "content-length").some((length) => !/^0*$/.test(length));
}

/**
 * The header fields to send upstream: end-to-end ones as they came, the body's framing, and who the client is.
 *
 * A body of unknown length is framed as chunked whatever the method: node:http would send that of a DELETE bare, and
 * the upstream would read it as the next request. DELETE and OPTIONS without a body say so, as old servers wait for it.
 */
export function upstreamFields(head: RequestHead, client: ClientFacts): HeaderFields {
  const fields = new Fields(endToEnd(head.rawHeaders, client.isTrusted));
  if (valuesOf(head.rawHeaders, "transfer-encoding").length > 0) {
    fields.set("transfer-encoding", "chunked");
  } else if ((head.method === "DELETE" || head.method === "OPTIONS") && !fields.has("content-length")) {
    fields.set("content-length", "0");
  }
  // The proxy answers it itself: it knows when there is an upstream to take the body.
  fields.remove("expect");
  addForwarded(fields, client, valuesOf(head.rawHeaders, "host")[0] ?? "");
  return fields.toMap();
}

/** The fields of a WebSocket handshake to send upstream: as `upstreamFields`, with the upgrade it asks for. */
export function upgradeFields(head: RequestHead, client: ClientFacts): HeaderFields {
  const fields = new Map(upstreamFields(head, client));
  fields.set("Connection", ["Upgrade"]);
  fields.set("Upgrade", ["websocket"]);
  return fields;
}

/** The headers of an upstream's response, or its trailers, to pass to the client: end-to-end ones as they came. */
export function clientHeaders(rawHeaders: readonly string[]): string[] {
  const listed = listedIn(rawHeaders);
  const kept: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? "";
    if (!isDropped(name.toLowerCase(), listed)) kept.push(name, rawHeaders[at + 1] ?? "");
  }
  return kept;
}

function endToEnd(rawHeaders: readonly string[], isTrusted: boolean): readonly string[] {
  const kept = clientHeaders(rawHeaders);
  if (isTrusted) return kept;
  return kept.filter((_, at) => !tellsOfClient(kept[at - (at % 2)] ?? ""));
}

/** True for headers that speak of the client before us; `_` for `-` is how CGI-like interfaces see both. */
function tellsOfClient(name: string): boolean {
  const plain = name.toLowerCase().replaceAll("_", "-");
  return plain.startsWith("x-forwarded-") || FORWARDED.has(plain);
}

function isDropped(name: string, listed: ReadonlySet<string>): boolean {
  return HOP_BY_HOP.has(name) || (listed.has(name) && !NEVER_LISTED.has(name));
}

/** The names that Connection headers declare to be of this hop only, in lower case. */
function listedIn(rawHeaders: readonly string[]): ReadonlySet<string> {
  const options = valuesOf(rawHeaders, "connection").flatMap((value) => value.split(","));
  return new Set(options.map((option) => option.trim().toLowerCase()));
}

function addForwarded(fields: Fields, client: ClientFacts, host: string): void {
  const before = fields.joined("x-forwarded-for");
  const chain = before === "" ? client.address : `${before}, ${client.address}`;
  fields.set("X-Forwarded-For", chain);
  if (!fields.has("x-forwarded-proto")) fields.set("X-Forwarded-Proto", client.proto);
  if (host !== "" && !fields.has("x-forwarded-host")) fields.set("X-Forwarded-Host", host);
  const node = client.address.includes(":") ? `"[${client.address}]"` : client.address;
  const hostPart = host === "" ? "" : `;host="${host}"`;
  const element = `for=${node}${hostPart};proto=${client.proto}`;
  const elements = fields.joined("forwarded");
  fields.set("Forwarded", elements === "" ? element : `${elements}, ${element}`);
}

/** Header fields under construction; names are compared without case, and keep the spelling they came in. */
class Fields {
  readonly #byName = new Map<string, { readonly name: string; readonly values: string[] }>();

  constructor(rawHeaders: readonly string[]) {
    for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
      const name = rawHeaders[at] ?? "";
      const value = rawHeaders[at + 1] ?? "";
      const known = this.#byName.get(name.toLowerCase());
      if (known === undefined) this.#byName.set(name.toLowerCase(), { name, values: [value] });
      else known.values.push(value);
    }
  }

  has(name: string): boolean {
    return this.#byName.has(name);
  }

  joined(name: string): string {
    return this.#byName.get(name)?.values.join(", ") ?? "";
  }

  set(name: string, value: string): void {
    this.#byName.set(name.toLowerCase(), { name, values: [value] });
  }

  remove(name: string): void {
    this.#byName.delete(name);
  }

  toMap(): Map<string, readonly string[]> {
    return new Map([...this.#byName.values()].map(({ name, values }) => [name, values]));
  }
}
