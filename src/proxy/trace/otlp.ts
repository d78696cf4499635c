/**
 * OTLP: spans as the OpenTelemetry protocol has them, in JSON (opentelemetry-proto, trace/v1).
 *
 * One request makes a server span and, below it, a client span for each attempt, named and described by OpenTelemetry's
 * semantic conventions for HTTP; what they have no word for is called `skein.*`. Queries are left out as in the access
 * log, and texts are cut to the same bound, so that no client makes a span of any size.
 *
 * Pure.
 */

import { renderHostPort } from "../../base/ip.ts";
import { LIMITS } from "../../model/limits.ts";

import { withoutQuery } from "../access/format.ts";

import type { AttemptSpan, RequestSpan } from "./span.ts";

/** Who sends spans. */
export interface Resource {
  readonly version: string;
  readonly nodeId: string;
  readonly nodeName: string;
}

type Value = string | number;
type Attributes = Readonly<Record<string, Value | null>>;

const KIND_SERVER = 2;
const KIND_CLIENT = 3;
const STATUS_ERROR = 2;
/** The flags tell whether the parent was elsewhere (trace.proto, SpanFlags). */
const KNOWS_REMOTE = 0x100;
const IS_REMOTE = 0x200;

/** Methods that are their own name; any other is told beside (semantic conventions, http.request.method). */
const METHODS: ReadonlySet<string> = new Set(
  "CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT QUERY TRACE".split(" "),
);

/**
 * The spans of a request, each as JSON.
 *
 * @param offsetMs  what the time of day is ahead of the clock that the request was timed by
 */
export function renderSpans(span: RequestSpan, offsetMs: number): readonly string[] {
  const endedAtMs = span.entry.startedAtMs + span.entry.durationMs;
  const attempts = span.attempts.map((attempt, at) => clientSpan(span, attempt, { at, endedAtMs, offsetMs }));
  return [serverSpan(span, { endedAtMs, offsetMs }), ...attempts].map((one) => JSON.stringify(one));
}

/** A message of spans that `renderSpans` made. */
export function renderBatch(spans: readonly string[], { version, nodeId, nodeName }: Resource): string {
  const attributes = attributesOf({
    "service.name": "skein",
    "service.version": version,
    "service.instance.id": nodeId,
    "host.name": nodeName,
  });
  const resource = JSON.stringify({ attributes });
  const scope = JSON.stringify({ name: "skein", version });
  const scopeSpans = `{"scope":${scope},"spans":[${spans.join(",")}]}`;
  return `{"resourceSpans":[{"resource":${resource},"scopeSpans":[${scopeSpans}]}]}`;
}

function serverSpan(
  { traceId, parentId, spanId, flags, entry }: RequestSpan,
  { endedAtMs, offsetMs }: { readonly endedAtMs: number; readonly offsetMs: number },
): object {
  const { http, result, service } = entry;
  const method = http?.method ?? "";
  const [address, port] = splitHost(http?.host ?? "");
  const status = http?.status ?? 0;
  const error = status >= 500 ? String(status) : result === "ok" || status >= 400 ? null : result;
  // An application's refusal is no fault of the server, and neither is a client that leaves (semantic conventions).
  const isFault = status >= 500 || (error !== null && !error.startsWith("client "));
  return {
    traceId,
    spanId,
    ...(parentId !== null && { parentSpanId: parentId }),
    flags: flags | KNOWS_REMOTE | IS_REMOTE,
    name: nameOf(method),
    kind: KIND_SERVER,
    ...timesOf(entry.startedAtMs + offsetMs, endedAtMs + offsetMs),
    attributes: attributesOf({
      ...methodOf(method),
      "url.scheme": http?.proto ?? null,
      "url.path": clip(withoutQuery(http?.target ?? "")),
      "server.address": address,
      "server.port": port,
      "client.address": entry.client,
      "network.protocol.version": http?.version === "2.0" ? "2" : (http?.version ?? null),
      "user_agent.original": clip(http?.userAgent ?? ""),
      "http.response.status_code": status === 0 ? null : status,
      "error.type": error,
      "skein.request_id": http?.requestId ?? null,
      "skein.service": service,
    }),
    ...(isFault && { status: { code: STATUS_ERROR, message: result } }),
  };
}

function clientSpan(
  { traceId, spanId, flags, entry }: RequestSpan,
  attempt: AttemptSpan,
  { at, endedAtMs, offsetMs }: { readonly at: number; readonly endedAtMs: number; readonly offsetMs: number },
): object {
  const { upstream, status } = attempt;
  const method = entry.http?.method ?? "";
  const host = renderHostPort({ host: upstream.address, port: upstream.port });
  const silent = attempt.endedAtMs === null && status === 0 ? entry.result : null;
  const error = attempt.error ?? (status >= 400 ? String(status) : silent);
  return {
    traceId,
    spanId: attempt.spanId,
    parentSpanId: spanId,
    flags: flags | KNOWS_REMOTE,
    name: nameOf(method),
    kind: KIND_CLIENT,
    ...timesOf(attempt.startedAtMs + offsetMs, (attempt.endedAtMs ?? endedAtMs) + offsetMs),
    attributes: attributesOf({
      ...methodOf(method),
      "url.full": clip(`http://${host}${withoutQuery(entry.http?.target ?? "")}`),
      "server.address": upstream.address,
      "server.port": upstream.port,
      "http.response.status_code": status === 0 ? null : status,
      "http.request.resend_count": at === 0 ? null : at,
      "error.type": error,
      "skein.service": upstream.service,
      "skein.replica": upstream.replica,
      "skein.node": upstream.nodeName,
    }),
    ...(error !== null && { status: { code: STATUS_ERROR, message: error } }),
  };
}

function nameOf(method: string): string {
  return METHODS.has(method) ? method : "HTTP";
}

function methodOf(method: string): Attributes {
  if (METHODS.has(method)) return { "http.request.method": method };
  return { "http.request.method": "_OTHER", "http.request.method_original": clip(method) };
}

/** A Host header's host, without brackets, and its port. */
function splitHost(host: string): readonly [string | null, number | null] {
  const [, name = "", port] = /^\[?(.*?)\]?(?::(\d{1,5}))?$/.exec(clip(host)) ?? [];
  return [name === "" ? null : name, port === undefined ? null : Number(port)];
}

/** In nanoseconds, as text: no number of JSON holds them. Microseconds are what the clock tells. */
function timesOf(startMs: number, endMs: number): object {
  const nanoseconds = (ms: number): string => `${Math.round(ms * 1000)}000`;
  return {
    startTimeUnixNano: nanoseconds(startMs),
    endTimeUnixNano: nanoseconds(Math.max(startMs, endMs)),
  };
}

/** Attributes in OTLP's form; without those that are not known. */
function attributesOf(values: Attributes): readonly object[] {
  return Object.entries(values).flatMap(([key, value]) => {
    if (value === null || value === "") return [];
    // 64-bit numbers are text in OTLP's JSON.
    return { key, value: typeof value === "number" ? { intValue: String(value) } : { stringValue: value } };
  });
}

/** Heads are read as Latin-1, and half of a pair that a cut left over would be no text. */
function clip(text: string): string {
  return text.slice(0, LIMITS.accessFieldChars).toWellFormed();
}
