/**
 * Writer: the access log as the proxy has it: takes entries at once, and writes lines when there is time.
 *
 * Traffic never waits for its log. Lines queue up within a bound and go out in batches, one at a time; what finds no
 * room, or cannot be written, is dropped and counted, and told once until lines can be written again. A reload may
 * change everything about it while entries come.
 *
 * Touches: the sink, a timer, the log, metrics.
 */

import { textOf } from "../../base/failure.ts";
import type { Random } from "../../base/random.ts";
import { LIMITS } from "../../model/limits.ts";
import type { Log } from "../../runtime/log.ts";
import type { Metrics } from "../../runtime/metrics.ts";

import type { AccessEntry, AccessLog } from "./entry.ts";
import { renderAccess, type AccessFormat } from "./format.ts";
import { isLogged, type AccessMode } from "./sample.ts";
import { openSink, type Sink } from "./sink.ts";

/** What is logged, how, and where to. */
export interface AccessSettings {
  readonly mode: AccessMode;
  readonly format: AccessFormat;
  /** In mode `sampled`, one in so many of what went well. */
  readonly oneIn: number;
  /** Empty for standard output. */
  readonly file: string;
}

/** What it needs beside. */
export interface AccessParts {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly random: Random;
}

/** The access log of a daemon. */
export interface AccessWriter extends AccessLog {
  /** Why nothing can be written at the moment; null when it can, or nothing is to be. */
  readonly problem: string | null;
  /** Goes on by these settings, and opens the file anew. */
  set(settings: AccessSettings): void;
  /** Writes what waits, as far as that takes no longer than a moment, and closes the file. */
  close(): Promise<void>;
}

/** How long lines are gathered before they are written: nobody reads faster. */
const GATHER_MS = 100;
/** How soon it is tried again after nothing could be written. */
const AGAIN_MS = 1000;
/** How long a daemon that stops waits for its last lines. */
const CLOSE_MS = 1000;

/** Opens the access log. Where it cannot be written, that is told and tried again: traffic matters more. */
export function openAccessLog(settings: AccessSettings, parts: AccessParts): AccessWriter {
  return new QueuedLog(settings, parts);
}

class QueuedLog implements AccessWriter {
  readonly #parts: AccessParts;
  #settings: AccessSettings;
  #sink: Sink;
  #lines: string[] = [];
  #queuedBytes = 0;
  #timer: NodeJS.Timeout | null = null;
  #writing: Promise<void> | null = null;
  #isClosed = false;
  /** Lines lost since it began to fail; null while it does not. */
  #lost: number | null = null;
  problem: string | null = null;

  constructor(settings: AccessSettings, parts: AccessParts) {
    this.#parts = parts;
    this.#settings = settings;
    this.#sink = openSink(settings.file);
    this.#open();
  }

  get isOn(): boolean {
    return this.#settings.mode !== "off" && !this.#isClosed;
  }

  append(entry: AccessEntry): void {
    if (!this.isOn || !isLogged(entry, this.#settings, this.#parts.random)) return;
    const line = `${renderAccess(entry, this.#settings.format)}\n`;
    if (this.#queuedBytes + line.length > LIMITS.accessQueueBytes) {
      this.#lose(1, "its reader is too slow");
      return;
    }
    this.#lines.push(line);
    this.#queuedBytes += line.length;
    this.#schedule(GATHER_MS);
  }

  set(settings: AccessSettings): void {
    const before = this.#settings;
    this.#settings = settings;
    if (settings.file === before.file) this.#sink.reopen();
    else {
      const old = this.#sink;
      this.#sink = openSink(settings.file);
      void this.#leave(old);
    }
    this.#lost = null;
    this.problem = null;
    this.#open();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const { promise: late, resolve: onLate } = Promise.withResolvers<void>();
    const timer = setTimeout(onLate, CLOSE_MS);
    await Promise.race([this.#writing, late]);
    this.#writing ??= this.#write();
    await Promise.race([this.#writing, late]);
    clearTimeout(timer);
    await this.#sink.close();
  }

  /** Opens the file before the first line: whoever set it wants to hear at once that it cannot be. */
  #open(): void {
    if (this.isOn) this.#schedule(0);
  }

  #schedule(afterMs: number): void {
    if (this.#timer !== null || this.#writing !== null || this.#isClosed) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#writing = this.#write().finally(() => {
        this.#writing = null;
        if (this.#lines.length > 0 || this.#lost !== null) this.#schedule(this.#lost === null ? 0 : AGAIN_MS);
      });
    }, afterMs);
  }

  /** Writes all that waits, until something cannot be written. Never rejects. */
  async #write(): Promise<void> {
    do {
      const sink = this.#sink;
      const lines = this.#take(sink.chunkBytes);
      try {
        // Latin-1: all of a line is ASCII.
        await sink.append(Buffer.from(lines.join(""), "latin1"));
        this.#found();
      } catch (thrown) {
        this.#lose(lines.length, textOf(thrown));
        return;
      }
    } while (this.#lines.length > 0);
  }

  /** The first lines that fit; at least one. */
  #take(sizeBytes: number): readonly string[] {
    let taken = 0;
    let bytes = 0;
    for (; taken < this.#lines.length; taken += 1) {
      const next = this.#lines[taken]?.length ?? 0;
      if (taken > 0 && bytes + next > sizeBytes) break;
      bytes += next;
    }
    this.#queuedBytes -= bytes;
    return this.#lines.splice(0, taken);
  }

  #lose(count: number, why: string): void {
    if (count > 0) this.#parts.metrics.accessDropped.inc(count);
    if (this.#lost === null) this.#parts.log.warn(`access log: ${why}; lines are dropped`);
    this.#lost = (this.#lost ?? 0) + count;
    this.problem = why;
  }

  #found(): void {
    // Not while lines wait: a reader that is too slow all the time would be told of with every batch.
    if (this.#lost === null || this.#lines.length > 0) return;
    this.#parts.log.info(`access log: written to ${this.#sink.name} again; ${this.#lost} lines were lost`);
    this.#lost = null;
    this.problem = null;
  }

  /** Closes a sink once nothing is written to it any more. */
  async #leave(sink: Sink): Promise<void> {
    try {
      await this.#writing;
      await sink.close();
    } catch (thrown) {
      this.#parts.log.warn(`access log: ${sink.name} cannot be closed: ${textOf(thrown)}`);
    }
  }
}
