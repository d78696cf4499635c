/**
 * Rules: makes our nftables table what it is planned to be.
 *
 * What is there is read once, at the start, and remembered: a change is the difference to it, in one transaction. When
 * nft refuses one, the table is read again, as somebody may have changed it. Refused still, the service at fault is
 * found by halves and left to the proxy, where everything arrives that no rule leads elsewhere; its neighbours get what
 * they need. It is not tried again until its rules are others.
 *
 * Touches: the kernel, through what it is opened with.
 */

import { assert } from "../../base/assert.ts";
import { Failure, textOf } from "../../base/failure.ts";
import type { ServiceKey } from "../../model/ids.ts";

import type { Applied, KernelPart } from "../part.ts";
import {
  diffRules,
  renderEmptying,
  renderRemoval,
  withoutServices,
  type Change,
  type TableState,
} from "./changes.ts";
import { openConntrack, type Flows } from "./conntrack.ts";
import { openNft, type RulesKernel } from "./nft.ts";
import type { Endpoint, Ruleset } from "./ruleset.ts";

/** What the rules are made with. */
export interface RulesParts {
  readonly kernel: RulesKernel;
  readonly flows: Flows;
  /** Milliseconds from any moment. */
  readonly nowMs: () => number;
}

/** Our table. */
export interface RulesPart extends KernelPart<Ruleset> {
  /**
   * Turns nobody's questions for names to us any more: for when nobody is here to answer them. All else stays. Never
   * rejects.
   */
  freeQuestions(): Promise<Applied>;
}

/** The rules of this network namespace, or of a kernel that is handed in. */
export function openRules(parts: Partial<RulesParts> = {}): RulesPart {
  const { kernel = openNft(), flows = openConntrack(), nowMs = () => performance.now() } = parts;
  const rules = new Rules({ kernel, flows, nowMs });
  return {
    apply: (desired, { mayRemove }) => rules.apply(desired, mayRemove),
    repair: () => rules.repair(),
    remove: () => rules.remove(),
    freeQuestions: () => rules.freeQuestions(),
  };
}

/**
 * For so long the rules of an earlier life of the daemon stand as they are while not all is known: it knew more than we
 * do yet. After that what is known is nearer to the truth, though nothing is taken away for it.
 */
export const HELD_MS = 15_000;

/** Whose questions are turned to us. */
const QUESTIONS = ["asking", "asking6", "askers"] as const;
const UNFREED = "questions for names of containers still come here, where nobody answers";

interface Last {
  readonly desired: Ruleset;
  readonly mayRemove: boolean;
  /** True once the rules of an earlier life may be changed. */
  readonly mayChange: boolean;
}

class Rules {
  readonly #kernel: RulesKernel;
  readonly #flows: Flows;
  readonly #nowMs: () => number;
  /** Until when the rules of an earlier life stand; null before anything was applied. */
  #heldUntilMs: number | null = null;
  /** What the table holds as far as we know; undefined while it must be read. */
  #known: TableState | null | undefined = undefined;
  #last: Last | null = null;
  /** Chains that were written in this life. */
  readonly #own = new Set<string>();
  /** Services that nft refused, with their rules and what it said. */
  readonly #refused = new Map<ServiceKey, { readonly rules: string; readonly text: string }>();
  #endpoints: ReadonlyMap<string, Endpoint> | null = null;
  /** True while what was applied last is there as far as we know, and what was told of it. */
  #isDone = false;
  #problems: readonly string[] = [];

  constructor({ kernel, flows, nowMs }: RulesParts) {
    this.#kernel = kernel;
    this.#flows = flows;
    this.#nowMs = nowMs;
  }

  async apply(desired: Ruleset, mayRemove: boolean): Promise<Applied> {
    const mayChange = mayRemove || this.#isHeldNoLonger();
    const last = this.#last;
    const isSame = last?.desired === desired && last.mayRemove === mayRemove && last.mayChange === mayChange;
    if (this.#isDone && isSame) return { changes: 0, problems: this.#told() };
    // Until it is: what fails half-way must not pass for done.
    this.#isDone = false;
    this.#last = { desired, mayRemove, mayChange };
    this.#forgetRefusals(desired);
    const wasRead = this.#known === undefined;
    if (this.#known === undefined) this.#known = await this.#kernel.list();
    const changes = await this.#make(desired, wasRead);
    this.#problems = [...desired.problems, ...this.#refusals()];
    if (mayRemove) this.#settleFlows(desired);
    this.#isDone = true;
    return { changes, problems: this.#told() };
  }

  #isHeldNoLonger(): boolean {
    this.#heldUntilMs ??= this.#nowMs() + HELD_MS;
    return this.#nowMs() >= this.#heldUntilMs;
  }

  #told(): readonly string[] {
    const { problem } = this.#flows;
    return problem === null ? this.#problems : [...this.#problems, problem];
  }

  async repair(): Promise<Applied> {
    const last = this.#last;
    if (last === null) return { changes: 0, problems: [] };
    this.#known = undefined;
    this.#isDone = false;
    this.#flows.resume();
    return this.apply(last.desired, last.mayRemove);
  }

  async freeQuestions(): Promise<Applied> {
    this.#flows.stop();
    this.#known = undefined;
    this.#isDone = false;
    try {
      const there = await this.#kernel.list();
      const asked = QUESTIONS.filter((name) => (there?.sets.get(name)?.size ?? 0) > 0);
      const said = asked.length === 0 ? null : await this.#kernel.apply(renderEmptying(asked));
      if (said === null) return { changes: asked.length, problems: [] };
      return { changes: 0, problems: [`${UNFREED}: nft says: ${said}`] };
    } catch (thrown) {
      return { changes: 0, problems: [`${UNFREED}: ${textOf(thrown)}`] };
    }
  }

  async remove(): Promise<Applied> {
    const wasThere = (await this.#kernel.list()) !== null;
    const said = wasThere ? await this.#kernel.apply(renderRemoval()) : null;
    this.#known = undefined;
    this.#isDone = false;
    this.#last = null;
    this.#own.clear();
    this.#endpoints = null;
    this.#flows.stop();
    const problems = said === null ? [] : [`table of rules stays: nft says: ${said}`];
    return { changes: wasThere && said === null ? 1 : 0, problems };
  }

  /** Puts the difference into the kernel. @returns how many things changed */
  async #make(desired: Ruleset, isFresh: boolean): Promise<number> {
    const first = this.#difference(desired);
    const said = await this.#run(first);
    if (said === null) return first.count;
    if (!isFresh) {
      this.#known = undefined;
      this.#known = await this.#kernel.list();
      return this.#make(desired, true);
    }
    return this.#makeWithout(first, desired, said);
  }

  #difference(desired: Ruleset): Change {
    assert(this.#known !== undefined && this.#last !== null, "the table is read before it is changed");
    const { mayRemove, mayChange } = this.#last;
    const meant = withoutServices(desired, new Set(this.#refused.keys()));
    return diffRules(this.#known, meant, { mayRemove, mayChange, own: this.#own });
  }

  /** Runs a change. @returns what nft said against it; null when it was taken */
  async #run({ script, after }: Change): Promise<string | null> {
    if (script === "") {
      // Not as it was read: pieces of a text keep all of it in memory.
      this.#known = after;
      return null;
    }
    const before = this.#known;
    // Until it is known how it ended, nothing is known: a deadline may pass after nft did its work.
    this.#known = undefined;
    const said = await this.#kernel.apply(script);
    this.#known = said === null ? after : before;
    if (said !== null) return said;
    for (const [name, digests] of after.chains) if (before?.chains.get(name) !== digests) this.#own.add(name);
    return null;
  }

  /** Applies all but what is refused: first what needs no changed service, then these by halves. */
  async #makeWithout({ services }: Change, desired: Ruleset, said: string): Promise<number> {
    let changes = 0;
    for (const service of services) this.#refuse(desired, service, said);
    const rest = this.#difference(desired);
    const saidOfRest = await this.#run(rest);
    if (saidOfRest !== null) {
      this.#refused.clear();
      throw new Failure("refused", `rules cannot be set: nft says: ${saidOfRest}`);
    }
    changes += rest.count;
    const groups: (readonly ServiceKey[])[] = halves([...services]);
    for (let group = groups.pop(); group !== undefined; group = groups.pop()) {
      for (const service of group) this.#refused.delete(service);
      const change = this.#difference(desired);
      const refusal = await this.#run(change);
      if (refusal === null) {
        changes += change.count;
        continue;
      }
      for (const service of group) this.#refuse(desired, service, refusal);
      if (group.length > 1) groups.push(...halves(group));
    }
    return changes;
  }

  #refuse(desired: Ruleset, service: ServiceKey, text: string): void {
    this.#refused.set(service, { rules: rulesOf(desired, service), text });
  }

  /** A service whose rules are others now is tried again. */
  #forgetRefusals(desired: Ruleset): void {
    for (const [service, { rules }] of this.#refused)
      if (rulesOf(desired, service) !== rules) this.#refused.delete(service);
  }

  #refusals(): readonly string[] {
    return [...this.#refused].map(
      ([service, { text }]) => `service ${service} is left to the proxy: nft refuses its rules: ${text}`,
    );
  }

  #settleFlows({ endpoints }: Ruleset): void {
    const before = this.#endpoints;
    this.#endpoints = endpoints;
    if (before === null) this.#flows.sweep(endpoints);
    else if (before !== endpoints) this.#flows.forget(before, endpoints);
  }
}

function halves<T>(list: readonly T[]): (readonly T[])[] {
  const middle = list.length >> 1;
  return [list.slice(middle), list.slice(0, middle)].filter((half) => half.length > 0);
}

/** What the rules of a service come to, to be compared. */
function rulesOf({ chains }: Ruleset, service: ServiceKey): string {
  const own = [...chains.values()].filter((chain) => chain.service === service);
  return own.map(({ name, rules }) => `${name} ${rules.map(({ digest }) => digest).join(" ")}`).join("\n");
}
