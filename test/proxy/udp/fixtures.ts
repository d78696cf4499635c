// What unit tests of flows are made of: a lane and its traffic without sockets, and ways whose far end is the test.

import { Failure } from "../../../src/base/failure.ts";
import { seededRandom } from "../../../src/base/random.ts";
import { NO_ACCESS_LOG, type AccessEntry } from "../../../src/proxy/access/entry.ts";
import { NO_TRACING } from "../../../src/proxy/trace/tracing.ts";
import { Active } from "../../../src/proxy/choice/active.ts";
import { openLane, type Lane, type Traffic } from "../../../src/proxy/choice/attempts.ts";
import { Ejections } from "../../../src/proxy/choice/outlier.ts";
import { Deadlines } from "../../../src/proxy/deadlines.ts";
import { TIMES } from "../../../src/proxy/proxy.ts";
import type { Upstream } from "../../../src/proxy/routes.ts";
import type { Sender, SenderReceiver, Ways } from "../../../src/proxy/udp/ways.ts";
import { openMetrics } from "../../../src/runtime/metrics.ts";

import { pool, SILENT, upstream } from "../fixtures.ts";

/** What an upstream says that does not listen. */
export const REFUSED = new Failure("refused", "no");

/** One way, as the test sees it. */
export interface FarEnd {
  readonly upstream: Upstream;
  readonly receiver: SenderReceiver;
  readonly sent: Buffer[];
  isClosed: boolean;
}

/** Opens ways that keep what is sent on them. */
export class FakeWays implements Pick<Ways, "open"> {
  readonly ends: FarEnd[] = [];

  open(to: Upstream, receiver: SenderReceiver): Sender {
    const end: FarEnd = { upstream: to, receiver, sent: [], isClosed: false };
    this.ends.push(end);
    return {
      send(payload) {
        receiver.sent(payload);
        end.sent.push(payload);
        return true;
      },
      close: () => void (end.isClosed = true),
    };
  }

  /** What was sent to an upstream, over all its ways. */
  textsTo(replica: string): readonly string[] {
    const own = this.ends.filter((end) => end.upstream.replica === replica);
    return own.flatMap(({ sent }) => sent.map((payload) => payload.toString("latin1")));
  }
}

/** A lane and all that flows on it need. */
export interface Bench {
  readonly traffic: Traffic;
  readonly lane: Lane;
  readonly ways: FakeWays;
  readonly entries: AccessEntry[];
  readonly counts: string[];
  nowMs: number;
  /** How many uses all upstreams have that were ever in the lane. */
  uses(): number;
}

/** A lane to these upstreams; ids by their names. */
export function bench(...upstreams: readonly Upstream[]): Bench {
  const entries: AccessEntry[] = [];
  const traffic: Traffic = {
    active: new Active(),
    access: { ...NO_ACCESS_LOG, isOn: true, append: (entry) => void entries.push(entry) },
    tracing: NO_TRACING,
    ejections: new Ejections(),
    deadlines: new Deadlines(),
    connect: () => Promise.reject(REFUSED),
    metrics: openMetrics(),
    log: SILENT,
    random: seededRandom(1),
    nowMs: () => made.nowMs,
    times: TIMES,
  };
  const made: Bench = {
    traffic,
    lane: openLane({ ...pool(upstreams), protocol: "udp" }, () => 0),
    ways: new FakeWays(),
    entries,
    counts: [],
    nowMs: 1000,
    uses: () => upstreams.reduce((sum, one) => sum + traffic.active.loadOf(one).count, 0),
  };
  return made;
}

/** An upstream for datagrams. */
export function udpUpstream(name: string, changes: Partial<Upstream> = {}): Upstream {
  return upstream(name, 53, { id: `${name}:53/udp`, ...changes });
}
