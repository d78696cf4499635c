/**
 * Exporter: sends spans to a collector, by OTLP over HTTP in JSON.
 *
 * Traffic never waits for it. Spans queue up within a bound and go out in batches, one at a time; what finds no room,
 * or is not taken, is dropped and counted, and told once until spans are taken again. A batch is sent again only where
 * the collector says that it may be (OTLP/HTTP: 429, 502, 503, 504) or nobody was there, a few times.
 *
 * Small, and our own: OpenTelemetry's SDK keeps contexts and processors for what is one list here, and would take more
 * memory than the whole daemon is to have beside its traffic.
 *
 * Touches: connections to the collector, timers, random numbers, the time of day.
 */

import { randomFillSync } from "node:crypto";
import { Agent, request as httpRequest, type ClientRequest, type IncomingMessage } from "node:http";
import { Agent as SecureAgent, request as httpsRequest } from "node:https";
import { setTimeout as delay } from "node:timers/promises";

import { backoffMs, type BackoffRange } from "../../base/backoff.ts";
import { Failure, textOf } from "../../base/failure.ts";
import type { Random } from "../../base/random.ts";
import { LIMITS } from "../../model/limits.ts";
import { nowMs, wallMs } from "../../runtime/clock.ts";
import type { Log } from "../../runtime/log.ts";
import type { Metrics } from "../../runtime/metrics.ts";

import { renderBatch, renderSpans, type Resource } from "./otlp.ts";
import type { RequestSpan } from "./span.ts";

/** Where spans go, and what else it needs. */
export interface ExporterOptions {
  /** Where they are posted to; `https:` is judged by the system's authorities. */
  readonly endpoint: string;
  /** Sent along, such as a key of the collector's; never told. */
  readonly headers: Readonly<Record<string, string>>;
  readonly resource: Resource;
  readonly log: Log;
  readonly metrics: Pick<Metrics, "spansExported" | "spansDropped">;
  readonly random: Random;
  /** Waits that differ from PACE; for tests. */
  readonly pace?: Partial<Pace>;
}

/** Sends spans. */
export interface Exporter {
  /** Takes a request that is over. Never throws, never blocks. */
  readonly finish: (span: RequestSpan) => void;
  /** Why spans are not taken at the moment; null when they are. */
  readonly problem: string | null;
  /** Sends what waits, as far as that takes no longer than a moment. */
  close(): Promise<void>;
}

/** Its waits, in milliseconds. */
export interface Pace {
  /** Spans are gathered for so long: nobody reads a trace sooner. */
  readonly gatherMs: number;
  /** For the collector's answer. */
  readonly answerMs: number;
  readonly again: BackoffRange;
  /** For the last spans of a daemon that stops. */
  readonly closeMs: number;
}

const PACE: Pace = {
  gatherMs: 1000,
  answerMs: 5000,
  again: { firstMs: 1000, longestMs: 10_000 },
  closeMs: 1000,
};
/** Tries of one batch: behind it others wait, and the queue is bounded. */
const TRIES_MAX = 4;
/** The queue is looked at sooner when it holds so many: a batch. */
const EAGER = LIMITS.spanBatchMax;

/** What became of one try. */
type Outcome =
  | { readonly kind: "taken"; readonly rejected: number }
  | { readonly kind: "again" | "refused"; readonly why: string };

/** Opens an exporter; connects when there is something to send. */
export function openExporter(options: ExporterOptions): Exporter {
  return new QueuedSpans(options);
}

class QueuedSpans implements Exporter {
  readonly #options: ExporterOptions;
  readonly #pace: Pace;
  readonly #post: Post;
  readonly #stopping = new AbortController();
  #spans: string[] = [];
  #queuedBytes = 0;
  #timer: NodeJS.Timeout | null = null;
  #sending: Promise<void> | null = null;
  #lost: number | null = null;
  problem: string | null = null;

  constructor(options: ExporterOptions) {
    this.#options = options;
    this.#pace = { ...PACE, ...options.pace };
    this.#post = openPost(options.endpoint, options.headers, this.#pace.answerMs);
  }

  readonly finish = (span: RequestSpan): void => {
    const spans = renderSpans(span, wallMs() - nowMs());
    const bytes = spans.reduce((sum, text) => sum + text.length, 0);
    if (this.#stopping.signal.aborted || this.#queuedBytes + bytes > LIMITS.spanQueueBytes) {
      this.#lose(spans.length, "queue", "the collector takes them too slowly");
      return;
    }
    this.#spans.push(...spans);
    this.#queuedBytes += bytes;
    this.#schedule(this.#spans.length >= EAGER ? 0 : this.#pace.gatherMs);
  };

  async close(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    const { promise: late, resolve: onLate } = Promise.withResolvers<void>();
    const timer = setTimeout(onLate, this.#pace.closeMs);
    await Promise.race([this.#sending, late]);
    this.#sending ??= this.#send();
    await Promise.race([this.#sending, late]);
    clearTimeout(timer);
    this.#stopping.abort();
    this.#post.close();
    await this.#sending;
    if (this.#spans.length > 0) this.#lose(this.#spans.length, "queue", "the daemon stops");
    this.#spans = [];
  }

  #schedule(afterMs: number): void {
    if (this.#sending !== null || this.#stopping.signal.aborted) return;
    if (this.#timer !== null && afterMs > 0) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#sending = this.#send().finally(() => {
        this.#sending = null;
        if (this.#spans.length > 0) this.#schedule(this.#pace.gatherMs);
      });
    }, afterMs);
  }

  /** Sends all that waits, batch by batch. Never rejects. */
  async #send(): Promise<void> {
    while (this.#spans.length > 0 && !this.#stopping.signal.aborted) {
      const batch = this.#take();
      const outcome = await this.#sendBatch(batch);
      if (outcome.kind === "taken") this.#found(batch.length, outcome.rejected);
      else {
        const reason = outcome.kind === "again" ? "unreachable" : "refused";
        this.#lose(batch.length, reason, outcome.why);
      }
    }
  }

  async #sendBatch(batch: readonly string[]): Promise<Outcome> {
    const body = Buffer.from(renderBatch(batch, this.#options.resource));
    const { signal } = this.#stopping;
    for (let tries = 1; ; tries += 1) {
      const outcome = await this.#post.send(body);
      if (outcome.kind !== "again" || tries >= TRIES_MAX || signal.aborted) return outcome;
      this.problem = outcome.why;
      const pauseMs = backoffMs(this.#pace.again, tries - 1, this.#options.random);
      try {
        await delay(pauseMs, undefined, { signal });
      } catch {
        // The daemon stops.
        return outcome;
      }
    }
  }

  #take(): readonly string[] {
    let taken = 0;
    let bytes = 0;
    for (; taken < Math.min(this.#spans.length, LIMITS.spanBatchMax); taken += 1) {
      const next = this.#spans[taken]?.length ?? 0;
      if (taken > 0 && bytes + next > LIMITS.spanBatchBytes) break;
      bytes += next;
    }
    this.#queuedBytes -= bytes;
    return this.#spans.splice(0, taken);
  }

  #lose(count: number, reason: "queue" | "unreachable" | "refused", why: string): void {
    const { log, metrics, endpoint } = this.#options;
    metrics.spansDropped.inc({ reason }, count);
    if (this.#lost === null) log.warn(`traces: ${whereOf(endpoint)}: ${why}; spans are dropped`);
    this.#lost = (this.#lost ?? 0) + count;
    this.problem = why;
  }

  #found(count: number, rejected: number): void {
    const { log, metrics, endpoint } = this.#options;
    metrics.spansExported.inc(count - rejected);
    if (rejected > 0) {
      this.#lose(rejected, "refused", `the collector refused ${rejected} of ${count} spans`);
      return;
    }
    this.problem = null;
    if (this.#lost === null) return;
    log.info(`traces: ${whereOf(endpoint)} takes spans again; ${this.#lost} were dropped`);
    this.#lost = null;
  }
}

/** The endpoint as it is told: some collectors have a key in its path. */
function whereOf(endpoint: string): string {
  return new URL(endpoint).origin;
}

/** Posts bodies, one at a time, over a connection that is kept. */
interface Post {
  send(body: Buffer): Promise<Outcome>;
  /** Ends what is under way. */
  close(): void;
}

const AGAIN: ReadonlySet<number> = new Set([429, 502, 503, 504]);

function openPost(endpoint: string, headers: Readonly<Record<string, string>>, answerMs: number): Post {
  const isSecure = endpoint.startsWith("https:");
  const agent = new (isSecure ? SecureAgent : Agent)({ keepAlive: true, maxSockets: 1 });
  let current: ClientRequest | null = null;
  const ask = (body: Buffer): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const request = (isSecure ? httpsRequest : httpRequest)(endpoint, {
        method: "POST",
        agent,
        headers: { ...headers, "content-type": "application/json", "content-length": body.byteLength },
      });
      current = request;
      request.once("response", resolve);
      // Nobody asked for another protocol; without a listener node would tell neither an answer nor an error.
      request.once("upgrade", (response, socket) => {
        socket.destroy();
        resolve(response);
      });
      request.on("error", reject);
      // However it ends, the next batch must have its turn; what came before this is what counts.
      request.once("close", () => reject(new Failure("unreachable", "broke off without an answer")));
      request.end(body);
    });
  return {
    async send(body) {
      const timer = setTimeout(() => {
        current?.destroy(new Failure("timeout", `no answer in ${answerMs} ms`));
      }, answerMs);
      try {
        const response = await ask(body);
        const status = response.statusCode ?? 0;
        // The head decides: a batch that was taken is not sent again because of what is said behind it.
        const text = await bodyOf(response).catch(() => "");
        if (status >= 200 && status < 300) return { kind: "taken", rejected: rejectedIn(text) };
        return { kind: AGAIN.has(status) ? "again" : "refused", why: `answered ${status}` };
      } catch (thrown) {
        return { kind: "again", why: textOf(thrown) };
      } finally {
        clearTimeout(timer);
        current = null;
      }
    },
    close() {
      current?.destroy(new Failure("timeout", "the daemon stops"));
      agent.destroy();
    },
  };
}

/** An answer's body, as much of it as anybody needs. */
async function bodyOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > LIMITS.collectorAnswerBytes) {
      throw new Failure("invalid", `the answer is over ${LIMITS.collectorAnswerBytes} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** How many spans of a message were not taken (OTLP/HTTP, partial success). */
function rejectedIn(text: string): number {
  try {
    const parsed: unknown = JSON.parse(text);
    const partial = (parsed as { partialSuccess?: { rejectedSpans?: unknown } } | null)?.partialSuccess;
    const count = Number(partial?.rejectedSpans ?? 0);
    return Number.isSafeInteger(count) && count > 0 ? Math.min(count, LIMITS.spanBatchMax) : 0;
  } catch {
    // An empty body, or one in another form: it was taken, the status says.
    return 0;
  }
}

/** Makes ids: random bytes in hexadecimal, never all zero. Random numbers are fetched many at a time. */
export function openIds(): (sizeBytes: number) => string {
  const pool = Buffer.alloc(4096);
  let at = pool.length;
  return (sizeBytes) => {
    for (;;) {
      if (at + sizeBytes > pool.length) {
        randomFillSync(pool);
        at = 0;
      }
      const id = pool.toString("hex", at, at + sizeBytes);
      at += sizeBytes;
      if (!/^0+$/.test(id)) return id;
    }
  };
}
