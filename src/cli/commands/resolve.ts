/**
 * Resolve: `skein resolve NAME`, what DNS would answer, and to whom.
 *
 * NXDOMAIN is an answer, so it is shown like one; but the status says 3, for who asks in a script asks whether the
 * name is there.
 *
 * Touches: nothing but the daemon, through the session.
 */

import type { Command } from "commander";

import type { ResolveAnswer, ResolveReport } from "../../admin/contract.ts";
import { CODES } from "../../base/failure.ts";
import { isIpv4, isIpv6 } from "../../base/ip.ts";
import { show, type Act, type Session } from "../context.ts";
import { printable, renderTable, type Column, type Style } from "../render.ts";

const EXAMPLES = `
Examples:
  skein resolve web
  skein resolve tasks.web.front A
  skein resolve _http._tcp.web SRV
  skein resolve 10.96.0.9               whose address it is (PTR)
  skein resolve db --as my-app-1        what the container my-app-1 is told

Exit status 3 for NXDOMAIN, 1 for another error of DNS.`;

const COLUMNS: readonly Column<ResolveAnswer>[] = [
  { title: "TYPE", cell: ({ type }) => type },
  { title: "TTL", cell: ({ ttl }) => String(ttl) },
  { title: "DATA", cell: ({ data }) => data },
];

/** Answers that are no error: `FORWARD` is a name that is not ours and goes upstream. */
const GOOD_RCODES: readonly string[] = ["NOERROR", "FORWARD"];

/** Adds the command. */
export function addResolve(program: Command, act: Act): void {
  program
    .command("resolve <dns-name> [type]")
    .description("tell what DNS would answer")
    .option("--as <container>", "to this container (name or address) instead of this host")
    .addHelpText("after", EXAMPLES)
    .action(act((session, command) => resolve(session, command)));
}

async function resolve(session: Session, command: Command): Promise<number> {
  const [name = "", asked] = command.args;
  const type = asked ?? (isIpv4(name) || isIpv6(name) ? "PTR" : "A");
  const { as } = command.opts<{ readonly as?: string }>();
  const query = new URLSearchParams({ name, type, ...(as === undefined ? {} : { as }) });
  const report = await session.client.get<ResolveReport>(`/api/v1/resolve?${query.toString()}`);
  await show(session, {
    value: report,
    table: (style) => textOf(report, style),
    names: report.answers.map(({ data }) => data),
  });
  if (report.rcode === "NXDOMAIN") return CODES["not-found"].exit;
  return GOOD_RCODES.includes(report.rcode) ? 0 : 1;
}

function textOf(report: ResolveReport, style: Style): string {
  const { name, type, rcode, answers, as, note } = report;
  const outcome = rcode === "FORWARD" ? "not ours, asked upstream" : rcode;
  const why = note === undefined ? "" : ` (${note})`;
  const head = `${printable(`${name} ${type}: ${outcome}, to ${as}${why}`)}\n`;
  return answers.length === 0 ? head : `${head}\n${renderTable(COLUMNS, answers, style)}`;
}
