/**
 * Driver: lives the node's life: feeds it inputs and does what it wants done.
 *
 * Inputs that come while one is being worked on wait their turn, so the node is never entered twice and effects are
 * carried out in the order in which they were decided. A tick comes each TICK_MS, and sooner when the node asks; once
 * a second it tells how late this process is, for a node that is starved must not judge others by its own watch. The
 * state to keep is written behind the node's back, always the newest and one write at a time: losing the last one
 * costs an address or a drain, and the incarnation is on disk before the first link. Who hears that this node has
 * applied a change may stop a replica, so that word waits until the kernel follows the view as well.
 *
 * Touches: timers, probes, the links and the state file it is handed.
 */

import { latest } from "../base/latest.ts";
import { textOf } from "../base/failure.ts";
import { probe } from "../health/probe.ts";
import type { ProbeRequest } from "../health/schedule.ts";
import type { Links } from "../mesh/links.ts";
import type { Charter } from "../model/charter.ts";
import type { Happening } from "../model/event.ts";
import type { KeptState } from "../model/kept.ts";
import type { View } from "../model/view.ts";
import type { Node } from "../node.ts";
import { renderProxyHeader } from "../proxy/tcp/proxy-header.ts";
import type { Effects, Input } from "../step.ts";
import { nowMs } from "../runtime/clock.ts";
import type { Metrics } from "../runtime/metrics.ts";

import type { Kernel } from "./kernel-ground.ts";

/** Half of the shortest wait the node counts with (a probe's 100 ms). */
const TICK_MS = 50;
/** Once a second the node is told how late the event loop is. */
const TICKS_PER_DELAY = 1000 / TICK_MS;
/** After a failed write of the state. */
const SAVE_AGAIN_MS = 5000;

/** What drives need. */
export interface DriverOptions {
  readonly node: Node;
  readonly links: Pick<Links, "send" | "dial" | "close">;
  readonly save: (kept: KeptState) => Promise<void>;
  /** Told after each attempt: why the state could not be kept, null when it was. It is tried again by itself. */
  readonly onSaved: (problem: string | null) => void;
  /** Called with each new view, within the turn that made it. */
  readonly onView: (view: View) => void;
  /** Whether the kernel follows the last view that was shown. */
  readonly kernel: Pick<Kernel, "isBehind" | "caughtUp">;
  /** Called with each new charter, before anything else is done: who was removed is to be cut off at once. */
  readonly onCharter: (charter: Charter) => void;
  readonly onHappenings: (happenings: readonly Happening[]) => void;
  /** The event loop's delay, 99th percentile over the last seconds, milliseconds. */
  readonly loopDelayMs: () => number;
  readonly metrics: Metrics;
}

/** A running node. */
export interface Driver {
  readonly feed: (input: Input) => void;
  /** Starts the ticks. */
  start(): void;
  /** Ends the ticks, ignores what still comes, and settles when the state is on disk. */
  close(): Promise<void>;
}

/** Makes a driver; nothing happens before `start` or the first `feed`. */
export function openDriver(options: DriverOptions): Driver {
  const { node, metrics, links } = options;
  const waiting: Input[] = [];
  let isBusy = false;
  let isClosed = false;
  let lastView: View | null = null;
  let ticker: NodeJS.Timeout | null = null;
  let wake: NodeJS.Timeout | null = null;
  const keeper = openKeeper(options);
  const following = openFollowing(options);

  const feed = (input: Input): void => {
    if (isClosed) return;
    waiting.push(input);
    if (isBusy) return;
    isBusy = true;
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const atMs = nowMs();
      carry(node.step(next, atMs), atMs);
    }
    isBusy = false;
  };

  const carry = (effects: Effects, atMs: number): void => {
    if (effects.charter !== null) options.onCharter(effects.charter);
    if (effects.keep !== null) keeper.keep(effects.keep);
    // Before anything is sent: who hears that this node has applied a change may count on its consumers.
    if (effects.view !== lastView) {
      lastView = effects.view;
      options.onView(effects.view);
      following.shown(atMs);
    }
    following.send(effects.send);
    for (const { link, reason } of effects.close) links.close(link, reason);
    for (const address of effects.dial) links.dial(address);
    for (const request of effects.probe) void runProbe(request, feed);
    if (effects.happenings.length > 0) options.onHappenings(effects.happenings);
    count(effects, metrics);
    if (effects.wakeInMs !== null) wake ??= setTimeout(tickEarly, effects.wakeInMs);
  };

  const tickOf = (): Extract<Input, { kind: "tick" }> => {
    const aheadMs = following.aheadMs();
    return { kind: "tick", ...(aheadMs !== null && { aheadMs }) };
  };

  const tickEarly = (): void => {
    wake = null;
    feed(tickOf());
  };

  let tickCount = 0;
  const tick = (): void => {
    tickCount += 1;
    if (tickCount % TICKS_PER_DELAY !== 0) return feed(tickOf());
    feed({ ...tickOf(), delayMs: options.loopDelayMs() });
    metrics.gossipHealth.set(node.gossip.healthScore);
  };

  return {
    feed,
    start() {
      feed(tickOf());
      ticker = setInterval(tick, TICK_MS);
    },
    async close() {
      isClosed = true;
      if (ticker !== null) clearInterval(ticker);
      if (wake !== null) clearTimeout(wake);
      following.close();
      await keeper.close();
    },
  };
}

/** Sends frames; those that say that a change is applied once the kernel follows the view of it. */
function openFollowing({ kernel, links }: Pick<DriverOptions, "kernel" | "links">): {
  readonly send: (frames: Effects["send"]) => void;
  readonly shown: (atMs: number) => void;
  /** When the oldest view was made that the kernel does not follow yet; null where it follows all. */
  readonly aheadMs: () => number | null;
  readonly close: () => void;
} {
  const timesMs: number[] = [];
  let isClosed = false;
  const sendLater = async (held: Effects["send"]): Promise<void> => {
    await kernel.caughtUp();
    if (!isClosed) for (const frame of held) links.send(frame);
  };
  const follow = async (atMs: number): Promise<void> => {
    timesMs.push(atMs);
    await kernel.caughtUp();
    timesMs.shift();
  };
  return {
    send(frames) {
      const { isBehind } = kernel;
      const held = frames.filter(({ kind }) => isBehind && kind === "applied");
      for (const frame of frames) if (!held.includes(frame)) links.send(frame);
      if (held.length > 0) void sendLater(held);
    },
    shown(atMs) {
      if (kernel.isBehind) void follow(atMs);
    },
    aheadMs: () => timesMs[0] ?? null,
    close: () => void (isClosed = true),
  };
}

/** Writes the newest state, one write at a time, and again after a while where that failed. */
function openKeeper({ save, onSaved }: Pick<DriverOptions, "save" | "onSaved">): {
  readonly keep: (kept: KeptState) => void;
  readonly close: () => Promise<void>;
} {
  let unsaved: KeptState | null = null;
  let again: NodeJS.Timeout | null = null;
  const newest = latest(
    async (kept: KeptState) => {
      await save(kept);
      if (unsaved === kept) onSaved(null);
      if (unsaved === kept) unsaved = null;
    },
    (thrown) => {
      onSaved(textOf(thrown));
      // A disk that is full now has room later; what is newest then is worth keeping.
      again ??= setTimeout(() => {
        again = null;
        if (unsaved !== null) newest.set(unsaved);
      }, SAVE_AGAIN_MS);
    },
  );
  return {
    keep(kept) {
      unsaved = kept;
      newest.set(kept);
    },
    async close() {
      if (again !== null) clearTimeout(again);
      await newest.idle();
    },
  };
}

async function runProbe(request: ProbeRequest, feed: (input: Input) => void): Promise<void> {
  const { kind, port, path, timeoutMs } = request.probe;
  const { address, service: host, proxyProtocol: version } = request;
  // No client calls: the daemon does.
  const preamble = version === "off" ? null : renderProxyHeader({ version, caller: null });
  const outcome = await probe({ kind, address, port, path, host, timeoutMs, preamble });
  feed({ kind: "probed", probe: request, outcome });
}

function count(effects: Effects, metrics: Metrics): void {
  for (const { kind, bytes } of effects.received) {
    metrics.gossipMessages.inc({ kind, direction: "in" });
    metrics.gossipBytes.inc({ kind, direction: "in" }, bytes);
  }
  for (const ms of effects.spreadMs) metrics.gossipPropagation.observe(ms / 1000);
  for (const reason of effects.refused) metrics.gossipRefused.inc({ reason });
}
