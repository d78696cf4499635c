/**
 * Status: `skein status`, this daemon on one screen.
 *
 * It tells first what runs, then what it sees of the cluster, then what was decided for the user and what is wrong:
 * everything that `auto` picked is here with its reason, because a wrong guess is only found where it is shown.
 *
 * Touches: nothing but the daemon, through the session.
 */

import { setTimeout as pause } from "node:timers/promises";

import type { Command } from "commander";

import type { StatusReport } from "../../admin/contract.ts";
import { Failure } from "../../base/failure.ts";
import { show, type Act, type Session } from "../context.ts";
import { progress } from "../progress.ts";
import { durationText, idText, renderPairs, type Style } from "../render.ts";

import { certificateText } from "./node.ts";

/** How long `--wait` does, and how often it asks. */
const WAIT_MS = 30_000;
const ASK_EVERY_MS = 100;

/** Adds the command. */
export function addStatus(program: Command, act: Act): void {
  program
    .command("status")
    .description("this daemon: what it does, what auto picked, what is wrong")
    .option("--wait", "until the daemon answers and its view is complete, 30 s at most")
    .addHelpText(
      "after",
      "\nExamples:\n  skein status\n  skein status --wait              behind a start, in a script\n" +
        "  skein status -o json | jq .view.complete",
    )
    .action(
      act(async (session, command) => {
        const { wait = false } = command.opts<{ readonly wait?: true }>();
        const asked = wait ? untilComplete(session) : statusOf(session);
        const status = wait
          ? await progress(session, { text: "waiting for the daemon to be ready", work: asked })
          : await asked;
        await show(session, {
          value: status,
          table: (style) => textOf(status, style),
          names: [status.node.name],
        });
        return 0;
      }),
    );
}

async function statusOf({ client }: Session): Promise<StatusReport> {
  return await client.get<StatusReport>("/api/v1/status");
}

/** @throws what the last question met, once it has waited for long enough */
async function untilComplete(session: Session): Promise<StatusReport> {
  const { nowMs, interrupted } = session.surroundings;
  const deadlineMs = nowMs() + WAIT_MS;
  for (;;) {
    let why: Failure;
    try {
      const status = await statusOf(session);
      if (status.view.complete) return status;
      why = new Failure("timeout", `view is not complete after ${WAIT_MS / 1000} s; skein doctor says why`);
    } catch (thrown) {
      if (!(thrown instanceof Failure) || thrown.code !== "unreachable") throw thrown;
      why = thrown;
    }
    if (nowMs() >= deadlineMs) throw why;
    await pause(ASK_EVERY_MS, undefined, { signal: interrupted });
  }
}

function textOf(status: StatusReport, style: Style): string {
  const { node, dataPlane, cluster, view, listen } = status;
  const known = [idText(node.id, style), node.role, node.zone === "" ? null : `zone ${node.zone}`];
  const states = Object.entries(cluster.states).filter(([, count]) => count > 0);
  return renderPairs(
    [
      ["node", [`${node.name} (${known.filter((text) => text !== null).join(", ")})`]],
      ["version", [node.version]],
      ["uptime", [durationText(status.uptimeMs)]],
      ["cluster", [cluster.id]],
      ["certificate", [certificateLine(status, style)]],
      ["data plane", [`${dataPlane.mode}: ${dataPlane.reason}`]],
      ["members", [`${cluster.size}: ${states.map(([state, count]) => `${count} ${state}`).join(", ")}`]],
      ["services", [`${view.services}, ${view.ready} of ${view.replicas} replicas take traffic`]],
      ["view", [`version ${view.version}, ${view.complete ? "complete" : "not complete yet"}`]],
      ["listens", Object.entries(listen).flatMap(([what, at]) => addressLines(what, at))],
      ["sources", status.sources.map(sourceText)],
      ["picked", status.choices.map(({ key, value, reason }) => `${key} = ${value} (${reason})`)],
      ["problems", status.problems.map(({ area, subject, text }) => `${area}: ${subject}: ${text}`)],
      ["warnings", status.warnings],
    ],
    style,
  );
}

/** With the newest authority where it is another: a rotation is under way. */
function certificateLine({ certificate, authorityGeneration }: StatusReport, style: Style): string {
  const text = certificateText(certificate, style);
  return certificate.issuerGeneration === authorityGeneration
    ? text
    : `${text}; authority ${authorityGeneration} takes over`;
}

function addressLines(what: string, addresses: readonly string[]): readonly string[] {
  return addresses.length === 0 ? [] : [`${what} ${addresses.join(", ")}`];
}

function sourceText({ name, endpoints, stale }: StatusReport["sources"][number]): string {
  return `${name}: ${endpoints} endpoints${stale === null ? "" : `, stale: ${stale}`}`;
}
