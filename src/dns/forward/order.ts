/**
 * Order: which upstream is asked first, which next, and which not at all.
 *
 * The order of the configuration is its writer's wish, so it holds while all is well: the first one, a company's own
 * server, may know names that the second does not. One that says nothing at all is asked last. Every few seconds one
 * query tries it again in its old place, so it is back soon after it speaks, and meanwhile costs one client one short
 * wait.
 *
 * Misses alone prove nothing: a server that resolves for itself is slow for names whose own servers are slow, and
 * anybody may ask for such names as often as he likes. So one that misses several queries running, and says nothing in
 * between, is only suspected; it is asked something that every server knows, and counts as silent when it does not
 * answer that either.
 *
 * Pure. asking.ts asks; loop.ts finds out who asks us; roster.ts keeps both.
 */

/** Misses running after which an upstream is suspected: as many datagrams are not lost by chance. */
const MISSES_MAX = 3;

/** How often a silent one is tried in its old place. */
const RETRY_MS = 10_000;

/**
 * What is thought of an upstream. `unknown`: it has said nothing yet, and was not asked often enough to call it silent.
 * `loop`: it asks us what we ask it, and is not asked.
 */
export type UpstreamState = "unknown" | "alive" | "silent" | "loop";

interface Standing {
  hasSpoken: boolean;
  /** Queries running that it did not answer. */
  misses: number;
  isSilent: boolean;
  retryAtMs: number;
  isLoop: boolean;
}

/** The standing of some upstreams, which are known here by their places in the configuration, from 0. */
export class UpstreamOrder {
  readonly #standings: readonly Standing[];

  /** @param count  how many there are */
  constructor(count: number) {
    this.#standings = Array.from({ length: count }, () => {
      return { hasSpoken: false, misses: 0, isSilent: false, retryAtMs: 0, isLoop: false };
    });
  }

  /** The places to ask for one query, in turn. Empty where there is none, or all of them are loops. */
  turns(nowMs: number): readonly number[] {
    const first: number[] = [];
    const last: number[] = [];
    for (const [at, standing] of this.#standings.entries()) {
      if (standing.isLoop) continue;
      const isDue = nowMs >= standing.retryAtMs;
      if (!standing.isSilent || isDue) first.push(at);
      else last.push(at);
      // The next query waits for the outcome of this one.
      if (standing.isSilent && isDue) standing.retryAtMs = nowMs + RETRY_MS;
    }
    return [...first, ...last];
  }

  /** It has said something, whatever it was. */
  spoke(at: number): void {
    const standing = this.#standings[at];
    if (standing === undefined) return;
    standing.hasSpoken = true;
    standing.misses = 0;
    standing.isSilent = false;
  }

  /** It was asked, and others were faster, or nobody answered in time. */
  missed(at: number): void {
    const standing = this.#standings[at];
    if (standing !== undefined) standing.misses += 1;
  }

  /** Whether to ask it what every server knows: it has missed so much that it may be silent. */
  isSuspect(at: number): boolean {
    const standing = this.#standings[at];
    return standing !== undefined && !standing.isSilent && standing.misses >= MISSES_MAX;
  }

  /** It did not even answer that. Nothing, where it has said something else meanwhile. */
  confirmed(at: number, nowMs: number): void {
    const standing = this.#standings[at];
    if (standing === undefined || !this.isSuspect(at)) return;
    standing.isSilent = true;
    standing.retryAtMs = nowMs + RETRY_MS;
  }

  /** Leaves it out, or takes it in again. */
  setLoop(at: number, isLoop: boolean): void {
    const standing = this.#standings[at];
    if (standing !== undefined) standing.isLoop = isLoop;
  }

  /** What is thought of each, by place. */
  get states(): readonly UpstreamState[] {
    return this.#standings.map((standing) => {
      if (standing.isLoop) return "loop";
      if (standing.isSilent) return "silent";
      return standing.hasSpoken ? "alive" : "unknown";
    });
  }
}
