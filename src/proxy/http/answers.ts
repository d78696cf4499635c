/**
 * Answers: what a client reads when the proxy itself has to answer.
 *
 * A person at a terminal gets one line, a program that asks for JSON a problem object (RFC 9457), a browser a page. All
 * name the reason and an id that the log line of the same failure carries too. The reason says which of the many
 * "unavailable" it is, since what helps differs: no replica at all, none that is healthy, none that answers in time.
 * They tell nothing about addresses inside.
 *
 * Pure.
 */

import { Failure } from "../../base/failure.ts";

import type { AttemptEnd } from "../choice/retry.ts";
import type { Pool } from "../routes.ts";

/** A failure as told to a client. */
export interface ErrorAnswer {
  readonly status: number;
  /** Lower case, for people: `no replica of default/web is available`. */
  readonly reason: string;
  readonly requestId: string;
}

/** A rendered answer: headers as alternating names and values. */
export interface RenderedAnswer {
  readonly headers: string[];
  readonly body: string;
}

const TITLES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  404: "Not Found",
  408: "Request Timeout",
  413: "Content Too Large",
  414: "URI Too Long",
  417: "Expectation Failed",
  421: "Misdirected Request",
  431: "Request Header Fields Too Large",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
  508: "Loop Detected",
};

/** The reason phrase of a status that the proxy answers itself. */
export function titleOf(status: number): string {
  return TITLES[status] ?? "Error";
}

/** What an error may be told as, the one to prefer first. */
const FORMS = [
  { kind: "text", type: "text/plain; charset=utf-8", accepted: ["text/plain"] },
  {
    kind: "json",
    type: "application/problem+json",
    accepted: ["application/problem+json", "application/json"],
  },
  { kind: "html", type: "text/html; charset=utf-8", accepted: ["text/html"] },
] as const;

type Form = (typeof FORMS)[number];

/**
 * Renders an answer in the form the client prefers.
 *
 * @param accept  the Accept header's value; text where it prefers nothing else
 */
export function renderAnswer(answer: ErrorAnswer, accept: string): RenderedAnswer {
  const { status, requestId } = answer;
  const form = preferredForm(accept);
  const body = `${bodyOf(answer, form.kind)}\n`;
  const headers = [
    "Content-Type",
    form.type,
    "Content-Length",
    String(Buffer.byteLength(body)),
    "Cache-Control",
    "no-store",
    "X-Content-Type-Options",
    "nosniff",
    "X-Request-Id",
    requestId,
  ];
  if (status === 503) headers.push("Retry-After", "1");
  return { headers, body };
}

function bodyOf({ status, reason, requestId }: ErrorAnswer, kind: Form["kind"]): string {
  const title = titleOf(status);
  switch (kind) {
    case "text":
      return `${status} ${title}: ${reason} (request ${requestId})`;
    case "json":
      return JSON.stringify({ title, status, detail: reason, requestId });
    case "html": {
      const heading = `${status} ${title}`;
      const head = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${heading}</title></head>`;
      const lines = `<p>${escaped(reason)}</p><p>Request ${escaped(requestId)}</p>`;
      return `${head}<body><h1>${heading}</h1>${lines}</body></html>`;
    }
  }
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);
}

/** The form of the highest weight (RFC 9110 12.5.1), the earlier of FORMS where several have it. */
function preferredForm(accept: string): Form {
  const weightByRange = new Map<string, number>();
  for (const part of accept.split(",")) {
    const [range = "", ...parameters] = part.split(";").map((text) => text.trim().toLowerCase());
    const quality = parameters.find((text) => text.startsWith("q="));
    weightByRange.set(range, quality === undefined ? 1 : Number(quality.slice(2)) || 0);
  }
  const weightOf = ({ accepted }: Form): number =>
    Math.max(
      ...accepted.map((type) => {
        const [group = ""] = type.split("/");
        return weightByRange.get(type) ?? weightByRange.get(`${group}/*`) ?? weightByRange.get("*/*") ?? 0;
      }),
    );
  return FORMS.reduce((best, form) => (weightOf(form) > weightOf(best) ? form : best));
}

/** What came of the attempts of one request, when none gave an answer. */
export interface Outcome {
  /** The last attempt's failure; null when there was no upstream to try. */
  readonly failure: unknown;
  /** How that attempt ended; null when it was given up, or there was none. */
  readonly end: AttemptEnd | null;
  /** Upstreams asked. */
  readonly tried: number;
}

/** What becomes of a request for which no upstream had an answer. */
export interface FailureAnswer {
  readonly status: number;
  /** For the client. */
  readonly reason: string;
  /** For the access log. */
  readonly result: "no replica" | "timed out" | "no answer" | "refused" | "busy";
}

/** What to tell the client of a request for which no upstream had an answer. */
export function failureAnswer({ failure, end, tried }: Outcome, pool: Pool): FailureAnswer {
  const { service } = pool;
  if (tried === 0) return { status: 503, reason: nobodyReason(pool), result: "no replica" };
  if (end === "unsendable")
    return { status: 400, reason: "the request cannot be sent on", result: "refused" };
  const [eligible = []] = pool.tiers;
  const health = eligible.length === 0 ? ", and none of them is healthy" : "";
  if (failure instanceof Failure && failure.code === "timeout") {
    const reason = `no replica of ${service} answered in time${health} (${asked(tried)})`;
    return { status: 504, reason, result: "timed out" };
  }
  // Ours: no socket left, or no turn to open a stream.
  if (failure instanceof Failure && failure.code === "busy") {
    const reason = `no connection to a replica of ${service} could be had (${asked(tried)})`;
    return { status: 503, reason, result: "busy" };
  }
  const reason = `no replica of ${service} gave an answer${health} (${asked(tried)})`;
  return { status: 502, reason, result: "no answer" };
}

function asked(count: number): string {
  return count === 1 ? "one was asked" : `${count} were asked`;
}

/** Of a pool whose tiers are empty: one that is left alone after failures is asked when there is no other. */
function nobodyReason({ service, resting }: Pool): string {
  const nobody = `no replica of ${service} is available`;
  if (resting.length === 0) return `${nobody}: it has none that can be reached`;
  return `${nobody}: those it has are starting, of weight 0 or on a host that is away`;
}
