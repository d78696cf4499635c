/**
 * Lines: Docker's event stream, cut into lines as its chunks come in.
 *
 * Chunks fall anywhere, within a line and within a character. A line without an end must not fill memory, so what grows
 * past the bound is dropped up to its newline and counted: the reader then knows that it missed something and resyncs.
 *
 * Pure.
 */

const NEWLINE = 10;

/** What one chunk completed. */
export interface Lines {
  readonly lines: readonly string[];
  /** True when a line was dropped since it is longer than the bound. */
  readonly dropped: boolean;
}

/** Holds the line that is not complete yet. One per stream. */
export class LineSplitter {
  readonly #bytesMax: number;
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #skipping = false;

  /** @param bytesMax  the longest line kept, without its newline */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Takes the next chunk; returns the lines it completed, without newlines; empty lines are left out. */
  feed(chunk: Uint8Array): Lines {
    const lines: string[] = [];
    let dropped = false;
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, from)) {
      dropped = this.#hold(chunk.subarray(from, end)) || dropped;
      const line = this.#take();
      if (line !== "") lines.push(line);
      from = end + 1;
    }
    dropped = this.#hold(chunk.subarray(from)) || dropped;
    return { lines, dropped };
  }

  /** Adds to the line being held; true when that made it too long. */
  #hold(part: Uint8Array): boolean {
    if (this.#skipping || part.length === 0) return false;
    this.#held.push(part);
    this.#heldBytes += part.length;
    if (this.#heldBytes <= this.#bytesMax) return false;
    this.#held = [];
    this.#skipping = true;
    return true;
  }

  #take(): string {
    const line = this.#skipping ? "" : Buffer.concat(this.#held).toString("utf8");
    this.#held = [];
    this.#heldBytes = 0;
    this.#skipping = false;
    return line.trim();
  }
}
