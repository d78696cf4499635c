/**
 * Planned: a part of the kernel together with what plans it, and how all of them are taken away.
 *
 * Whoever makes the kernel match, and whoever takes all of ours out of it (a purge, a host that the proxy serves, a
 * clean-up without a daemon), works on the same list: what is not in it would be forgotten by one of them.
 *
 * Pure. parts.ts makes the list, reconcile.ts drives it.
 */

import { textOf } from "../base/failure.ts";

import type { Forwarding, KernelGiven } from "./given.ts";
import type { Applied, KernelPart } from "./part.ts";

/**
 * The parts by name: what refuses clear packets of encrypted networks, what lets ours pass Docker's firewall, the
 * encrypted device, the overlay's links, and the rules by which traffic is led.
 */
export type PartName = "guard" | "accept" | "wireguard" | "links" | "rules";

/** A part together with its plan. */
export interface PlannedPart {
  readonly name: PartName;
  /** Networks that it could not make when it was last called. */
  readonly broken: ReadonlySet<string>;
  /** The families whose packets get through what this part opens; both unless told. */
  readonly passes?: Forwarding;
  apply(given: KernelGiven, options: { readonly mayRemove: boolean }): Promise<Applied>;
  repair(): Promise<Applied>;
  remove(): Promise<Applied>;
}

/** One thing to be taken away. */
export interface Removal {
  readonly what: string;
  /** Resolves to what is left, in words. May reject: then why it could not be. */
  readonly remove: () => Promise<readonly string[]>;
}

const NONE: ReadonlySet<string> = new Set();
const BOTH: Forwarding = { v4: true, v6: true };

/** Puts a part and its plan together. */
export function planned<Desired>(
  name: PartName,
  plan: (given: KernelGiven) => Desired,
  part: KernelPart<Desired> & { readonly broken?: ReadonlySet<string>; readonly passes?: Forwarding },
): PlannedPart {
  return {
    name,
    get broken() {
      return part.broken ?? NONE;
    },
    get passes() {
      return part.passes ?? BOTH;
    },
    apply: (given, options) => part.apply(plan(given), options),
    repair: () => part.repair(),
    remove: () => part.remove(),
  };
}

/** How all parts are taken away: the last made first. */
export function removalsOf(parts: readonly PlannedPart[]): readonly Removal[] {
  return parts.toReversed().map((part) => ({
    what: wordOf(part.name),
    remove: async () => (await part.remove()).problems,
  }));
}

/** What could not be done with a part, in words. */
export function failureText(name: PartName, thrown: unknown): string {
  return `${wordOf(name)} cannot be changed: ${textOf(thrown)}`;
}

/** A part in the words of a status. */
export function wordOf(name: PartName): string {
  return WORDS[name];
}

const WORDS: Readonly<Record<PartName, string>> = {
  guard: "the guard of encrypted networks",
  accept: "the rule for Docker's firewall",
  wireguard: "wireguard",
  links: "links",
  rules: "rules",
};
