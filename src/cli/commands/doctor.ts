/**
 * Doctor: `skein doctor`, what works on this host and what does not, with the remedy.
 *
 * A check is a row; remedies stand below the table, since the two together are wider than a terminal, and with -o wide
 * so do the reasons. Failures make the exit status 1, so that a script can ask; warnings do not: a host may be meant
 * that way. Where no daemon answers it is looked at what a start needs, and the status is 4 when nothing is in its way:
 * "unreachable", as of every command. With --clean it takes away what daemons left in the kernel and in Docker: they
 * leave it there when they stop, so that connections go on.
 *
 * Touches: the daemon, through the session; the host, through its surroundings.
 */

import { Option, type Command } from "commander";

import {
  DOCTOR_AREAS,
  type DoctorArea,
  type DoctorCheck,
  type DoctorReport,
} from "../../admin/contract-doctor.ts";
import { CODES, Failure } from "../../base/failure.ts";
import { Stranger } from "../client.ts";
import { show, type Absence, type Act, type Session } from "../context.ts";
import { progress } from "../progress.ts";
import { paint, printable, renderTable, type Column, type Style, type Tone } from "../render.ts";

import { configFlagsOf } from "./run.ts";

const EXAMPLES = `
Examples:
  skein doctor
  skein doctor -o wide                  with the reason why each thing matters
  skein doctor --area peer clock        only the ways to other hosts and their clocks
  skein doctor -q                       only what fails, as area/subject
  skein doctor -o json | jq '.checks[] | select(.area == "container" and .state != "ok")'
  skein doctor --clean                  after the last stop: leave the host as it was

Where no daemon runs it tells whether one could start.
Exit status 1 when a check fails, or when something could not be taken away; 4 when no daemon runs and nothing else is
wrong.`;

const TONES: Readonly<Record<DoctorCheck["state"], Tone>> = { ok: "good", warn: "warn", fail: "bad" };

const COLUMNS: readonly Column<DoctorCheck>[] = [
  { title: "STATE", cell: ({ state }) => ({ text: state, tone: TONES[state] }) },
  { title: "AREA", cell: ({ area }) => area },
  { title: "SUBJECT", cell: ({ subject }) => subject },
  { title: "CHECK", cell: ({ id }) => id, wideOnly: true },
  // Never cut: it is what the table is read for, and a terminal wraps what is too long.
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
    .addOption(new Option("--area <area...>", "only checks of these areas").choices([...DOCTOR_AREAS]))
    .option("--config <file>", "config file, for where no daemon runs; as of skein run")
    .option("--data-dir <path>", "folder of the daemon's state (node.dataDir), for where no daemon runs")
    .addHelpText("after", EXAMPLES)
    .action(
      act(async (session, command) => {
        const { clean = false, area = DOCTOR_AREAS } = command.opts<Given>();
        if (clean) return await cleanUp(session, command);
        const { isRunning, checks: all } = await progress(session, {
          text: "looking at this host",
          work: examine(session, command),
        });
        const checks = all.filter((check) => area.includes(check.area));
        const failing = checks.filter(({ state }) => state === "fail");
        await show(session, {
          value: { checks },
          table: (style) => textOf({ checks }, style),
          names: failing.map(({ area: of, subject }) => `${of}/${subject}`),
        });
        if (failing.some(({ id }) => id !== ABSENCE)) return 1;
        return isRunning ? 0 : CODES.unreachable.exit;
      }),
    );
}

interface Given {
  readonly clean?: true;
  readonly area?: readonly DoctorArea[];
}

/** The check that says that no daemon answers: it has an exit status of its own. */
const ABSENCE = "daemon.answers";

/** What the daemon says, or what is found where none answers. */
async function examine(
  { client, surroundings }: Session,
  command: Command,
): Promise<DoctorReport & { readonly isRunning: boolean }> {
  try {
    return { isRunning: true, ...(await client.get<DoctorReport>("/api/v1/doctor")) };
  } catch (thrown) {
    // A daemon whose answer is no good is one all the same: its host is not free to be looked at.
    const isAbsent =
      thrown instanceof Stranger || (thrown instanceof Failure && thrown.code === "unreachable");
    if (!isAbsent) throw thrown;
    const report = await surroundings.examineHost(configFlagsOf(command, []), absenceOf(thrown));
    return { isRunning: false, ...report };
  }
}

/** The next step stands in the remedy, and not in what is said; a start is one that is told better there. */
function absenceOf(thrown: Failure): Absence {
  const [why = "", step = null] = thrown.message.split(/; (?!.*; )/);
  return { why, remedy: thrown instanceof Stranger ? step : null };
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
  for (const { area, subject, remedy } of checks) {
    if (remedy === null) continue;
    subjectsByRemedy.set(remedy, [...(subjectsByRemedy.get(remedy) ?? []), `${area} ${subject}`]);
  }
  const remedies = [...subjectsByRemedy].map(([remedy, subjects]) => [subjects.join(", "), remedy] as const);
  const reasons = new Map(checks.map(({ id, why }) => [id, why]));
  return [
    table,
    section("What to do:", remedies, style),
    style.wide ? section("Why it matters:", [...reasons], style) : "",
  ].join("");
}

/** Lines of what and a text, under a title; nothing where there are none. */
function section(title: string, lines: readonly (readonly [string, string])[], style: Style): string {
  if (lines.length === 0) return "";
  const body = lines.map(([what, text]) => `  ${printable(what)}: ${printable(text)}\n`).join("");
  return `\n${paint(title, "dim", style)}\n${body}`;
}
