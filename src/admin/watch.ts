/**
 * Watch: streams the whole picture, and then what becomes other in it, to pages that somebody looks at.
 *
 * Level, not edge: a few times a second the snapshot is compared with what the watchers know (telling.ts), and they get
 * whole lines of what differs. So nothing is replayed: who comes back, and who could not read as fast as things
 * changed, gets a new picture. That bounds what a watcher makes us hold to one picture and a little more; one that
 * reads nothing at all is cut by the listener's idle deadline. While nobody watches, nothing is looked at.
 *
 * Touches: open HTTP responses, one timer while there are any.
 */

import type { ServerResponse } from "node:http";

import { textOf } from "../base/failure.ts";
import { LIMITS } from "../model/limits.ts";
import { outcomeWithin } from "../runtime/deadline.ts";
import type { Log } from "../runtime/log.ts";

import { Full } from "./answers.ts";
import type { PictureChange, TrafficReport } from "./contract-live.ts";
import type { Snapshot } from "./handlers.ts";
import { Telling } from "./telling.ts";

/** How often watchers are told: often enough for "at once", seldom enough for a cluster where much happens. */
const LOOK_INTERVAL_MS = 250;
/** Traffic is asked for each second, and a stream without either carries a comment each ten. */
const LOOKS_PER_TRAFFIC = 4;
const LOOKS_PER_COMMENT = 40;
/** The first answer takes two windows; one that takes longer than this is given up, and asked for anew. */
const TRAFFIC_MS = 3000;

/** What the streams tell of. */
export interface WatchOptions {
  readonly snapshot: () => Snapshot;
  /** Rates of the whole cluster over the last second or so; may reject, never throws. */
  readonly traffic: () => Promise<TrafficReport>;
  readonly log: Log;
}

/** Who watches. */
export interface WatchRequest {
  /** Headers to send with the stream. */
  readonly headers: Readonly<Record<string, string>>;
  /** True at the loopback port, which has a share of its own: anybody on this host may hold connections to it. */
  readonly isAtPort: boolean;
}

/** All open streams of a daemon. */
export interface Watchers {
  /** @throws Full when there are as many as may be. */
  admit(request: Pick<WatchRequest, "isAtPort">): void;
  /** Answers with a stream that begins with the picture; throws as `admit`. */
  watch(request: WatchRequest, response: ServerResponse): void;
  /** Ends every stream. */
  close(): void;
}

interface Watcher {
  readonly response: ServerResponse;
  readonly isAtPort: boolean;
  /** It missed a change: it is owed a picture. */
  isBehind: boolean;
}

/** Opens the watchers' side of an admin server; no watcher yet. */
export function openWatchers(options: WatchOptions): Watchers {
  const watchers = new Set<Watcher>();
  const streams = new Streams(watchers);
  let looking: { readonly telling: Telling; readonly timer: NodeJS.Timeout } | null = null;
  let looks = 0;
  let isAsking = false;

  const admit: Watchers["admit"] = ({ isAtPort }) => {
    const atPort = isAtPort ? [...watchers].filter((one) => one.isAtPort).length : 0;
    if (watchers.size >= LIMITS.watchersMax || atPort >= LIMITS.watchersOfPortMax)
      throw new Full(`watch has ${watchers.size} watchers`);
  };
  const stop = (): void => {
    if (looking !== null) clearInterval(looking.timer);
    looking = null;
  };
  const askTraffic = async (): Promise<void> => {
    if (isAsking) return;
    isAsking = true;
    const outcome = await outcomeWithin(options.traffic(), TRAFFIC_MS);
    isAsking = false;
    if (outcome.kind === "whole") streams.tellTraffic(outcome.value);
    else {
      const error = outcome.kind === "late" ? `not within ${TRAFFIC_MS} ms` : textOf(outcome.thrown);
      options.log.debug("no traffic to tell of", { error });
    }
  };
  const look = (telling: Telling): void => {
    streams.tellChange(telling.advance(options.snapshot()));
    streams.catchUp(telling);
  };
  const tick = (telling: Telling): void => {
    looks += 1;
    try {
      look(telling);
    } catch (thrown) {
      // Ours to mend. The watchers come back and begin anew; a timer must not end the daemon.
      options.log.error("watch failed", { error: textOf(thrown) });
      streams.end();
      stop();
    }
    if (looks % LOOKS_PER_TRAFFIC === 0) void askTraffic();
    if (looks % LOOKS_PER_COMMENT === 0) streams.comment();
  };

  return {
    admit,
    watch({ headers, isAtPort }, response) {
      admit({ isAtPort });
      if (looking === null) {
        const telling = new Telling(options.snapshot());
        const timer = setInterval(() => tick(telling), LOOK_INTERVAL_MS);
        timer.unref();
        looking = { telling, timer };
        void askTraffic();
      } else look(looking.telling);
      response.writeHead(200, { ...headers, "content-type": "text/event-stream" });
      const watcher = { response, isAtPort, isBehind: false };
      watchers.add(watcher);
      response.once("close", () => {
        watchers.delete(watcher);
        if (watchers.size === 0) stop();
      });
      // An error is always followed by 'close'; without a listener it would end the daemon.
      response.on("error", (error) => options.log.debug("watcher lost", { error: error.message }));
      response.write(`retry: 1000\n\n${frameOf("picture", looking.telling.picture)}`);
    },
    close() {
      stop();
      streams.end();
    },
  };
}

/** Writes to the streams, as far as their readers follow. */
class Streams {
  readonly #watchers: Set<Watcher>;

  constructor(watchers: Set<Watcher>) {
    this.#watchers = watchers;
  }

  tellChange(change: PictureChange | null): void {
    if (change === null) return;
    const frame = frameOf("change", change);
    for (const watcher of this.#watchers) {
      watcher.isBehind ||= watcher.response.writableLength > LIMITS.watchBufferedBytes;
      if (!watcher.isBehind) watcher.response.write(frame);
    }
  }

  /** A picture for those that missed a change and have read all that was before it. */
  catchUp(telling: Telling): void {
    const ready = [...this.#watchers].filter((one) => one.isBehind && one.response.writableLength === 0);
    if (ready.length === 0) return;
    const frame = frameOf("picture", telling.picture);
    for (const watcher of ready) {
      watcher.isBehind = false;
      watcher.response.write(frame);
    }
  }

  /** Who does not follow misses it: the next one says as much. */
  tellTraffic(report: TrafficReport): void {
    const frame = frameOf("traffic", report);
    for (const { response } of this.#idle()) response.write(frame);
  }

  comment(): void {
    for (const { response } of this.#idle()) response.write(":\n\n");
  }

  end(): void {
    for (const { response } of this.#watchers) response.end();
    this.#watchers.clear();
  }

  #idle(): readonly Watcher[] {
    return [...this.#watchers].filter(({ response }) => response.writableLength === 0);
  }
}

/** JSON text has no raw line break, so a message is always one `data:` line. */
function frameOf(event: "picture" | "change" | "traffic", told: unknown): string {
  return `event: ${event}\ndata: ${JSON.stringify(told)}\n\n`;
}
