/**
 * Typist's load: somebody who asks a URL the whole time, twenty times a second, while something is typed.
 *
 * Touches: the network of the lab.
 */

import { request } from "node:http";

const EVERY_MS = 50;
const ANSWER_MS = 10_000;
const FAILURES_KEPT = 5;

/** Load that runs. */
export interface TypistLoad {
  /** How many requests were answered with 200. */
  answered: number;
  /** What became of others. */
  readonly failures: string[];
  /** Ends it; settles when the last request has. */
  stop(): Promise<void>;
}

/** Starts to ask, each time on a connection of its own. */
export function startLoad(url: string): TypistLoad {
  const open = new Set<Promise<void>>();
  const load: TypistLoad = {
    answered: 0,
    failures: [],
    async stop() {
      clearInterval(timer);
      await Promise.all(open);
    },
  };
  const ask = async (): Promise<void> => {
    const failure = await failureOf(url);
    if (failure === null) load.answered += 1;
    else if (load.failures.length < FAILURES_KEPT) load.failures.push(failure);
  };
  const timer = setInterval(() => {
    const asked = ask().finally(() => open.delete(asked));
    open.add(asked);
  }, EVERY_MS);
  return load;
}

/** Null for an answer with status 200 that came whole. */
async function failureOf(url: string): Promise<string | null> {
  return await new Promise((resolve) => {
    const sent = request(url, { agent: false, timeout: ANSWER_MS }, (response) => {
      response.resume();
      response.on("end", () => resolve(response.statusCode === 200 ? null : `status ${response.statusCode}`));
      response.on("error", (error) => resolve(error.message));
    });
    sent.on("timeout", () => sent.destroy(new Error(`no answer in ${ANSWER_MS} ms`)));
    sent.on("error", (error) => resolve(error.message));
    sent.end();
  });
}
