/**
 * Join: `skein join HOST`, makes this host a member of the cluster that HOST is in.
 *
 * The daemon that runs gets its certificate and opens itself anew as a member; the command ends when it serves again,
 * so that what follows in a script finds it there. Without a daemon the data dir is made ready for one. The token is a
 * secret, and every user of a host can list the arguments of its processes: so it comes from a file or from standard
 * input, and who gives it as an argument all the same is told.
 *
 * Touches: the daemon, through the session, or the data dir, through its surroundings.
 */

import type { Command } from "commander";

import type { JoinRequest, JoinResult } from "../../admin/contract-trust.ts";
import type { StatusReport } from "../../admin/contract.ts";
import { Failure } from "../../base/failure.ts";
import { untilAnew } from "../anew.ts";
import { unlessNoDaemon } from "../client.ts";
import { show, tell, type Act, type Session } from "../context.ts";
import { progress } from "../progress.ts";
import { printable } from "../render.ts";

import { configFlagsOf } from "./run.ts";

/** Above the daemon's own deadline for asking one host after the other. */
const JOIN_DEADLINE_MS = 25_000;

const EXAMPLES = `
Examples:
  skein join 192.0.2.1 --token-file /run/secrets/skein
  skein join 192.0.2.1:7650 --token - < token
  ssh host-1 skein token worker -q | skein join host-1 --token -

HOST is any host of the cluster; skein token worker prints the token there. Joining twice changes nothing. A host that
is in a cluster with others has to leave it first.
Exit status 5 when the cluster refuses, 4 when no host of it answers.`;

/** Adds the command. */
export function addJoin(program: Command, act: Act): void {
  program
    .command("join <host>")
    .description("make this host a member of the cluster that a host (name or address, port 7650) is in")
    .option("--token-file <file>", "file with the token in its first line")
    .option("--token <token>", "- to read the token from standard input; given here, other users see it")
    .option("--config <file>", "config file, where no daemon runs; as of skein run")
    .option("--data-dir <path>", "folder of the daemon's state (node.dataDir), where no daemon runs")
    .addHelpText("after", EXAMPLES)
    .action(act((session, command) => join(session, command)));
}

async function join(session: Session, command: Command): Promise<number> {
  const request: JoinRequest = { host: command.args[0] ?? "", token: await tokenOf(session, command) };
  const { client, surroundings } = session;
  const before = await unlessNoDaemon(client.get<StatusReport>("/api/v1/status"));
  if (before === null) {
    const result = await progress(session, {
      text: `asking ${request.host} for a certificate`,
      work: surroundings.joinCluster(configFlagsOf(command, []), request),
    });
    return await tellJoined(session, result, "start its daemon with: skein run");
  }
  const result = await progress(session, {
    text: `asking ${request.host} for a certificate`,
    work: client.post<JoinResult>("/api/v1/join", request, JOIN_DEADLINE_MS),
  });
  if (result.joined) {
    tell(session, `${result.node} has its certificate; waiting for its daemon to open anew`);
    const work = untilAnew(session, before.startedAtMs);
    await progress(session, { text: "waiting for the daemon to open anew", work });
  }
  return await tellJoined(session, result, "its daemon serves");
}

async function tellJoined(session: Session, result: JoinResult, state: string): Promise<number> {
  const { node, role, clusterId, joined } = result;
  const member = `${node} is a ${role} of cluster ${clusterId}`;
  const text = printable(joined ? `${member} now; ${state}` : `${member} already; nothing was changed`);
  await show(session, { value: result, table: () => `${text}\n`, names: [clusterId] });
  return 0;
}

/** The token, from where the options say. @throws Failure `usage` unless they name one place */
async function tokenOf({ surroundings }: Session, command: Command): Promise<string> {
  const { token, tokenFile } = command.opts<{ readonly token?: string; readonly tokenFile?: string }>();
  if ((token === undefined) === (tokenFile === undefined)) {
    const found = token === undefined ? "no token" : "two tokens";
    throw new Failure("usage", `${found}; expected --token-file FILE, or --token - for standard input`);
  }
  if (token === undefined) return await surroundings.readSecret(tokenFile ?? "", "token file");
  if (token === "-") return await surroundings.readSecret("-", "token");
  surroundings.stderr.write(
    "skein: other users of this host see the token among the arguments; better --token-file FILE, or --token -\n",
  );
  return token;
}
