/**
 * Unrest: whether a young picture has come to rest.
 *
 * After a restart the picture grows member by member, and what the last life left in the kernel knows them all; so it
 * is waited until nothing has changed for a while. Not for ever: a large cluster always changes somewhere.
 *
 * Pure.
 */

/** How long is waited, milliseconds. */
export interface UnrestTimes {
  /** For so long nothing changes in a picture at rest. */
  readonly quietMs: number;
  /** For so long at most a whole picture is waited for. */
  readonly longestMs: number;
}

/** Watches one picture. */
export class Unrest {
  readonly #times: UnrestTimes;
  #picture: unknown = null;
  #changedAtMs = 0;
  #wholeSinceMs = Number.POSITIVE_INFINITY;
  #isOver = false;

  constructor(times: UnrestTimes) {
    this.#times = times;
  }

  /** Takes the picture of this moment; the same object is the same picture. */
  note(picture: unknown, nowMs: number): void {
    if (picture !== this.#picture) this.#changedAtMs = nowMs;
    this.#picture = picture;
  }

  /** To be asked only of a picture that is whole. @returns true from the first rest on, for good */
  isOver(nowMs: number): boolean {
    const { quietMs, longestMs } = this.#times;
    this.#wholeSinceMs = Math.min(this.#wholeSinceMs, nowMs);
    this.#isOver ||= nowMs - this.#changedAtMs >= quietMs || nowMs - this.#wholeSinceMs >= longestMs;
    return this.#isOver;
  }
}
