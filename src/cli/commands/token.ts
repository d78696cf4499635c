/**
 * Token: `skein token worker` and `skein token manager`, the words that let a host in.
 *
 * What is printed is a line to paste on the new host, in a form that keeps the token out of the list of processes
 * there; with `-q` it is the token alone, for a pipe or a file. Rotating makes the old token worthless for who has it
 * still; who came with it stays.
 *
 * Touches: nothing but the daemon, through the session.
 */

import type { Command } from "commander";

import type { TokenReport } from "../../admin/contract-trust.ts";
import type { Role } from "../../model/credential.ts";
import { show, tell, type Act, type Session } from "../context.ts";
import { printable } from "../render.ts";

/** Adds the command and its subcommands. */
export function addToken(program: Command, act: Act): void {
  const token = program.command("token").description("print or rotate the tokens with which hosts join");
  for (const role of ["worker", "manager"] as const) {
    token
      .command(role)
      .description(DESCRIPTIONS[role])
      .option("--rotate", "make a new one; the old one lets nobody in any more")
      .addHelpText("after", `\nExamples:\n  skein token ${role}\n  skein token ${role} --rotate -q > token`)
      .action(act((session, command) => print(session, command, role)));
  }
}

const DESCRIPTIONS: Readonly<Record<Role, string>> = {
  worker: "the token for a host that runs services, and speaks for itself alone",
  manager: "the token for a host that may also admit and remove hosts, and holds the cluster's keys",
};

async function print(session: Session, command: Command, role: Role): Promise<number> {
  const { rotate = false } = command.opts<{ readonly rotate?: true }>();
  const path = `/api/v1/tokens/${role}`;
  const report = rotate
    ? await session.client.post<TokenReport>(path, {}, DEADLINE_MS)
    : await session.client.get<TokenReport>(path);
  if (rotate) tell(session, `the ${role} tokens before this one let nobody in any more`);
  await show(session, { value: report, table: () => textOf(report), names: [report.token] });
  return 0;
}

/** Writing the charter to a slow disk may take a moment. */
const DEADLINE_MS = 20_000;

function textOf({ token, role, host }: TokenReport): string {
  return [
    `To add a ${role}, run on the new host:`,
    "",
    `    echo ${printable(token)} | skein join ${printable(host)} --token -`,
    "",
    `or start its daemon with SKEIN_MESH_JOIN=${printable(host)} and the token in a file that`,
    "SKEIN_MESH_TOKEN_FILE names. Who has the token can join: pass it on as a password.",
    "",
  ].join("\n");
}
