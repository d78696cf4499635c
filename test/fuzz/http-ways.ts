// Ways through a proxy for fuzzers: each case that is under way has an upstream of its own and a port that leads to it
// alone, so that whatever comes there is of that case.

import { Failure } from "../../src/base/failure.ts";
import { seededRandom } from "../../src/base/random.ts";
import { openProxy } from "../../src/proxy/proxy.ts";
import { openMetrics } from "../../src/runtime/metrics.ts";
import { frontend, pool, portAt, SILENT, table, upstream } from "../proxy/fixtures.ts";

/** Cases under way at a time. */
export const WAYS = 12;

/** A port of the proxy and the upstream that it leads to. */
export interface Way<U> {
  readonly host: string;
  readonly port: number;
  readonly upstream: U;
}

/** A proxy whose ways are lent to one case at a time. */
export interface Ways<U> {
  lend<T>(use: (way: Way<U>) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** Opens a proxy in front of upstreams that listen. */
export async function openWays<U extends { readonly port: number }>(
  upstreams: readonly U[],
): Promise<Ways<U>> {
  const proxy = await openProxy({
    dial: () => Promise.reject(new Failure("unreachable", "there is no mesh here")),
    nodeId: "aaaaaaaaaaaaaaaaaaaa",
    log: SILENT,
    metrics: openMetrics(),
    random: seededRandom(7),
    nowMs: Date.now,
    trustedProxies: [],
    vipPool: "127.96.0.0/12",
  });
  const addressed = upstreams.map((one, index) => ({ upstream: one, host: `127.0.0.${10 + index}` }));
  const frontends = addressed.map(({ upstream: { port }, host }, index) =>
    frontend("http", pool([upstream(`web-${index}`, port)]), { address: host }),
  );
  const failures = await proxy.set(table(frontends));
  if (failures.length > 0) throw new Error(JSON.stringify(failures));
  const free = addressed.map((one): Way<U> => ({ ...one, port: portAt(proxy, one.host) }));
  return {
    async lend(use) {
      const way = free.pop();
      if (way === undefined) throw new Error(`more than ${upstreams.length} cases at a time`);
      try {
        return await use(way);
      } finally {
        free.push(way);
      }
    },
    close: () => proxy.close(0),
  };
}
