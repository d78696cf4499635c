/**
 * Node: `skein node ls` and `skein node inspect`, the members of the cluster as the daemon of this host sees them;
 * `skein node drain` and `activate`, which take what one runs out of traffic for a while; and `skein node rm`, which
 * takes one out for good.
 *
 * What is wrong with a member that lives stands beside its state, since its state alone would say that all is well: a
 * broken link of this host's own, or that it came and went and has to settle.
 *
 * Touches: nothing but the daemon, through the session.
 */

import type { Command } from "commander";

import type { CertificateLine, RemoveResult } from "../../admin/contract-trust.ts";
import type { NodeDrainRequest, NodeDrainResult } from "../../admin/contract-live.ts";
import type { MemberDetail, MemberLine, MemberReplica } from "../../admin/contract.ts";
import { CODES } from "../../base/failure.ts";
import { show, tell, type Act, type Session } from "../context.ts";
import { pathTo } from "../describe.ts";
import { progress } from "../progress.ts";
import {
  agoText,
  durationText,
  idText,
  printable,
  printableLines,
  renderPairs,
  renderTable,
  type Cell,
  type Column,
  type Style,
  type Tone,
} from "../render.ts";

import { missingText } from "./drain.ts";

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
  { title: "STATE", cell: stateCell },
  { title: "ROLE", cell: ({ role }) => role },
  { title: "ADDRESS", cell: ({ address }) => address },
  { title: "REPLICAS", cell: ({ replicas }) => String(replicas) },
  { title: "ZONE", cell: ({ zone }) => zone, wideOnly: true, shrinks: true },
  { title: "VERSION", cell: ({ version }) => version, wideOnly: true },
  { title: "INCARNATION", cell: ({ incarnation }) => String(incarnation), wideOnly: true },
  { title: "RTT", cell: rttText, wideOnly: true },
  { title: "SINCE", cell: ({ sinceMs }, style) => agoText(sinceMs, style), wideOnly: true },
];

const RUNS: readonly Column<MemberReplica>[] = [
  { title: "SERVICE", cell: ({ service }) => service, shrinks: true },
  { title: "REPLICA", cell: ({ name }) => name, shrinks: true },
  { title: "ID", cell: ({ id }) => id, wideOnly: true },
  { title: "ADDRESS", cell: ({ address }) => address },
  {
    title: "TRAFFIC",
    cell: ({ eligible }) => (eligible ? { text: "in", tone: "good" } : { text: "out", tone: "bad" }),
  },
  { title: "WHY", cell: ({ reason }) => reason },
];

/** Adds the command and its subcommands. */
export function addNode(program: Command, act: Act): void {
  const node = program.command("node").description("members of the cluster");
  node
    .command("ls")
    .description("list members: state, role, address, replicas; with -o wide also zone, version, RTT")
    .addHelpText("after", "\nExamples:\n  skein node ls -o wide\n  skein node ls -o json")
    .action(act((session) => list(session)));
  node
    .command("inspect <node>")
    .description("all that is known of a member (name, id, or start of an id), and what runs there")
    .addHelpText("after", "\nExamples:\n  skein node inspect host-2\n  skein node inspect host-2 -o json")
    .action(act((session, command) => inspect(session, command.args[0] ?? "")));
  node
    .command("drain <node>")
    .description("take all that a member runs out of traffic, now and later, until it is activated")
    .option("--wait", "return when every live member has applied it")
    .addHelpText("after", DRAIN_TEXT)
    .action(act((session, command) => drain(session, command, false)));
  node
    .command("activate <node>")
    .description("let what a member runs take traffic again")
    .addHelpText("after", ACTIVATE_TEXT)
    .action(act((session, command) => drain(session, command, true)));
  node
    .command("rm <node>")
    .description("remove a member (name, id, or start of an id) for good: nobody speaks to it any more")
    .addHelpText("after", REMOVE_TEXT)
    .action(act((session, command) => remove(session, command.args[0] ?? "")));
}

const DRAIN_TEXT = `
Examples:
  skein node drain host-2 --wait && ssh host-2 reboot
  skein node activate host-2

What runs there, and what starts there later, takes no new traffic until it is activated, also after a restart. The
host itself stays a member, answers names and leads published ports to the others. Managers only, but for this host.
Exit status 4 when a live member has not applied it within 10 s.`;

const ACTIVATE_TEXT = `
Examples:
  skein node activate host-2

Replicas that were drained by themselves (skein drain) stay so.`;

/** Above the daemon's own cap of 10 s, after which it names who is missing. */
const DRAIN_DEADLINE_MS = 15_000;

async function drain(session: Session, command: Command, undo: boolean): Promise<number> {
  const { wait = false } = command.opts<{ readonly wait?: true }>();
  const name = command.args[0] ?? "";
  const path = `${pathTo("members", name)}/drain`;
  const request: NodeDrainRequest = { wait, undo };
  const result = await progress(session, {
    text: `waiting for ${undo ? `${name} to take traffic again` : "every live member to apply it"}`,
    work: session.client.post<NodeDrainResult>(path, request, DRAIN_DEADLINE_MS),
    look: () => missingText(session, ({ node }) => node === name),
  });
  const text = printable(drainText(result));
  await show(session, { value: result, table: () => `${text}\n`, names: [result.node] });
  if (result.applied || !wait) return 0;
  // Also with --quiet: the status alone would not tell who is missing.
  const missing = `node ${result.node} drains, but in 10 s it was not applied by: ${result.pending.join(", ")}`;
  session.surroundings.stderr.write(`skein: ${printableLines(missing)}\n`);
  return CODES.timeout.exit;
}

function drainText({ node, draining, replicas, applied, pending }: NodeDrainResult): string {
  const count = `${replicas} ${replicas === 1 ? "replica" : "replicas"}`;
  const all = replicas === 1 ? "takes traffic once it is ready" : "take traffic once they are ready";
  if (!draining) return `${node} is activated: its ${count} ${all}`;
  if (applied) return `${node} drains with its ${count}, applied by every live member`;
  const whom = pending.length === 0 ? "every live member" : pending.join(", ");
  return `${node} drains with its ${count}, not yet applied by ${whom}`;
}

const REMOVE_TEXT = `
Examples:
  skein node rm host-2

For a host that is lost or not to be trusted any more; one that is to go in peace leaves by skein leave. Managers only.
Its certificate is never taken again. It may join anew with a token, as a new node, once it has left: rotate the tokens
(skein token worker --rotate) where it may know them.`;

/** Said of a manager, and of who may have been one. */
const KEY_TEXT = `a manager has had the authority's key, and can still make members with it, also for a day or more
after a rotation: remove those in skein node ls that you do not know, run skein authority rotate, rotate both tokens,
and look again; when in doubt make a new cluster (see SECURITY.md)`;

/** Writing the charter to a slow disk may take a moment. */
const REMOVE_DEADLINE_MS = 20_000;

async function remove(session: Session, name: string): Promise<number> {
  const result = await session.client.remove<RemoveResult>(pathTo("members", name), REMOVE_DEADLINE_MS);
  const text = printable(`${result.node} (${result.id}) was removed: its certificate is never taken again`);
  await show(session, { value: result, table: () => `${text}\n`, names: [result.node] });
  if (result.role !== "worker") tell(session, KEY_TEXT);
  return 0;
}

async function list(session: Session): Promise<number> {
  const members = await session.client.get<readonly MemberLine[]>("/api/v1/members");
  await show(session, {
    value: members,
    table: (style) => renderTable(COLUMNS, members, style),
    names: members.map(({ name }) => name),
  });
  return 0;
}

async function inspect(session: Session, name: string): Promise<number> {
  const member = await session.client.get<MemberDetail>(pathTo("members", name));
  await show(session, {
    value: member,
    table: (style) => {
      const head = detailText(member, style);
      return member.runs.length === 0 ? head : `${head}\n${renderTable(RUNS, member.runs, style)}`;
    },
    names: [member.name],
  });
  return 0;
}

function detailText(member: MemberDetail, style: Style): string {
  const { labels, via, settlesAtMs, certificate } = member;
  const rtt = rttText(member);
  const settling =
    settlesAtMs === null || settlesAtMs <= style.nowMs
      ? []
      : [`came and went; its replicas are not used for ${durationText(settlesAtMs - style.nowMs)}`];
  return renderPairs(
    [
      ["node", [`${member.name}${member.self ? " (this daemon)" : ""}`]],
      ["id", [member.id]],
      ["state", [`${member.state} for ${durationText(style.nowMs - member.sinceMs)}`]],
      ["traffic", member.draining ? [`drained; back with: skein node activate ${member.name}`] : []],
      ["link", via === null ? [] : [`broken: reached via ${via}`]],
      ["settling", settling],
      ["role", [member.role]],
      ["certificate", certificate === null ? [] : [certificateText(certificate, style)]],
      ["address", member.address === "" ? [] : [member.address]],
      ["zone", member.zone === "" ? [] : [member.zone]],
      ["labels", Object.entries(labels).map(([key, value]) => `${key}=${value}`)],
      ["version", member.version === "" ? [] : [member.version]],
      ["incarnation", [String(member.incarnation)]],
      ["rtt", rtt === "" ? [] : [rtt]],
      ["routes", member.prefixes],
      ["replicas", [String(member.replicas)]],
    ],
    style,
  );
}

/** `for another 88d, of authority 1`. */
export function certificateText({ endsAtMs, issuerGeneration }: CertificateLine, style: Style): string {
  const leftMs = endsAtMs - style.nowMs;
  const left = leftMs > 0 ? `good for another ${durationText(leftMs)}` : `ended ${agoText(endsAtMs, style)}`;
  const issuer = issuerGeneration === null ? "an unknown authority" : `authority ${issuerGeneration}`;
  return `${left}, of ${issuer}`;
}

function stateCell({ state, via, settlesAtMs, draining }: MemberLine, style: Style): Cell {
  const isSettling = settlesAtMs !== null && settlesAtMs > style.nowMs;
  if (via !== null) return { text: `${state}, via ${via}`, tone: "warn" };
  if (draining) return { text: `${state}, draining`, tone: "warn" };
  return isSettling
    ? { text: `${state}, settling`, tone: "warn" }
    : { text: state, tone: TONE_BY_STATE[state] };
}

/** Below a millisecond a whole number would tell nothing. */
function rttText({ rttMs, self }: MemberLine): string {
  if (rttMs === null) return self ? "self" : "";
  return rttMs < 10 ? `${rttMs.toFixed(1)}ms` : durationText(rttMs);
}
