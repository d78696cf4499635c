// Load: a steady stream of requests while something happens, and an account of what became of each.
//
// Half of them go over kept connections, half over fresh ones: a stop that resets idle connections hurts only the
// first kind, one that closes a listener only the second. Requests leave at their times whether or not earlier ones
// came back, as users' do, up to a bound.

import assert from "node:assert/strict";
import { Agent, request } from "node:http";

import type { Ending } from "../support/daemons.ts";
import { until } from "../support/wait.ts";

import type { Door } from "./cluster.ts";

/** What became of the requests so far. */
export interface Account {
  asked: number;
  readonly answeredBy: Map<string, number>;
  readonly failures: string[];
}

/** A stream of requests that goes on until it is stopped. */
export interface SteadyLoad {
  readonly account: () => Account;
  /** Waits until so many more requests have been asked and answered. */
  readonly more: (count: number) => Promise<void>;
  /** Stops asking, waits for what is under way and checks that no request failed. */
  readonly stop: () => Promise<Account>;
}

const EVERY_MS = 10;
const ANSWER_DEADLINE_MS = 8000;
/** More wait only where this machine cannot keep up: what they would find is how it fails when it is flooded. */
const UNDER_WAY_PER_DOOR = 4;

/** Asks a hundred times a second, by turns through each door. */
export function steadyLoad(t: Ending, doors: readonly Door[]): SteadyLoad {
  const agent = new Agent({ keepAlive: true, maxSockets: 32 });
  const underWay = new Set<Promise<void>>();
  const account: Account = { asked: 0, answeredBy: new Map(), failures: [] };
  const timer = setInterval(() => {
    const door = doors[account.asked % doors.length];
    if (door === undefined || underWay.size >= UNDER_WAY_PER_DOOR * doors.length) return;
    const isKept = Math.floor(account.asked / doors.length) % 2 === 0;
    account.asked += 1;
    const one = sendOne(door, isKept ? agent : false, account);
    underWay.add(one);
    void one.then(() => underWay.delete(one));
  }, EVERY_MS);
  const end = async (): Promise<void> => {
    clearInterval(timer);
    await Promise.all(underWay);
    agent.destroy();
  };
  t.after(end);
  const answered = (): number => [...account.answeredBy.values()].reduce((sum, count) => sum + count, 0);
  return {
    account: () => account,
    async more(count) {
      const wanted = answered() + count;
      await until(() => answered() + account.failures.length >= wanted, { what: `${count} more requests` });
    },
    async stop() {
      await end();
      assert.deepEqual(
        account.failures,
        [],
        `${account.failures.length} of ${account.asked} requests failed`,
      );
      return account;
    },
  };
}

function sendOne(door: Door, agent: Agent | false, account: Account): Promise<void> {
  const { host, port, hostHeader } = door;
  const startMs = performance.now();
  return new Promise((resolve) => {
    const fail = (why: string): void => {
      const how = agent === false ? "fresh" : "kept";
      account.failures.push(
        `${host}:${port} (${how}) after ${Math.round(performance.now() - startMs)} ms: ${why}`,
      );
      resolve();
    };
    const headers = hostHeader === undefined ? {} : { host: hostHeader };
    const sent = request({ host, port, agent, headers, timeout: ANSWER_DEADLINE_MS }, (response) => {
      let body = "";
      response.on("data", (chunk: Buffer) => (body += chunk.toString()));
      response.on("error", (error) => fail(error.message));
      response.on("end", () => {
        if (response.statusCode !== 200) return fail(`status ${response.statusCode}: ${body.trim()}`);
        account.answeredBy.set(body.trim(), (account.answeredBy.get(body.trim()) ?? 0) + 1);
        resolve();
      });
    });
    sent.on("timeout", () => sent.destroy(new Error("no answer in time")));
    sent.on("error", (error) => fail(error.message));
    sent.end();
  });
}
