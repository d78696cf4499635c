/**
 * Leave: `skein leave`, takes this host out of the cluster for good.
 *
 * A signal cannot tell a restart from a removal, so the daemon takes it for a restart and the others wait for its
 * return. This says that there is none: nothing of this host is offered any more, and its names go where no other host
 * serves them. Its data dir forgets the cluster: the next start is that of a new node. It ends when the daemon has, so
 * that what follows in a script finds ports and data dir free. When its supervisor has started the daemon again that is
 * told, for only the supervisor can be asked not to.
 *
 * Touches: the daemon, through the session; a timer between looks.
 */

import { setTimeout as delay } from "node:timers/promises";

import type { Command } from "commander";

import type { LeaveRequest, LeaveResult, StatusReport } from "../../admin/contract.ts";
import { CODES, Failure } from "../../base/failure.ts";
import { show, tell, type Act, type Session } from "../context.ts";
import { progress } from "../progress.ts";
import { printable, printableLines } from "../render.ts";

import { configFlagsOf } from "./run.ts";

/** For all of it. The daemon takes at most 8.5 s: to be heard, to let connections end, to close. */
const DEADLINE_MS = 15_000;
const LOOK_EVERY_MS = 50;

const EXAMPLES = `
Examples:
  skein leave
  docker update --restart=no skein && docker exec skein skein leave

To stop the daemon for a restart or an upgrade send it SIGTERM, as systemctl and docker stop do: the other hosts then
wait two minutes for its return. Started again after leaving, it is a new node.
Exit status 4 when the daemon has not ended within 15 s, 5 for the last manager of others without --force.`;

/** How the daemon was found after its farewell. */
type Outcome = "gone" | "lingers" | "started again" | "taken along";

const ENDED: Readonly<Record<Outcome, string>> = {
  gone: "its daemon has ended",
  lingers: "its daemon answers",
  "started again": "its daemon answers",
  "taken along": "its daemon ends, and this container with it",
};

/** Adds the command. */
export function addLeave(program: Command, act: Act): void {
  program
    .command("leave")
    .description("leave the cluster for good: drain all that runs here, say so, end the daemon")
    .option(
      "--force",
      "also as the last manager; also where no daemon runs: its data dir forgets the cluster",
    )
    .option("--config <file>", "config file, where no daemon runs; as of skein run")
    .option("--data-dir <path>", "folder of the daemon's state (node.dataDir), where no daemon runs")
    .addHelpText("after", EXAMPLES)
    .action(act((session, command) => leave(session, command)));
}

async function leave(session: Session, command: Command): Promise<number> {
  const { force = false } = command.opts<{ readonly force?: true }>();
  const request: LeaveRequest = { force };
  const deadlineMs = session.surroundings.nowMs() + DEADLINE_MS;
  const running = await statusOrForgotten(session, command, force);
  if (running === null) return 0;
  const { startedAtMs } = running;
  const result = await progress(session, {
    text: "draining all that runs here, then saying farewell",
    work: session.client.post<LeaveResult>("/api/v1/leave", request, DEADLINE_MS),
  });
  const outcome = await endOf(session, result, { startedAtMs, deadlineMs });
  const text = printable(textOf(result, outcome));
  await show(session, { value: result, table: () => `${text}\n`, names: [result.node] });
  const { stderr } = session.surroundings;
  const warn = (warning: string): unknown => stderr.write(`skein: ${printableLines(warning)}\n`);
  if (result.pending.length > 0) {
    warn(`it went before these had heard that its replicas drain: ${result.pending.join(", ")}`);
  }
  if (outcome === "started again")
    warn("the daemon was started again, as a new node: tell its supervisor not to, then leave once more");
  if (outcome === "lingers") warn(`its daemon has not ended within ${DEADLINE_MS / 1000} s`);
  if (outcome === "lingers") return CODES.timeout.exit;
  return outcome !== "started again" && result.farewell === "left" ? 0 : 1;
}

/** The daemon's status; null when none runs and its data dir has forgotten the cluster, as `--force` asks. */
async function statusOrForgotten(
  session: Session,
  command: Command,
  force: boolean,
): Promise<StatusReport | null> {
  try {
    return await session.client.get<StatusReport>("/api/v1/status");
  } catch (thrown) {
    if (!force || !(thrown instanceof Failure) || thrown.code !== "unreachable") throw thrown;
    const dataDir = await session.surroundings.forgetCluster(configFlagsOf(command, []));
    const text = `no daemon runs here; ${dataDir} has forgotten its cluster, and its next start is a new node's`;
    await show(session, { value: { dataDir }, table: () => `${printable(text)}\n`, names: [dataDir] });
    return null;
  }
}

/** Waits for the daemon's end, unless that would end this command, too, before it has told anything. */
async function endOf(
  session: Session,
  { node }: LeaveResult,
  run: { readonly startedAtMs: number; readonly deadlineMs: number },
): Promise<Outcome> {
  if (session.surroundings.endsWithDaemon()) return "taken along";
  tell(session, `${node} has said farewell; waiting for its daemon to end`);
  const work = untilGone(session, run.startedAtMs, run.deadlineMs);
  return await progress(session, { text: "waiting for its daemon to end", work });
}

/** Looks at the daemon again and again until nobody answers, or another run of it does. */
async function untilGone(
  { client, surroundings }: Session,
  startedAtMs: number,
  deadlineMs: number,
): Promise<Outcome> {
  const { interrupted, nowMs } = surroundings;
  while (nowMs() < deadlineMs) {
    try {
      const status = await client.get<StatusReport>("/api/v1/status");
      if (status.startedAtMs !== startedAtMs) return "started again";
    } catch (thrown) {
      if (thrown instanceof Failure && thrown.code === "unreachable") return "gone";
      if (!(thrown instanceof Failure) || thrown.code !== "timeout") throw thrown;
    }
    await delay(LOOK_EVERY_MS, null, { signal: interrupted });
  }
  return "lingers";
}

function textOf({ node, farewell }: LeaveResult, outcome: Outcome): string {
  const ended = ENDED[outcome];
  if (farewell === "left") return `${node} has left the cluster for good, ${ended}`;
  return `${node} was being stopped already, as for a restart: the others wait for its return, ${ended}`;
}
