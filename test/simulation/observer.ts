/**
 * Observer: who sees each step of each node, to check what must always hold and to measure.
 */

import type { Effects, Input } from "../../src/step.ts";

import type { Host } from "./host.ts";

/** Broken: something that must always hold did not. The text says what, where and when. */
export class Violation extends Error {
  override readonly name = "Violation";
}

/** Sees each step of each node; throws a Violation when something is not as it must be. */
export interface Observer {
  /** A daemon begins a life. */
  readonly started?: (host: Host) => void;
  /** Before a step. */
  readonly before?: (host: Host, input: Input) => void;
  /** After a step; the host's view is the one before it. */
  readonly stepped?: (host: Host, input: Input, effects: Effects) => void;
}

/** A step in one line, for looking into a run; null for a tick in which nothing happened. */
export function lineOf(host: Host, input: Input, effects: Effects): string | null {
  const what =
    input.kind === "frame" ? `frame ${effects.received.map(({ kind }) => kind).join()}` : input.kind;
  const sent = effects.send.map(({ kind, link }) => `${kind}>${link}`).join(" ");
  const said = effects.happenings.map(({ kind, subject, text }) => `[${kind} ${subject}: ${text}]`).join(" ");
  const done = [sent, said].filter((text) => text !== "").join(" ");
  if (input.kind === "tick" && done === "") return null;
  const link = "link" in input ? ` ${input.link}` : "";
  return `${host.name} ${what}${link}: ${done}`;
}
