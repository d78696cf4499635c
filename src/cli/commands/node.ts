/**
 * Node: `skein node ls`, the members of the cluster as the daemon of this host sees them.
 *
 * Touches: nothing but the daemon, through the session.
 */

import type { Command } from "commander";

import type { MemberLine } from "../../admin/contract.ts";
import { show, type Act } from "../context.ts";
import { agoText, durationText, idText, renderTable, type Column, type Tone } from "../render.ts";

const TONE_BY_STATE: Readonly<Record<MemberLine["state"], Tone>> = {
  alive: "good",
  suspect: "warn",
  dead: "bad",
  away: "warn",
  left: "dim",
};

const COLUMNS: readonly Column<MemberLine>[] = [
  { title: "NAME", cell: ({ name }) => name, shrinks: true },
  { title: "ID", cell: ({ id }, style) => idText(id, style) },
  { title: "STATE", cell: ({ state }) => ({ text: state, tone: TONE_BY_STATE[state] }) },
  { title: "ROLE", cell: ({ role }) => role },
  { title: "ADDRESS", cell: ({ address }) => address },
  { title: "REPLICAS", cell: ({ replicas }) => String(replicas) },
  { title: "ZONE", cell: ({ zone }) => zone, wideOnly: true, shrinks: true },
  { title: "VERSION", cell: ({ version }) => version, wideOnly: true },
  { title: "RTT", cell: rttText, wideOnly: true },
  { title: "SINCE", cell: ({ sinceMs }, style) => agoText(sinceMs, style), wideOnly: true },
];

/** Adds the command and its subcommand. */
export function addNode(program: Command, act: Act): void {
  const node = program.command("node").description("members of the cluster");
  node
    .command("ls")
    .description("list members: state, role, address, replicas; with -o wide also zone, version, RTT")
    .addHelpText("after", "\nExamples:\n  skein node ls -o wide\n  skein node ls -o json")
    .action(
      act(async (session) => {
        const members = await session.client.get<readonly MemberLine[]>("/api/v1/members");
        await show(session, {
          value: members,
          table: (style) => renderTable(COLUMNS, members, style),
          names: members.map(({ name }) => name),
        });
        return 0;
      }),
    );
}

/** Below a millisecond a whole number would tell nothing. */
function rttText({ rttMs, self }: MemberLine): string {
  if (rttMs === null) return self ? "self" : "";
  return rttMs < 10 ? `${rttMs.toFixed(1)}ms` : durationText(rttMs);
}
