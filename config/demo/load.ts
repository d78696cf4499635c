/**
 * Load: a steady stream of requests, and an account of what became of each.
 *
 * Open loop: requests leave at their times whether or not earlier ones came back, as users do; so a stall shows as
 * slow and failed requests and not as a pause in asking. Bounded in rate and in requests under way. What could not
 * leave since this very process stood still is not sent in arrears: hundreds at once would be another load.
 *
 * Touches: HTTP connections, timers.
 */

import { Agent, request } from "node:http";

/** Beyond this many unanswered requests further ones count as failed at once. */
const UNDER_WAY_MAX = 512;
const ANSWER_DEADLINE_MS = 10_000;
/** How late a timer may be for what it missed to be caught up with, so that the rate holds on a busy machine. */
const LATE_MAX_MS = 500;

/** What became of the requests of one stretch. */
export interface Account {
  asked: number;
  answered: number;
  failed: number;
  readonly countByReplica: Map<string, number>;
  /** When each replica first and last answered, on the clock of `performance.now()`. */
  readonly answeredMsByReplica: Map<string, { firstMs: number; lastMs: number }>;
  readonly failures: string[];
  /** Slowest answer, in milliseconds. */
  slowestMs: number;
}

/** An account with nothing in it. */
export function emptyAccount(): Account {
  return {
    asked: 0,
    answered: 0,
    failed: 0,
    countByReplica: new Map(),
    answeredMsByReplica: new Map(),
    failures: [],
    slowestMs: 0,
  };
}

/** Where requests go. */
export interface Aim {
  readonly host: string;
  readonly port: number;
  /** Host header, where it matters. */
  readonly hostHeader?: string;
}

/** Sends one GET and accounts for it. Never rejects. */
export function ask(aim: Aim, agent: Agent, account: Account): Promise<void> {
  account.asked += 1;
  const startMs = performance.now();
  const headers = aim.hostHeader === undefined ? {} : { host: aim.hostHeader };
  return new Promise((resolve) => {
    const fail = (why: string): void => {
      account.failed += 1;
      account.failures.push(why);
      resolve();
    };
    const sent = request({ host: aim.host, port: aim.port, path: "/", agent, headers }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (text: string) => (body += text));
      response.on("error", (error) => fail(error.message));
      response.on("end", () => {
        if (response.statusCode !== 200) {
          fail(`status ${response.statusCode}: ${body.slice(0, 100)}`);
          return;
        }
        const replica = body.trim();
        account.answered += 1;
        account.countByReplica.set(replica, (account.countByReplica.get(replica) ?? 0) + 1);
        const nowMs = performance.now();
        account.slowestMs = Math.max(account.slowestMs, nowMs - startMs);
        const { firstMs } = account.answeredMsByReplica.get(replica) ?? { firstMs: nowMs };
        account.answeredMsByReplica.set(replica, { firstMs, lastMs: nowMs });
        resolve();
      });
    });
    sent.setTimeout(ANSWER_DEADLINE_MS, () =>
      sent.destroy(new Error(`no answer in ${ANSWER_DEADLINE_MS} ms`)),
    );
    sent.on("error", (error) => fail(error.message));
    sent.end();
  });
}

/** A running stream of requests. */
export interface SteadyLoad {
  /** The account of the stretch that runs now. */
  readonly account: () => Account;
  /** Begins a new stretch; requests under way count for the one in which they left. */
  readonly turn: () => Account;
  /** Stops asking and waits for what is under way. */
  readonly stop: () => Promise<void>;
}

/** Asks `perSecond` times a second, over keep-alive connections, until stopped. */
export function steadyLoad(aim: Aim, perSecond: number): SteadyLoad {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  const underWay = new Set<Promise<void>>();
  let account = emptyAccount();
  const startMs = performance.now();
  const dueAt = (ms: number): number => Math.floor(((ms - startMs) / 1000) * perSecond);
  let sent = 0;
  const send = (): void => {
    const nowMs = performance.now();
    const due = dueAt(nowMs);
    sent = Math.max(sent, dueAt(nowMs - LATE_MAX_MS));
    for (; sent < due; sent += 1) {
      if (underWay.size >= UNDER_WAY_MAX) {
        account.asked += 1;
        account.failed += 1;
        account.failures.push(`more than ${UNDER_WAY_MAX} requests unanswered`);
        continue;
      }
      const one = ask(aim, agent, account);
      underWay.add(one);
      void one.then(() => underWay.delete(one));
    }
  };
  const timer = setInterval(send, 5);
  return {
    account: () => account,
    turn() {
      const ended = account;
      account = emptyAccount();
      return ended;
    },
    async stop() {
      clearInterval(timer);
      await Promise.all(underWay);
      agent.destroy();
    },
  };
}
