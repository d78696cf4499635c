/**
 * Stream: keeps the store in step with the daemon, by its stream of changes, for as long as the page is open.
 *
 * EventSource comes back by itself after some errors and never after others, each browser in its own rhythm, so we do
 * it: whatever went wrong, the source is closed and opened anew after a while that grows. Reports of traffic come each
 * second, so a stream that falls silent is dead though nobody closed it, as after a laptop's sleep. Each new
 * stream begins with the whole picture: nothing is missed. EventSource does not say why it was refused, so it is
 * asked for with HEAD: a daemon with all the watchers that it takes is not one that is away.
 *
 * Touches: EventSource, fetch, timers, the clock.
 */

import type { Picture, PictureChange, TrafficReport } from "../../admin/contract-live.ts";
import { backoffMs } from "../../base/backoff.ts";
import { applyChange, boardOf } from "../board.ts";
import { roomAfterMs } from "../room.ts";

import { setClock, type Store } from "./store.ts";

const PATH = "/api/v1/watch";
const BACKOFF = { firstMs: 400, longestMs: 5000 };
const LOOK_MS = 5000;
const SILENCE_MS = 15_000;
/** For a stream that told of no traffic yet: its daemon may be unable to, and it would be opened in a loop. */
const QUIET_SILENCE_MS = 120_000;

/** As roomAfterMs, of what answers now; null as well when nothing does. */
async function askForRoom(): Promise<number | null> {
  try {
    return roomAfterMs(await fetch(PATH, { method: "HEAD", signal: AbortSignal.timeout(LOOK_MS) }));
  } catch {
    return null;
  }
}

/** Begins to follow the daemon. */
export function follow(store: Store): void {
  let failures = 0;
  let source: EventSource | null = null;
  let heardAtMs = Date.now();
  let hearsTraffic = false;
  let retry: ReturnType<typeof setTimeout> | null = null;

  const lose = (isRefused: boolean): void => {
    source?.close();
    source = null;
    if (retry !== null) return;
    const { value } = store.link;
    const aheadMs = store.aheadMs.value;
    const sinceMs = value.kind === "lost" ? value.sinceMs : heardAtMs + aheadMs;
    const tryIn = (waitMs: number, isFull: boolean): void => {
      store.link.value = { kind: "lost", sinceMs, retryAtMs: Date.now() + aheadMs + waitMs, isFull };
      retry = setTimeout(open, waitMs);
    };
    tryIn(backoffMs(BACKOFF, failures, Math.random), value.kind === "lost" && value.isFull && isRefused);
    failures += 1;
    const planned = retry;
    const waitForRoom = async (): Promise<void> => {
      const waitMs = await askForRoom();
      if (waitMs === null || retry !== planned || planned === null) return;
      clearTimeout(planned);
      // Not all pages at once: there may be room for one.
      tryIn(waitMs * (1 + Math.random()), true);
    };
    if (isRefused) void waitForRoom();
  };

  const open = (): void => {
    retry = null;
    hearsTraffic = false;
    heardAtMs = store.link.value.kind === "lost" ? heardAtMs : Date.now();
    const opened = new EventSource(PATH);
    source = opened;
    const openedAtMs = Date.now();
    const on = (kind: string, take: (text: string) => void): void => {
      opened.addEventListener(kind, (event: MessageEvent<string>) => {
        // A message of a stream that was given up on may still be on its way.
        if (source !== opened) return;
        heardAtMs = Date.now();
        take(event.data);
      });
    };
    on("picture", (text) => {
      store.board.value = boardOf(JSON.parse(text) as Picture, store.board.value);
      store.link.value = { kind: "live" };
      // Only a stream that lived for a while resets the wait: one that breaks at once would be asked for in a loop.
      failures = Date.now() - openedAtMs < 2000 ? Math.min(failures, 3) : 0;
    });
    on("change", (text) => {
      const { value } = store.board;
      if (value !== null) store.board.value = applyChange(value, JSON.parse(text) as PictureChange);
    });
    on("traffic", (text) => {
      const report = JSON.parse(text) as TrafficReport;
      hearsTraffic = true;
      setClock(store, report.atMs);
      store.trail.add(report);
      store.traffic.value = report;
      failures = 0;
    });
    opened.addEventListener("error", () => {
      if (source === opened) lose(opened.readyState === EventSource.CLOSED);
    });
  };

  setInterval(() => {
    const silenceMs = Date.now() - heardAtMs;
    const isDead = silenceMs > (hearsTraffic ? SILENCE_MS : QUIET_SILENCE_MS);
    if (source !== null && isDead && store.link.value.kind === "live") lose(false);
  }, 2000);
  open();
}
