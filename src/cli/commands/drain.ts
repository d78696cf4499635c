/**
 * Drain: `skein drain REPLICA`, takes a replica out of traffic before it is stopped.
 *
 * Without `--wait` the drain has begun when the command ends; with it every live member has stopped sending new
 * traffic, which is when stopping the replica harms nobody. When that takes too long the members that are missing are
 * named, since they are what has to be looked at.
 *
 * Touches: nothing but the daemon, through the session.
 */

import type { Command } from "commander";

import type { DrainLine } from "../../admin/contract-live.ts";
import type { DrainRequest, DrainResult } from "../../admin/contract.ts";
import { CODES } from "../../base/failure.ts";
import { show, type Act, type Session } from "../context.ts";
import { progress } from "../progress.ts";
import { printable, printableLines } from "../render.ts";

/** Above the daemon's own cap of 10 s, after which it names who is missing. */
const WAIT_DEADLINE_MS = 15_000;

const EXAMPLES = `
Examples:
  skein drain web-1 --wait && docker stop web-1
  skein drain web-1 --undo

Exit status 4 when a live member has not applied it within 10 s.`;

/** Adds the command. */
export function addDrain(program: Command, act: Act): void {
  program
    .command("drain <replica>")
    .description("take a replica (id, start of an id, or name) out of traffic")
    .option("--wait", "return when every live member has applied it")
    .option("--undo", "take the drain back: in again once it is ready")
    .addHelpText("after", EXAMPLES)
    .action(act((session, command) => drain(session, command)));
}

async function drain(session: Session, command: Command): Promise<number> {
  const { wait = false, undo = false } = command.opts<{ readonly wait?: true; readonly undo?: true }>();
  const request: DrainRequest = { replica: command.args[0] ?? "", wait, ...(undo ? { undo } : {}) };
  const result = await progress(session, {
    text: "waiting for every live member to apply it",
    work: session.client.post<DrainResult>("/api/v1/drains", request, WAIT_DEADLINE_MS),
    look: () => missingText(session, ({ replica, name }) => [replica, name].includes(request.replica)),
  });
  const outcome = undo ? printable(`${result.replica} is not drained any more`) : outcomeOf(result);
  await show(session, { value: result, table: () => `${outcome}\n`, names: [result.replica] });
  if (result.applied || !wait) return 0;
  // Also with --quiet: the status alone would not tell who is missing.
  const names = result.pending.join(", ");
  const missing = `replica ${result.replica} drains, but in 10 s it was not applied by: ${names}`;
  session.surroundings.stderr.write(`skein: ${printableLines(missing)}\n`);
  return CODES.timeout.exit;
}

/** Who has not applied some drains yet, for the line of progress; null while that is not told. */
export async function missingText(
  { client }: Session,
  isMeant: (drain: DrainLine) => boolean,
): Promise<string | null> {
  const drains = await client.get<readonly DrainLine[]>("/api/v1/drains");
  const names = new Set(drains.filter(isMeant).flatMap(({ pending }) => pending));
  return names.size === 0 ? null : `not applied yet by ${[...names].sort().join(", ")}`;
}

function outcomeOf({ replica, applied, pending }: DrainResult): string {
  if (applied) return printable(`${replica} drains, applied by every live member`);
  const whom = pending.length === 0 ? "every live member" : pending.join(", ");
  return printable(`${replica} drains, not yet applied by ${whom}`);
}
