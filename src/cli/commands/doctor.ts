/**
 * Doctor: `skein doctor`, what works on this host and what does not, with the remedy.
 *
 * A check is a row; remedies stand below the table, since the two together are wider than a terminal. Failures make the
 * exit status 1, so that a script can ask; warnings do not, for a host may be meant that way.
 *
 * Touches: nothing but the daemon, through the session.
 */

import type { Command } from "commander";

import type { DoctorCheck, DoctorReport } from "../../admin/contract.ts";
import { show, type Act } from "../context.ts";
import { paint, printable, renderTable, type Column, type Style, type Tone } from "../render.ts";

const EXAMPLES = `
Examples:
  skein doctor
  skein doctor -q                       only what fails, as area/subject
  skein doctor -o json | jq '.checks[] | select(.area == "container" and .state != "ok")'

Exit status 1 when a check fails.`;

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
    .addHelpText("after", EXAMPLES)
    .action(
      act(async (session) => {
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
