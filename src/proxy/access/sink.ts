/**
 * Sink: where the lines of the access log go, a file or standard output.
 *
 * A file that was renamed away, as logrotate does it, is left and made anew at its path within a second. Nothing is
 * opened in a way that waits: whoever reads the pipe at the other end may be slower than the traffic, or stuck, and a
 * thread that waits for it would keep the whole process from ending. Standard output is therefore opened once more by
 * its path, since the way it was opened is shared with all that inherited it; where that cannot be, as with the socket
 * that systemd hands out, it is written as it is.
 *
 * Touches: the file, or standard output.
 */

import { close, constants, fstat, open, stat, write } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";

import { Failure, systemCodeOf, textOf } from "../../base/failure.ts";

/** Appends whole lines, one call after the other. */
export interface Sink {
  /** What it is, for people: a path, or `standard output`. */
  readonly name: string;
  /** How much to append at once. */
  readonly chunkBytes: number;
  /**
   * Appends lines; of none it makes sure that they could be. Not to be called again before it has settled.
   *
   * @throws Failure when it cannot; some of the lines may be there then
   */
  append(lines: Buffer): Promise<void>;
  /** Has the file opened anew before the next line. */
  reopen(): void;
  /** Closes it; what is being appended ends, or fails. */
  close(): Promise<void>;
}

/** A pipe takes that much whole or not at all (pipe(7), PIPE_BUF): other writers of it then come between lines. */
const STDOUT_CHUNK_BYTES = 4096;
const FILE_CHUNK_BYTES = 64 * 1024;
/** How often it is asked whether the file is still the one at its path. */
const LOOK_MS = 1000;
/** How soon a full pipe is tried again. */
const FULL_MS = 20;
const STDOUT = 1;
const { O_WRONLY, O_APPEND, O_CREAT, O_NONBLOCK, O_NOCTTY } = constants;
/** For its owner and group: who called is nobody else's business. */
const FILE_MODE = 0o640;

const openFile = promisify(open);
const writeTo = promisify(write);
const closeFile = promisify(close);
const statOf = promisify(stat);
const statOpen = promisify(fstat);

/** An open file, and which one it is. */
interface Opened {
  readonly fd: number;
  readonly identity: string;
}

/** Makes a sink; nothing is opened yet. An empty path is standard output. */
export function openSink(path: string): Sink {
  return new FileSink(path);
}

class FileSink implements Sink {
  readonly name: string;
  readonly chunkBytes: number;
  readonly #path: string;
  #opened: Opened | null = null;
  /** The file that was written last. */
  #identity = "";
  #appending: Promise<void> = Promise.resolve();
  #lookAtMs = 0;
  /** True when the last line there may lack its end. */
  #isMidLine = false;
  #wantsReopen = false;
  #isClosing = false;

  constructor(path: string) {
    this.#path = path;
    this.name = path === "" ? "standard output" : path;
    this.chunkBytes = path === "" ? STDOUT_CHUNK_BYTES : FILE_CHUNK_BYTES;
  }

  append(lines: Buffer): Promise<void> {
    const appending = this.#append(lines);
    this.#appending = appending;
    return appending;
  }

  reopen(): void {
    this.#wantsReopen = true;
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    // Not before: its number would be another file's.
    await Promise.allSettled([this.#appending]);
    await this.#leave();
  }

  async #append(lines: Buffer): Promise<void> {
    try {
      const { fd } = await this.#current();
      if (lines.length === 0) return;
      const isMidLine = this.#isMidLine;
      this.#isMidLine = true;
      if (isMidLine) await this.#writeAll(fd, Buffer.from("\n"));
      await this.#writeAll(fd, lines);
      this.#isMidLine = false;
    } catch (thrown) {
      // What was opened may be what is wrong with it.
      this.#wantsReopen = true;
      throw new Failure("unreachable", `${this.name} cannot be written: ${textOf(thrown)}`, {
        cause: thrown,
      });
    }
  }

  async #current(): Promise<Opened> {
    if (this.#opened !== null && (await this.#isElsewhere(this.#opened))) await this.#leave();
    this.#wantsReopen = false;
    this.#opened ??= this.#path === "" ? await openStdout() : await openAt(this.#path, O_CREAT);
    const { identity } = this.#opened;
    if (identity !== this.#identity) this.#isMidLine = false;
    this.#identity = identity;
    return this.#opened;
  }

  /** Whether the file at the path is another one by now, or none. */
  async #isElsewhere({ identity }: Opened): Promise<boolean> {
    if (this.#wantsReopen) return true;
    const atMs = performance.now();
    if (this.#path === "" || atMs < this.#lookAtMs) return false;
    this.#lookAtMs = atMs + LOOK_MS;
    try {
      const { dev, ino } = await statOf(this.#path);
      return identity !== `${dev}:${ino}`;
    } catch {
      // Not there, or not to be seen: opening it tells.
      return true;
    }
  }

  async #leave(): Promise<void> {
    const opened = this.#opened;
    this.#opened = null;
    if (opened !== null && opened.fd !== STDOUT) await closeFile(opened.fd);
  }

  async #writeAll(fd: number, bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      try {
        at += (await writeTo(fd, bytes, at, bytes.length - at, null)).bytesWritten;
      } catch (thrown) {
        if (systemCodeOf(thrown) !== "EAGAIN" || this.#isClosing) throw thrown;
        await delay(FULL_MS);
      }
    }
  }
}

async function openStdout(): Promise<Opened> {
  try {
    return await openAt(`/proc/self/fd/${STDOUT}`, 0);
  } catch {
    // A socket, or somebody else's pipe, or a system without /proc.
    return { fd: STDOUT, identity: "" };
  }
}

async function openAt(path: string, create: number): Promise<Opened> {
  const fd = await openFile(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | create, FILE_MODE);
  const { dev, ino } = await statOpen(fd);
  return { fd, identity: `${dev}:${ino}` };
}
