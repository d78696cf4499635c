/**
 * Follow: streams events to those who keep a connection open (server-sent events, WHATWG HTML 9.2).
 *
 * A message's id is `<start of the daemon>.<number>`, so a follower that comes back is given what it missed, and one
 * that comes back to a restarted daemon, whose numbers begin anew, is given all there is instead of silence. What was
 * missed and is no longer kept is told as a `gap`. Frames are written straight to the response: the bytes that wait
 * there are the measure by which a follower that does not read is dropped. It can come back and resume, and the
 * daemon's memory is never the buffer of a stopped terminal.
 *
 * Touches: open HTTP responses, one timer for the comments that keep idle connections from looking dead.
 */

import type { ServerResponse } from "node:http";

import type { Event } from "../model/event.ts";
import { LIMITS } from "../model/limits.ts";
import type { Log } from "../runtime/log.ts";

import { Full } from "./answers.ts";
import type { EventGap } from "./contract.ts";
import { eventLine, eventsAfter } from "./handlers.ts";

/** How often an idle stream carries a comment; well within the listener's idle timeout. */
const COMMENT_INTERVAL_MS = 10_000;

/** What the streams need to know. */
export interface FollowOptions {
  /** When this daemon started, Unix milliseconds: tells its event numbers from those of an earlier life. */
  readonly epochMs: number;
  /** The events kept, oldest first. */
  readonly kept: () => readonly Event[];
  readonly log: Log;
}

/** Where a follower wants to begin. */
export interface FollowRequest {
  /** Last-Event-ID of a follower that comes back; null on its first visit. */
  readonly lastEventId: string | null;
  /** Number of the last event it knows of this daemon's life; 0 for all that is kept. */
  readonly afterId: number;
  /** Headers to send with the stream. */
  readonly headers: Readonly<Record<string, string>>;
  /** True at the loopback port, which has a share of its own: anybody on this host may hold connections to it. */
  readonly isAtPort: boolean;
}

/** All open streams of a daemon. */
export interface Followers {
  /** @throws Full when there are as many as may be. */
  admit(request: Pick<FollowRequest, "isAtPort">): void;
  /** Answers with a stream, beginning with the events kept; throws as `admit`. */
  follow(request: FollowRequest, response: ServerResponse): void;
  /** Sends an event to every follower that has not seen it. */
  publish(event: Event): void;
  /** Ends every stream. */
  close(): void;
}

interface Follower {
  readonly response: ServerResponse;
  readonly isAtPort: boolean;
  lastId: number;
}

/** Opens the streams' side of an admin server; no follower yet. */
export function openFollowers(options: FollowOptions): Followers {
  const followers = new Set<Follower>();
  const epoch = String(Math.floor(options.epochMs));

  const write = (follower: Follower, frame: string): void => {
    follower.response.write(frame);
    if (follower.response.writableLength <= LIMITS.eventStreamBufferedBytes) return;
    followers.delete(follower);
    follower.response.destroy();
    options.log.warn("event follower does not read; dropped", { lastId: follower.lastId });
  };
  const timer = setInterval(() => {
    for (const follower of followers) write(follower, ":\n\n");
  }, COMMENT_INTERVAL_MS);
  timer.unref();

  const admit: Followers["admit"] = ({ isAtPort }) => {
    const atPort = isAtPort ? [...followers].filter((one) => one.isAtPort).length : 0;
    if (followers.size >= LIMITS.eventStreamsMax || atPort >= LIMITS.eventStreamsOfPortMax) {
      throw new Full(`event stream has ${followers.size} followers`);
    }
  };

  return {
    admit,
    follow(request, response) {
      const { isAtPort } = request;
      admit({ isAtPort });
      const kept = options.kept();
      const newestId = kept.at(-1)?.id ?? 0;
      const startId = startOf(request, epoch);
      response.writeHead(200, { ...request.headers, "content-type": "text/event-stream" });
      // Not the asked number as it is: one from the future would hide the events until then.
      const follower = { response, isAtPort, lastId: newestId };
      followers.add(follower);
      response.once("close", () => followers.delete(follower));
      // An error is always followed by 'close'; without a listener it would end the daemon.
      response.on("error", (error) => options.log.debug("event follower lost", { error: error.message }));
      write(follower, `retry: 1000\n\n${gapFrame(startId, kept)}${replay(startId, kept, epoch)}`);
    },
    publish(event) {
      const frame = frameOf(event, epoch);
      for (const follower of followers) {
        if (event.id <= follower.lastId) continue;
        follower.lastId = event.id;
        write(follower, frame);
      }
    },
    close() {
      clearInterval(timer);
      for (const follower of followers) follower.response.end();
      followers.clear();
    },
  };
}

/** The number to begin after; 0 when the follower last heard another life of this daemon. */
function startOf(request: FollowRequest, epoch: string): number {
  if (request.lastEventId === null) return request.afterId;
  const match = /^(\d{1,16})\.(\d{1,15})$/.exec(request.lastEventId);
  return match !== null && match[1] === epoch ? Number(match[2]) : 0;
}

/** Only for who comes back: a first visitor missed nothing. */
function gapFrame(startId: number, kept: readonly Event[]): string {
  const oldestId = kept[0]?.id ?? 0;
  if (startId === 0 || oldestId <= startId + 1) return "";
  const gap: EventGap = { missed: oldestId - startId - 1 };
  return `event: gap\ndata: ${JSON.stringify(gap)}\n\n`;
}

function replay(startId: number, kept: readonly Event[], epoch: string): string {
  return eventsAfter(kept, startId)
    .map((line) => `id: ${epoch}.${line.id}\ndata: ${JSON.stringify(line)}\n\n`)
    .join("");
}

/** JSON text has no raw line break, so an event is always one `data:` line. */
function frameOf(event: Event, epoch: string): string {
  return `id: ${epoch}.${event.id}\ndata: ${JSON.stringify(eventLine(event))}\n\n`;
}
