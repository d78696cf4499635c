/**
 * Doctor: `skein doctor`, what works on this host and what does not, with the remedy.
 *
 * A check is a row; remedies stand below the table, since the two together are wider than a terminal. Failures make the
 * exit status 1, so that a script can ask; warnings do not, for a host may be meant that way. With --clean it takes
 * away what daemons left in the kernel and in Docker: they leave it there when they stop, so that connections go on.
 *
 * Touches: the daemon, through the session; the host, through its surroundings.
 */

import type { Command } from "commander";

import type { DoctorCheck, DoctorReport } from "../../admin/contract.ts";
import { show, type Act, type Session } from "../context.ts";
import { paint, printable, renderTable, type Column, type Style, type Tone } from "../render.ts";

import { configFlagsOf } from "./run.ts";

const EXAMPLES = `
Examples:
  skein doctor
  skein doctor -q                       only what fails, as area/subject
  skein doctor -o json | jq '.checks[] | select(.area == "container" and .state != "ok")'
  skein doctor --clean                  after the last stop: leave the host as it was

Exit status 1 when a check fails, or when something could not be taken away.`;

const TONES: Readonly<Record<DoctorCheck["state"], Tone>> = { ok: "good", warn: "warn", fail: "bad" };

const COLUMNS: readonly Column<DoctorCheck>[] = [
  { title: "STATE", cell: ({ state }) => ({ text: state, tone: TONES[state] }) },
  { title: "AREA", cell: ({ area }) => area },
  { title: "SUBJECT", cell: ({ subject }) => subject },
  // Last and never cut: it is what the table is read for, and a terminal wraps what is too long.
  { title: "WHAT", cell: ({ text }) => text },
];

/** Adds the command. */
export function addDoctor(program: Command, act: Act): void {
  program
    .command("doctor")
    .description("what works on this host and what does not, with the remedy")
    .option(
      "--clean",
      "where no daemon runs: take away the rules, links, routes and networks that it left here",
    )
    .option("--config <file>", "config file, for --clean; as of skein run")
    .option("--data-dir <path>", "folder of the daemon's state (node.dataDir), for --clean")
    .addHelpText("after", EXAMPLES)
    .action(
      act(async (session, command) => {
        const { clean = false } = command.opts<{ readonly clean?: true }>();
        if (clean) return await cleanUp(session, command);
        const report = await session.client.get<DoctorReport>("/api/v1/doctor");
        const failing = report.checks.filter(({ state }) => state === "fail");
        await show(session, {
          value: report,
          table: (style) => textOf(report, style),
          names: failing.map(({ area, subject }) => `${area}/${subject}`),
        });
        return failing.length === 0 ? 0 : 1;
      }),
    );
}

async function cleanUp(session: Session, command: Command): Promise<number> {
  const left = await session.surroundings.cleanHost(configFlagsOf(command, []));
  const lines = left.map((text) => `left behind: ${printable(text)}\n`).join("");
  await show(session, {
    value: { left },
    table: () => (left.length === 0 ? "this host has nothing of Skein's in its network any more\n" : lines),
    names: left,
  });
  return left.length === 0 ? 0 : 1;
}

function textOf({ checks }: DoctorReport, style: Style): string {
  const table = renderTable(COLUMNS, checks, style);
  const subjectsByRemedy = new Map<string, string[]>();
  for (const { subject, remedy } of checks) {
    if (remedy === null) continue;
    subjectsByRemedy.set(remedy, [...(subjectsByRemedy.get(remedy) ?? []), subject]);
  }
  if (subjectsByRemedy.size === 0) return table;
  const lines = [...subjectsByRemedy].map(([remedy, subjects]) => {
    return `  ${printable(subjects.join(", "))}: ${printable(remedy)}\n`;
  });
  return `${table}\n${paint("What to do:", "dim", style)}\n${lines.join("")}`;
}
