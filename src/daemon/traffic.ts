/**
 * Traffic: what passes through this host, and through all of them, by the second.
 *
 * Nothing is measured while nobody asks. A host is asked by its own callers and by other members; the whole cluster is
 * what each of them says of itself, added up here. Who asks for it first waits until the others have looked for a
 * window, which is two rounds; from then on the last answers stand ready.
 *
 * Touches: metrics and the proxy, other members through the mesh, a timer.
 */

import type { TrafficReport } from "../admin/contract-live.ts";
import { linkSightsOf } from "../admin/link-sights.ts";
import {
  trafficBetween,
  type BucketBounds,
  type HostTraffic,
  type Levels,
  type TrafficSample,
} from "../admin/rates.ts";
import { Rounds, type RoundAnswer } from "../admin/rounds.ts";
import { trafficReport } from "../admin/traffic-report.ts";
import { isNotYet, NOT_YET, readTraffic, trafficWords } from "../admin/traffic-wire.ts";
import { textOf } from "../base/failure.ts";
import type { AskMember } from "../mesh/questions.ts";
import type { StreamPeer } from "../mesh/stream.ts";
import type { Member } from "../model/member.ts";
import type { View } from "../model/view.ts";
import type { Node } from "../node.ts";
import type { Proxy } from "../proxy/proxy.ts";
import { nowMs } from "../runtime/clock.ts";
import type { Log } from "../runtime/log.ts";

import type { Base } from "./base.ts";
import { KernelCounts } from "./kernel-counts.ts";
import { replicaOf } from "./report.ts";
import { Sampler } from "./sampler.ts";
import { lookAtTraffic } from "./traffic-counts.ts";
import { Wanted } from "./wanted.ts";

/** What is looked at, and who is asked. */
export interface TrafficParts {
  readonly node: Pick<Node, "gossip">;
  readonly proxy: Pick<Proxy, "carried" | "stats">;
  readonly view: () => View;
  readonly ask: AskMember;
  /** Reads what the kernel has counted; null where it leads nothing on by itself. */
  readonly readKernel: (() => Promise<ReadonlyMap<string, number>>) | null;
}

/** Who tells of traffic. */
export interface TrafficWatch {
  /** For this host's callers; the first answer takes a window, that of the cluster two. */
  readonly report: (scope: TrafficReport["scope"]) => Promise<TrafficReport>;
  /** For another member. */
  readonly answer: () => unknown;
  /** Brings the metrics up to date that are counted elsewhere. */
  readonly settle: () => Promise<void>;
}

/** How long a member may take to answer, its connection included. */
const ANSWER_MS = 800;
/** How often it is looked whose turn it is. */
const TURN_MS = 250;
/** Who asks first waits no longer for members that begin to look: a window, and two answers. */
const FIRST_MS = 2000;

/** Scrapes that come faster than that get what the last one read of the kernel and of open connections. */
const SCRAPE_MS = 5000;

/** Opens it; it looks at nothing until somebody asks. */
export function openTrafficWatch(
  base: Pick<Base, "metrics" | "lifecycle" | "options">,
  parts: TrafficParts,
): TrafficWatch {
  const { metrics, lifecycle, options } = base;
  const { log } = options;
  const { node, proxy, view } = parts;
  const levels = (): Levels => ({
    ejected: proxy.stats().ejected.map(({ id }) => replicaOf(id)),
    links: linkSightsOf(view().members, (id) => node.gossip.standing(id)?.rttMs ?? null),
  });
  const { readKernel: read } = parts;
  const kernel = read === null ? null : new KernelCounts({ metrics, view, read });
  const sampler = new Sampler<TrafficSample, HostTraffic>({
    async look() {
      await kernel?.refresh(0);
      return lookAtTraffic({ metrics, carried: proxy.carried(), led: kernel?.seen ?? NONE, atMs: nowMs() });
    },
    between: (before, after) => trafficBetween(before, after, levels()),
    onFailed: (thrown) => log.error("no look at traffic", { error: textOf(thrown) }),
  });
  let settledAtMs = -Infinity;
  const bounds = { requests: metrics.proxyDuration.bounds, dns: metrics.dnsDuration.bounds };
  const others = new Others({ ...parts, bounds, log });
  lifecycle.opened({
    name: "traffic",
    close() {
      sampler.close();
      others.close();
    },
  });
  return {
    async report(scope) {
      const [own] = await Promise.all([sampler.window(), scope === "cluster" ? others.wanted() : null]);
      const atMs = nowMs();
      const told = scope === "cluster" ? others.told(atMs) : { hosts: new Map(), silent: [] };
      const hosts = new Map([[view().self, own], ...told.hosts]);
      return trafficReport({ scope, view: view(), hosts, silent: told.silent, bounds, atMs });
    },
    answer() {
      const window = sampler.peek();
      return window === null ? NOT_YET : trafficWords(window, bounds);
    },
    async settle() {
      if (nowMs() - settledAtMs >= SCRAPE_MS) {
        settledAtMs = nowMs();
        proxy.carried();
      }
      await kernel?.refresh(SCRAPE_MS);
    },
  };
}

const NONE: ReadonlyMap<string, number> = new Map();

interface OthersParts extends TrafficParts {
  readonly log: Log;
  readonly bounds: BucketBounds;
}

/** The other members, asked for as long as somebody wants to know. */
class Others {
  readonly #rounds = new Rounds();
  readonly #parts: OthersParts;
  readonly #wanted: Wanted;
  #first: { readonly begun: PromiseWithResolvers<null>; readonly untilMs: number } | null = null;

  constructor(parts: OthersParts) {
    this.#parts = parts;
    this.#wanted = new Wanted({
      everyMs: TURN_MS,
      begin: () => this.#begin(),
      again: () => this.#turn(),
      end: () => this.#end(),
    });
  }

  /** Says that they are wanted; settles once all have told, or a moment later. */
  async wanted(): Promise<void> {
    this.#wanted.want();
    await this.#first?.begun.promise;
  }

  /** What counts now. Who is known not to live is not asked, and is silent. */
  told(nowMs: number): ReturnType<Rounds["told"]> {
    const { hosts, silent } = this.#rounds.told(nowMs);
    const missing = this.#parts.view().members.filter(({ self, state }) => {
      return !self && state !== "alive" && state !== "left";
    });
    const ids = new Set([...silent, ...missing.map(({ id }) => id)]);
    return { hosts: new Map([...hosts].filter(([id]) => !ids.has(id))), silent: [...ids] };
  }

  close(): void {
    this.#wanted.close();
  }

  #begin(): void {
    this.#first = { begun: Promise.withResolvers<null>(), untilMs: nowMs() + FIRST_MS };
    this.#turn();
  }

  #turn(): void {
    const alive = this.#parts.view().members.filter(({ self, state }) => !self && state === "alive");
    const memberById = new Map(alive.map((member) => [member.id, member]));
    for (const id of this.#rounds.due([...memberById.keys()], nowMs())) {
      const member = memberById.get(id);
      if (member !== undefined) void this.#ask(member);
    }
    if (!this.#rounds.isBeginning || nowMs() >= (this.#first?.untilMs ?? 0)) this.#settle();
  }

  async #ask({ id, host, port }: Member): Promise<void> {
    this.#rounds.answered(id, await this.#answerOf({ id, address: { host, port } }), nowMs());
    if (!this.#rounds.isBeginning) this.#settle();
  }

  async #answerOf(peer: StreamPeer): Promise<RoundAnswer> {
    const { ask, bounds, log } = this.#parts;
    try {
      const answer = await ask(peer, { topic: "traffic", deadlineMs: ANSWER_MS });
      if (isNotYet(answer)) return "not yet";
      const read = readTraffic(answer, nowMs(), bounds);
      if (read === null) log.debug("a member tells of its traffic what makes no sense", { peer: peer.id });
      return read ?? "silent";
    } catch (thrown) {
      // Out of reach, too slow, or older than the question: the report says that it is silent.
      log.debug("a member tells nothing of its traffic", { peer: peer.id, error: textOf(thrown) });
      return "silent";
    }
  }

  #settle(): void {
    this.#first?.begun.resolve(null);
    this.#first = null;
  }

  #end(): void {
    this.#settle();
    this.#rounds.clear();
  }
}
