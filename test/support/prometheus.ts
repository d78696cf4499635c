/**
 * Prometheus: Debian's own, as tests ask it, wherever it runs.
 *
 * Touches: its port; whether its programs are there.
 */

import { spawnSync } from "node:child_process";

/** One series of an answer. */
export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A Prometheus that runs. */
export interface Prometheus {
  /** What a query gives now. @throws Error with Prometheus' own words when it is none */
  readonly query: (text: string) => Promise<readonly Series[]>;
  /** GET of its API, without the envelope. */
  readonly get: (path: string) => Promise<unknown>;
}

const ANSWER_MS = 15_000;

/** Why it cannot run here; null when it can. */
export function prometheusMissing(): string | null {
  const found = ["prometheus", "promtool"].filter(
    (name) => spawnSync(name, ["--version"]).error !== undefined,
  );
  return found.length === 0 ? null : `${found.join(" and ")} not installed`;
}

/** The one that listens at an address, `ip:port`. */
export function prometheusAt(listen: string): Prometheus {
  const get = async (path: string): Promise<unknown> => {
    const signal = AbortSignal.timeout(ANSWER_MS);
    const response = await fetch(`http://${listen}/api/v1/${path}`, { signal });
    const answer = (await response.json()) as { status: string; error?: string; data: unknown };
    if (answer.status !== "success") throw new Error(`${path}: ${answer.error ?? "failed"}`);
    return answer.data;
  };
  return {
    get,
    async query(text) {
      const data = (await get(`query?query=${encodeURIComponent(text)}`)) as {
        result: readonly { metric: Series["metric"]; value: readonly [number, string] }[];
      };
      return data.result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
    },
  };
}
