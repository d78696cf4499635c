/**
 * Cli: from an argument list to an exit status.
 *
 * The commands stand in commands/, one file each; here they become one program with the options that all of them
 * share, and here every way to end becomes one of six statuses: 0 ok, 1 failure, 2 usage, 3 not found, 4 unreachable or
 * timeout, 5 not allowed. Nothing here ends the process: main.ts does that with the status, so that a test can run any
 * command in its own process, and output that is still on its way is not lost.
 *
 * Touches: the streams and functions of its surroundings, the admin socket.
 */

import { Command, CommanderError, Option } from "commander";

import { CODES, Failure, fileFaultOf, systemCodeOf, textOf } from "../base/failure.ts";
import { nearest } from "../base/nearest.ts";

import { openClient, socketCandidates } from "./client.ts";
import { addAuthority } from "./commands/authority.ts";
import { addCompletion } from "./commands/completion.ts";
import { addConfig } from "./commands/config.ts";
import { addDoctor } from "./commands/doctor.ts";
import { addDrain } from "./commands/drain.ts";
import { addEvents } from "./commands/events.ts";
import { addExplain } from "./commands/explain.ts";
import { addInit } from "./commands/init.ts";
import { addJoin } from "./commands/join.ts";
import { addLeave } from "./commands/leave.ts";
import { addNetwork } from "./commands/network.ts";
import { addNode } from "./commands/node.ts";
import { addResolve } from "./commands/resolve.ts";
import { addRun } from "./commands/run.ts";
import { addService } from "./commands/service.ts";
import { addStatus } from "./commands/status.ts";
import { addToken } from "./commands/token.ts";
import { addTop } from "./commands/top.ts";
import { addVersion } from "./commands/version.ts";
import type { Act, Format, Session, Surroundings } from "./context.ts";
import { printableLines } from "./render.ts";

const EXAMPLES = `
Examples:
  skein run                          start the daemon on this host
  skein token worker                 how another host joins this one
  skein status                       what it does, and what auto picked
  skein doctor                       what works and what does not, with the remedy
  skein service ls -o wide           services of the cluster
  skein explain web                  why each replica of web takes traffic, or does not
  skein resolve web --as my-app-1    what DNS answers to a container
  skein drain web-1 --wait           take a replica out before it is stopped
  skein node drain host-2 --wait     take all of a host out before it is restarted

Exit status: 0 ok, 1 failure, 2 usage, 3 not found, 4 unreachable or timeout, 5 not allowed.`;

/** Options that stand before or behind every command. */
interface SharedOptions {
  readonly socket?: string;
  readonly output: Format;
  readonly quiet?: true;
  readonly trunc: boolean;
}

/**
 * Runs one command.
 *
 * @param argv  arguments behind the program's name
 * @returns the exit status, once the command is done; never throws
 */
export async function runCli(argv: readonly string[], given: Surroundings): Promise<number> {
  let status = 0;
  const output = watchOutput(given);
  const surroundings = { ...given, interrupted: output.interrupted };
  const act: Act =
    (action) =>
    async (...called) => {
      // Commander hands over the command last, behind its arguments and options.
      const command = called.at(-1) as Command;
      status = await action(sessionOf(command, surroundings), command);
    };
  try {
    await programOf(act, surroundings).parseAsync([...argv], { from: "user" });
    return output.failure() === null ? status : statusOf(output.failure(), surroundings);
  } catch (thrown) {
    // What was written for nobody says nothing of the command.
    if (output.failure() === null) return output.isUnread() ? 0 : statusOf(thrown, surroundings);
    return statusOf(output.failure(), surroundings);
  }
}

/** What becomes of what is printed. */
interface Output {
  /** Aborted by the user, or when printing fails. */
  readonly interrupted: AbortSignal;
  /** Nobody reads it any more (`skein events -f | head`), which is no mistake. */
  readonly isUnread: () => boolean;
  /** Why it could not be written; null while it can. */
  readonly failure: () => Failure | null;
}

/**
 * Watches both streams. The listeners stay: output may fail after the command's end, and an error without a listener
 * would end the process with a stack.
 */
function watchOutput({ stdout, stderr, interrupted }: Surroundings): Output {
  const broken = new AbortController();
  let failure: Failure | null = null;
  let isUnread = false;
  stdout.on("error", (thrown) => {
    if (systemCodeOf(thrown) === "EPIPE") isUnread = true;
    else failure ??= new Failure("invalid", `standard output cannot be written: ${fileFaultOf(thrown)}`);
    broken.abort();
  });
  stderr.on("error", () => broken.abort());
  return {
    interrupted: AbortSignal.any([interrupted, broken.signal]),
    isUnread: () => isUnread,
    failure: () => failure,
  };
}

/** The program with all its commands; what they do is `act`'s matter. */
export function programOf(act: Act, surroundings: Surroundings): Command {
  const { stdout, stderr, columns } = surroundings;
  const program = new Command("skein");
  program
    .description("Service names, stable addresses and load balancing for plain Docker hosts.")
    .version(surroundings.version, "-V, --version", "print the version of this command")
    .option("--socket <path>", "admin socket of the daemon (or SKEIN_ADMIN_SOCKET)")
    .addOption(
      new Option("-o, --output <format>", "how to print results")
        .choices(["table", "wide", "json", "yaml"])
        .default("table"),
    )
    .option("-q, --quiet", "print names only, and no messages")
    .option("--no-trunc", "print ids and long texts whole")
    .addHelpText("after", EXAMPLES)
    .configureHelp({ showGlobalOptions: true })
    .exitOverride()
    .configureOutput({
      writeOut: (text) => stdout.write(printableLines(text)),
      writeErr: (text) => stderr.write(printableLines(text)),
      outputError: (text, write) => write(text.replace(/^error: /, "skein: ")),
      getOutHelpWidth: () => columns || 100,
      getErrHelpWidth: () => columns || 100,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    });
  addRun(program, act, surroundings.configKeys);
  addInit(program, act);
  addJoin(program, act);
  addLeave(program, act);
  addToken(program, act);
  addStatus(program, act);
  addDoctor(program, act);
  addNode(program, act);
  addService(program, act);
  addNetwork(program, act);
  addExplain(program, act);
  addResolve(program, act);
  addDrain(program, act);
  addEvents(program, act);
  addTop(program, act);
  addAuthority(program, act);
  addConfig(program, act, surroundings.configKeys);
  addCompletion(program, act);
  addVersion(program, act);
  showTheWay(program, "skein");
  return program;
}

/** Who mistypes a command is told where all that it takes is told. */
function showTheWay(command: Command, at: string): void {
  command.showHelpAfterError(`see: ${at} --help`);
  for (const below of command.commands) showTheWay(below, `${at} ${below.name()}`);
  if (command.commands.length > 0) addHelp(command, at);
}

/** Commander's own shows the help of `command` for a name that is none, without a word about it. */
function addHelp(command: Command, at: string): void {
  command
    .helpCommand(false)
    .command("help [command...]")
    .description("display help for command")
    .showHelpAfterError(`see: ${at} --help`)
    .action((words: readonly string[]) => {
      let found = command;
      for (const word of words) {
        const next = found.commands.find((one) => one.name() === word);
        found = next ?? unknownCommand(found, word);
      }
      found.help();
    });
}

/** Says it as commander does where the name stands without `help` in front. Never returns. */
function unknownCommand(command: Command, word: string): never {
  const near = nearest(
    word,
    command
      .createHelp()
      .visibleCommands(command)
      .map((one) => one.name()),
  );
  const guess = near === null ? "" : `\n(Did you mean ${near}?)`;
  return command.error(`error: unknown command '${word}'${guess}`, { code: "commander.unknownCommand" });
}

function sessionOf(command: Command, surroundings: Surroundings): Session {
  const options = command.optsWithGlobals<SharedOptions>();
  const { env, isRoot, isTty, columns, interrupted } = surroundings;
  const socketPaths = options.socket === undefined ? socketCandidates({ env, isRoot }) : [options.socket];
  return {
    surroundings,
    client: openClient({ socketPaths, interrupted }),
    format: options.output,
    quiet: options.quiet === true,
    style: {
      wide: options.output === "wide",
      columnsMax: isTty && options.trunc && columns > 0 ? columns : null,
      shortensIds: options.trunc,
      // no-color.org: present and not empty.
      colors: isTty && (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb",
      nowMs: surroundings.nowMs(),
    },
  };
}

function statusOf(thrown: unknown, { stderr }: Surroundings): number {
  // Its text is out by now; help and version that were asked for are its only good ends.
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? 0 : CODES.usage.exit;
  const lines = textOf(thrown).split("\n");
  for (const line of lines) stderr.write(`skein: ${printableLines(line)}\n`);
  return thrown instanceof Failure ? CODES[thrown.code].exit : 1;
}
