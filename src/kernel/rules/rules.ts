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
import { Failure } from "../../base/failure.ts";
import type { ServiceKey } from "../../model/ids.ts";

import type { Applied, KernelPart } from "../part.ts";
import { diffRules, renderRemoval, withoutServices, type Change, type TableState } from "./changes.ts";
import { openConntrack, type Flows } from "./conntrack.ts";
import { openNft, type RulesKernel } from "./nft.ts";
import type { Endpoint, Ruleset } from "./ruleset.ts";

/** What the rules are made with. */
export interface RulesParts {
  readonly kernel: RulesKernel;
  readonly flows: Flows;
}

/** The rules of this network namespace, or of a kernel that is handed in. */
export function openRules(parts: Partial<RulesParts> = {}): KernelPart<Ruleset> {
  const rules = new Rules({ kernel: parts.kernel ?? openNft(), flows: parts.flows ?? openConntrack() });
  return {
    apply: (desired, { mayRemove }) => rules.apply(desired, mayRemove),
    repair: () => rules.repair(),
    remove: () => rules.remove(),
  };
}

interface Last {
  readonly desired: Ruleset;
  readonly mayRemove: boolean;
}

class Rules {
  readonly #kernel: RulesKernel;
  readonly #flows: Flows;
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

  constructor({ kernel, flows }: RulesParts) {
    this.#kernel = kernel;
    this.#flows = flows;
  }

  async apply(desired: Ruleset, mayRemove: boolean): Promise<Applied> {
    const isDone = this.#isDone && this.#last?.desired === desired && this.#last.mayRemove === mayRemove;
    if (isDone) return { changes: 0, problems: this.#problems };
    // Until it is: what fails half-way must not pass for done.
    this.#isDone = false;
    this.#last = { desired, mayRemove };
    this.#forgetRefusals(desired);
    const wasRead = this.#known === undefined;
    if (this.#known === undefined) this.#known = await this.#kernel.list();
    const changes = await this.#make(desired, { mayRemove, isFresh: wasRead });
    const problems = [...desired.problems, ...this.#refusals()];
    if (mayRemove) problems.push(...(await this.#settleFlows(desired)));
    this.#problems = problems;
    this.#isDone = true;
    return { changes, problems };
  }

  async repair(): Promise<Applied> {
    const last = this.#last;
    if (last === null) return { changes: 0, problems: [] };
    this.#known = undefined;
    this.#isDone = false;
    return this.apply(last.desired, last.mayRemove);
  }

  async remove(): Promise<Applied> {
    const wasThere = (await this.#kernel.list()) !== null;
    const said = wasThere ? await this.#kernel.apply(renderRemoval()) : null;
    this.#known = undefined;
    this.#isDone = false;
    this.#last = null;
    this.#own.clear();
    this.#endpoints = null;
    const problems = said === null ? [] : [`table of rules stays: nft says: ${said}`];
    return { changes: wasThere && said === null ? 1 : 0, problems };
  }

  /** Puts the difference into the kernel. @returns how many things changed */
  async #make(
    desired: Ruleset,
    { mayRemove, isFresh }: { readonly mayRemove: boolean; readonly isFresh: boolean },
  ): Promise<number> {
    const first = this.#difference(desired, mayRemove);
    const said = await this.#run(first);
    if (said === null) return first.count;
    if (!isFresh) {
      this.#known = undefined;
      this.#known = await this.#kernel.list();
      return this.#make(desired, { mayRemove, isFresh: true });
    }
    return this.#makeWithout(first, { desired, mayRemove, said });
  }

  #difference(desired: Ruleset, mayRemove: boolean): Change {
    assert(this.#known !== undefined, "the table is read before it is changed");
    const meant = withoutServices(desired, new Set(this.#refused.keys()));
    return diffRules(this.#known, meant, { mayRemove, own: this.#own });
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
  async #makeWithout(
    { services }: Change,
    { desired, mayRemove, said }: { desired: Ruleset; mayRemove: boolean; said: string },
  ): Promise<number> {
    let changes = 0;
    for (const service of services) this.#refuse(desired, service, said);
    const rest = this.#difference(desired, mayRemove);
    const saidOfRest = await this.#run(rest);
    if (saidOfRest !== null) {
      this.#refused.clear();
      throw new Failure("refused", `rules cannot be set: nft says: ${saidOfRest}`);
    }
    changes += rest.count;
    const groups: (readonly ServiceKey[])[] = halves([...services]);
    for (let group = groups.pop(); group !== undefined; group = groups.pop()) {
      for (const service of group) this.#refused.delete(service);
      const change = this.#difference(desired, mayRemove);
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

  async #settleFlows({ endpoints }: Ruleset): Promise<readonly string[]> {
    const before = this.#endpoints;
    this.#endpoints = endpoints;
    if (before === endpoints) return [];
    const problem =
      before === null ? await this.#flows.sweep(endpoints) : await this.#flows.forget(before, endpoints);
    return problem === null ? [] : [problem];
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
