/**
 * Failover: 2,000 requests at 200 a second through the ingress of a host without replicas, one replica killed half way.
 *
 * Three daemons, six replicas as processes of their own. The kill is SIGKILL: nobody says goodbye. Every answer but 200
 * is a failure, and so is none.
 *
 * Touches: child processes, HTTP connections, timers.
 */

import { Children } from "../../config/demo/children.ts";
import { emptyAccount, steadyLoad } from "../../config/demo/load.ts";
import { until } from "../support/wait.ts";

import { startDaemon, type MeasuredDaemon } from "./daemon.ts";

const REPLICA = new URL("../../config/demo/replica.ts", import.meta.url).pathname;
const PER_SECOND = 200;
const REQUESTS = 2000;

/** What became of the requests. */
export interface FailoverFigures {
  readonly requests: number;
  readonly failed: number;
  readonly slowestMs: number;
  readonly failures: readonly string[];
}

/** Runs the load once. */
export async function measureFailover(): Promise<FailoverFigures> {
  const children = new Children();
  const daemons: MeasuredDaemon[] = [];
  try {
    const replicas = await Promise.all(
      Array.from({ length: 6 }, async (_, index) => {
        const address = `127.0.${43 + Math.floor(index / 3)}.${index + 11}`;
        const child = children.start(`web-${index}`, [REPLICA, `web-${index}`, address, "0"]);
        const { port } = JSON.parse(await child.firstLine) as { port: number };
        return { child, endpoint: `${address}:${port}` };
      }),
    );
    for (const index of [0, 1, 2]) {
      const own = replicas.slice(index * 3, index * 3 + 3).map(({ endpoint }) => endpoint);
      const service = {
        name: "web",
        ports: [{ name: "web", port: 8000, protocol: "http" }],
        replicas: own,
        http: [{ host: "web.example.com" }],
        health: { http: "/healthz" },
      };
      const [first] = daemons;
      daemons.push(
        await startDaemon(`127.0.${43 + index}.1`, {
          services: own.length > 0 ? [service] : [],
          ...(first !== undefined && { joins: first }),
        }),
      );
    }
    const entry = daemons[2];
    if (entry === undefined) throw new Error("three daemons were to be started");
    await until(
      async () => ((await entry.get("/api/v1/status")) as { view: { ready: number } }).view.ready === 6,
    );
    return await underLoad(entry.address, () => replicas[0]?.child.process.kill("SIGKILL"));
  } finally {
    await children.endAll();
    for (const daemon of daemons) await daemon.end();
  }
}

async function underLoad(host: string, breakIt: () => void): Promise<FailoverFigures> {
  const load = steadyLoad({ host, port: 8080, hostHeader: "web.example.com" }, PER_SECOND);
  const total = load.account();
  await until(() => total.asked >= REQUESTS / 2, { deadlineMs: 20_000 });
  breakIt();
  await until(() => total.asked >= REQUESTS, { deadlineMs: 20_000 });
  await load.stop();
  const { asked, failed, slowestMs, failures } = total.asked > 0 ? total : emptyAccount();
  return { requests: asked, failed, slowestMs, failures: [...new Set(failures)] };
}
