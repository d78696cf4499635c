/**
 * Links: makes devices, entries, neighbours, routes and rules of overlay networks as they are planned.
 *
 * Each change is the difference to what is there, read anew: somebody else may have taken a bridge away, and its routes
 * with it. A plan that is the same as before costs nothing; what was refused is tried again with the next repair. One
 * network that cannot be made stops no other: its device is missing, so nothing is put on it, and that is told once
 * and not for each of its hosts.
 *
 * Touches: the kernel, through what it is opened with.
 */

import { isDeepStrictEqual } from "node:util";

import { LIMITS } from "../../model/limits.ts";
import type { Applied, KernelPart } from "../part.ts";

import { diffDevices, diffRest } from "./diff.ts";
import { openIproute } from "./iproute.ts";
import type { LinkPlan } from "./plan.ts";
import { openSettings, type LinkSettings } from "./settings.ts";
import { describeThing } from "./words.ts";
import type { LinkCommand, LinkKernel, LinkState, Refusal } from "./state.ts";

/** Links, and which networks have none though they should. */
export interface LinksPart extends KernelPart<LinkPlan> {
  /** Names of networks whose device could not be made when it was last tried. */
  readonly broken: ReadonlySet<string>;
}

/** What links are made with. */
export interface LinkParts {
  readonly kernel: LinkKernel;
  readonly settings: LinkSettings;
}

/** What was applied last. */
interface Last {
  readonly plan: LinkPlan;
  readonly mayRemove: boolean;
  readonly applied: Applied;
}

/** The links of this network namespace, or of a kernel that is handed in. */
export function openLinks(parts: Partial<LinkParts> = {}): LinksPart {
  const kernel = parts.kernel ?? openIproute();
  const settings = parts.settings ?? openSettings();
  let last: Last | null = null;
  let broken: ReadonlySet<string> = new Set();

  const make = async (plan: LinkPlan, mayRemove: boolean): Promise<Applied> => {
    // Forgotten first: what fails half-way must not pass for done.
    last = null;
    const devices = [...plan.deviceByNetwork.values()];
    const made = await match(kernel, { desired: plan.things, mayRemove });
    broken = new Set(
      [...plan.deviceByNetwork].filter(([, name]) => made.missing.has(name)).map(([name]) => name),
    );
    const told = await settings.apply(devices, plan.devices6);
    const problems = [...plan.problems, ...wordsOf(made.refusals), ...told];
    const applied = { changes: made.changes, problems: bounded(problems) };
    last = { plan, mayRemove, applied };
    return applied;
  };

  return {
    get broken() {
      return broken;
    },
    async apply(plan, { mayRemove }) {
      const isSame =
        last?.mayRemove === mayRemove && (last.plan === plan || isDeepStrictEqual(last.plan, plan));
      if (last !== null && isSame) return { changes: 0, problems: last.applied.problems };
      return await make(plan, mayRemove);
    },
    async repair() {
      if (last === null) return { changes: 0, problems: [] };
      return await make(last.plan, last.mayRemove);
    },
    async remove() {
      last = null;
      broken = new Set();
      const { changes, refusals } = await match(kernel, { desired: [], mayRemove: true });
      return { changes, problems: bounded(wordsOf(refusals)) };
    },
  };
}

/** What came of making the kernel match. */
interface Made {
  readonly changes: number;
  readonly refusals: readonly Refusal[];
  /** Devices that should be and are not. */
  readonly missing: ReadonlySet<string>;
}

async function match(
  kernel: LinkKernel,
  { desired, mayRemove }: { readonly desired: LinkState; readonly mayRemove: boolean },
): Promise<Made> {
  const states = { observed: await kernel.observe(), desired, mayRemove };
  const onDevices = diffDevices(states);
  const refused = onDevices.length === 0 ? [] : await kernel.execute(onDevices);
  const failed = new Set(refused.map(({ command }) => command.thing));
  const lost = namesOf(onDevices.filter(({ verb, thing }) => verb === "remove" && !failed.has(thing)));
  const missing = namesOf(onDevices.filter(({ verb, thing }) => verb === "add" && failed.has(thing)));
  const rest = diffRest(states, { lost, missing });
  const refusedRest = rest.length === 0 ? [] : await kernel.execute(rest);
  const refusals = [...refused, ...refusedRest];
  return { changes: onDevices.length + rest.length - refusals.length, refusals, missing };
}

function namesOf(commands: readonly LinkCommand[]): ReadonlySet<string> {
  return new Set(commands.flatMap(({ thing }) => (thing.kind === "device" ? [thing.name] : [])));
}

function wordsOf(refusals: readonly Refusal[]): readonly string[] {
  return refusals.map(({ command, text }) => `${describeThing(command)}: ${text}`);
}

/** At most so many: a host without a module refuses each of a thousand alike. */
function bounded(problems: readonly string[]): readonly string[] {
  const kept = problems.slice(0, LIMITS.kernelProblemsMax);
  const more = problems.length - kept.length;
  return more === 0 ? kept : [...kept, `and ${more} more of the kernel's refusals`];
}
