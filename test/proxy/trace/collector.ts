// A collector that takes OTLP over HTTP in JSON, and does with it what a test tells it to.

import { createServer, type IncomingHttpHeaders } from "node:http";
import type { TestContext } from "node:test";

import { listening } from "../fixtures.ts";

/** A span as it arrives. */
export interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly {
    readonly key: string;
    readonly value: { readonly stringValue?: string; readonly intValue?: string };
  }[];
  readonly status?: { readonly code: number };
}

/** A message as it arrives. */
export interface Batch {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: Span["attributes"] };
    readonly scopeSpans: readonly { readonly spans: readonly Span[] }[];
  }[];
}

/** How it answers: a status and a body, or nothing at all for null. */
export type Manner = (count: number) => { readonly status: number; readonly body?: string } | null;

/** A collector that runs. */
export interface Collector {
  readonly port: number;
  /** What came: heads, and the spans of each message. */
  readonly heads: readonly { readonly path: string; readonly headers: IncomingHttpHeaders }[];
  readonly batches: readonly Batch[];
  readonly spans: () => readonly Span[];
}

/** Starts one on a free port of 127.0.0.1; closed when the test ends. */
export async function startCollector(
  t: TestContext,
  manner: Manner = () => ({ status: 200, body: "{}" }),
): Promise<Collector> {
  const heads: { path: string; headers: IncomingHttpHeaders }[] = [];
  const batches: Batch[] = [];
  const server = createServer((request, response) => {
    let text = "";
    request.setEncoding("utf8");
    request.on("data", (chunk: string) => (text += chunk));
    request.on("end", () => {
      heads.push({ path: request.url ?? "", headers: request.headers });
      const answer = manner(heads.length);
      if (answer === null) return;
      if (answer.status === 200) batches.push(JSON.parse(text) as Batch);
      response.writeHead(answer.status).end(answer.body ?? "");
    });
  });
  const port = await listening(t, server);
  const spans = (): readonly Span[] =>
    batches.flatMap(({ resourceSpans }) =>
      resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans)),
    );
  return { port, heads, batches, spans };
}
