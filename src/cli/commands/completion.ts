/**
 * Completion: `skein completion bash|zsh|fish`, the script that makes a shell complete skein's command line.
 *
 * The scripts hold all commands and options; names of services, nodes, replicas and networks they ask of this
 * command, and so of the daemon. Whoever presses a key waits for that, so it is given a moment only, and a daemon
 * that is not there means no names and no message: a shell would print it into the line that is being typed.
 *
 * Touches: nothing but the daemon, through the session.
 */

import { Argument, type Command } from "commander";

import type { NetworkLine } from "../../admin/contract-network.ts";
import type { MemberDetail, MemberLine, ServiceLine } from "../../admin/contract.ts";
import { DEFAULT_NETWORK } from "../../model/ids.ts";
import { bashScript } from "../completion/bash.ts";
import { fishScript } from "../completion/fish.ts";
import { NAME_KINDS, placesOf, type NameKind, type Place } from "../completion/tree.ts";
import { zshScript } from "../completion/zsh.ts";
import { print, type Act, type Session } from "../context.ts";

/** For all that is asked for one list of names. */
const DEADLINE_MS = 800;
/** More names are no help to who types. */
const NAMES_MAX = 2000;
/** Hosts that are asked what runs there. */
const HOSTS_MAX = 32;

const SHELLS: Readonly<Record<string, (places: readonly Place[]) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

const EXAMPLES = `
Examples:
  source <(skein completion bash)                                          this shell (bash, zsh)
  skein completion fish | source                                           this shell (fish)
  skein completion bash > /usr/share/bash-completion/completions/skein     all shells of this host
  skein completion zsh > "\${fpath[1]}/_skein"
  skein completion fish > ~/.config/fish/completions/skein.fish

Names of services, nodes, replicas and networks are asked from the daemon while you type.`;

/** Adds the command. */
export function addCompletion(program: Command, act: Act): void {
  const completion = program
    .command("completion")
    .description("print the script with which a shell completes skein's commands and names")
    .addHelpText("after", EXAMPLES);
  for (const [shell, scriptOf] of Object.entries(SHELLS)) {
    completion
      .command(shell)
      .description(`the script for ${shell}`)
      .addHelpText("after", EXAMPLES)
      .action(
        act(async (session) => {
          await print(session, scriptOf(placesOf(program)));
          return 0;
        }),
      );
  }
  completion
    .command("names", { hidden: true })
    .description("names of one kind, one a line; nothing where no daemon answers")
    .addArgument(new Argument("<kind>").choices(NAME_KINDS))
    .addHelpText("after", "\nExamples:\n  skein completion names service")
    .action(act((session, command) => names(session, (command.args[0] ?? "") as NameKind)));
}

async function names(session: Session, kind: NameKind): Promise<number> {
  const found = await namesOf(session, kind).catch(() => []);
  // What is not a name of ours is nothing that a shell should see.
  const good = [...new Set(found)].filter((name) => /^[a-z0-9_./-]+$/i.test(name)).toSorted();
  await print(
    session,
    good
      .slice(0, NAMES_MAX)
      .map((name) => `${name}\n`)
      .join(""),
  );
  return 0;
}

async function namesOf(session: Session, kind: NameKind): Promise<readonly string[]> {
  const get = <T>(path: string): Promise<T> => session.client.get<T>(`/api/v1/${path}`, DEADLINE_MS);
  switch (kind) {
    case "service":
      return (await get<readonly ServiceLine[]>("services")).map(({ network, name }) => {
        return network === DEFAULT_NETWORK ? name : `${network}/${name}`;
      });
    case "node":
      return (await get<readonly MemberLine[]>("members")).map(({ name }) => name);
    case "network":
      return (await get<readonly NetworkLine[]>("networks")).map(({ name }) => name);
    case "replica": {
      const members = (await get<readonly MemberLine[]>("members")).filter(({ replicas }) => replicas > 0);
      const paths = members.slice(0, HOSTS_MAX).map(({ id }) => `members/${id}`);
      const hosts = await Promise.all(paths.map((path) => get<MemberDetail>(path)));
      return hosts.flatMap(({ runs }) => runs.map(({ name }) => name));
    }
  }
}
