/**
 * Loop: does an upstream ask us what we ask it?
 *
 * That an upstream is one of our own addresses is seen at once. That it forwards to us, through however many others,
 * is not: a name server of the host that was told to ask us for everything, two daemons that are each other's upstream.
 * Such a circle answers nobody. So each upstream is asked now and then for a name that nobody could know; when that
 * name arrives at our own listeners, whoever we asked it asks us. The name is too random to be guessed: a guess that
 * came true would rob us of an upstream.
 *
 * The names lie below `example.`, which is nobody's and which resolvers are to pass on like any other (RFC 6761 6.5).
 * Other reserved names some answer themselves: unbound `test.`, systemd-resolved `alt.`.
 *
 * Pure. roster.ts sends the probes and leaves out what is a loop.
 */

import { CLASS_IN, TYPE } from "../codes.ts";

/** Below which name the probes lie. */
const PROBE_DOMAIN = "skein-loop.example";

/** How often an upstream is probed; and how often while it is a loop, or says nothing, as one in a circle does. */
const PERIOD_MS = 600_000;
const SUSPECT_PERIOD_MS = 60_000;

/** How long after the begin the first probes go: the listeners to which they would come back open meanwhile. */
const FIRST_MS = 1000;

/** Probes remembered of one upstream: a late echo still counts. */
const NAMES_KEPT = 3;

interface Watched {
  /** Names asked of it, the newest last. */
  names: readonly string[];
  /** The newest of them has come back. */
  hasEchoed: boolean;
  isLoop: boolean;
  isSuspect: boolean;
  probedAtMs: number;
}

/** What is known of some upstreams, by their places in the configuration, from 0. */
export class LoopWatch {
  readonly #watched: readonly Watched[];

  constructor(count: number, nowMs: number) {
    this.#watched = Array.from({ length: count }, () => ({
      names: [],
      hasEchoed: false,
      isLoop: false,
      isSuspect: false,
      probedAtMs: nowMs + FIRST_MS - PERIOD_MS,
    }));
  }

  /** The places of those to probe now. */
  due(nowMs: number): readonly number[] {
    return [...this.#watched.keys()].filter((at) => {
      const watched = this.#watched[at];
      if (watched === undefined) return false;
      const periodMs = watched.isLoop || watched.isSuspect ? SUSPECT_PERIOD_MS : PERIOD_MS;
      return nowMs - watched.probedAtMs >= periodMs;
    });
  }

  /**
   * Notes that a probe goes to an upstream.
   *
   * @param token  random, fit for a label, lower case
   * @returns the name to ask it for
   */
  probe(at: number, token: string, nowMs: number): string {
    const name = `${token}.${PROBE_DOMAIN}`;
    const watched = this.#watched[at];
    if (watched !== undefined) {
      watched.names = [...watched.names, name].slice(-NAMES_KEPT);
      watched.hasEchoed = false;
      watched.isSuspect = false;
      watched.probedAtMs = nowMs;
    }
    return name;
  }

  /** It says nothing, or no more: so does one in a circle, and one that was not up yet; it is probed soon. */
  suspect(at: number): void {
    const watched = this.#watched[at];
    if (watched !== undefined) watched.isSuspect = true;
  }

  /** @returns the place of the upstream that was asked for this name, which is a loop from now on; null for others' */
  echoed(name: string): number | null {
    const lower = name.toLowerCase();
    if (!lower.endsWith(PROBE_DOMAIN)) return null;
    const at = this.#watched.findIndex(({ names }) => names.includes(lower));
    const watched = this.#watched[at];
    if (watched === undefined) return null;
    watched.hasEchoed = true;
    watched.isLoop = true;
    return at;
  }

  /**
   * Notes that an upstream replied to its newest probe, with an answer or that there is none.
   *
   * @returns true when that name has not come to us: it is no loop, or no longer. Silence would say nothing: a probe
   *   that was lost cannot come back.
   */
  replied(at: number): boolean {
    const watched = this.#watched[at];
    if (watched === undefined || watched.hasEchoed) return false;
    watched.isLoop = false;
    return true;
  }

  isLoop(at: number): boolean {
    return this.#watched[at]?.isLoop === true;
  }
}

/** A query for a probe's name, of type TXT, as a client would ask it; its id is for the sender to set. */
export function probeQuery(name: string): Buffer {
  const labels = name.split(".").flatMap((label) => [Buffer.of(label.length), Buffer.from(label, "latin1")]);
  return queryOf(Buffer.concat([...labels, Buffer.of(0)]), TYPE.TXT);
}

/**
 * A query for the servers of the root, which each server knows without asking around or says that it does not tell: one
 * that does not answer it is silent, and not just slow for somebody's names.
 */
export function rootQuery(): Buffer {
  return queryOf(Buffer.of(0), TYPE.NS);
}

function queryOf(name: Buffer, typeCode: number): Buffer {
  // Id 0, RD, one question (RFC 1035 4.1.1).
  const header = Buffer.of(0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0);
  return Buffer.concat([header, name, Buffer.of(0, typeCode, 0, CLASS_IN)]);
}
