/**
 * Ranges: tells the node what this host's routing table leads to, again and again.
 *
 * A network may be made long after the daemon started, and its range may lie in the pool: every member must know soon.
 * So the table is read every few seconds, which costs a file of some lines, and told when it changed.
 *
 * Touches: a timer; the routing table, through kernel/observe.ts.
 */

import { textOf } from "../base/failure.ts";
import type { Prefix } from "../base/ip.ts";
import { observePrefixes } from "../kernel/observe.ts";
import type { Input } from "../step.ts";

import type { Base } from "./base.ts";

const AGAIN_MS = 5000;

/**
 * Watches the routing table until the daemon closes.
 *
 * @param given  `told`: what the node knows already
 */
export function watchRanges(
  { lifecycle, options }: Base,
  given: {
    /** The ranges that are ours by now, or may become it. */
    readonly ranges: () => readonly Prefix[];
    readonly told: readonly string[];
    readonly feed: (input: Input) => void;
  },
): void {
  let told = given.told.join(" ");
  let isReading = false;
  let hasFailed = false;
  const look = async (): Promise<void> => {
    if (isReading) return;
    isReading = true;
    try {
      const prefixes = await observePrefixes(given.ranges());
      hasFailed = false;
      if (prefixes.join(" ") === told) return;
      told = prefixes.join(" ");
      given.feed({ kind: "prefixes", prefixes });
    } catch (thrown) {
      // What was told last stands; once a failure is enough to say so.
      if (!hasFailed) options.log.warn(`routing table cannot be read: ${textOf(thrown)}`);
      hasFailed = true;
    } finally {
      isReading = false;
    }
  };
  const timer = setInterval(() => void look(), AGAIN_MS);
  lifecycle.opened({ name: "routing table watch", close: () => clearInterval(timer) });
}
