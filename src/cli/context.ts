/**
 * Context: what a command is given to do its work, and the one way in which it shows the result.
 *
 * A command fetches a value, and says how it looks as a table and what of it is its name; which of these is printed is
 * decided here, so that `-o`, `--quiet` and the rule "data on stdout, messages on stderr" hold everywhere alike. All
 * that is ambient (streams, environment, clock, the daemon itself) comes in as Surroundings: a test runs the whole CLI
 * in its own process, and main.ts remains the only one that knows the others.
 *
 * Touches: the streams it is given.
 */

import { once } from "node:events";
import type { Writable } from "node:stream";

import type { Command } from "commander";

import type { DoctorReport } from "../admin/contract-doctor.ts";
import type { JoinRequest, JoinResult } from "../admin/contract-trust.ts";

import type { Client } from "./client.ts";
import { printableLines, renderJson, type Style } from "./render.ts";
import type { Terminal } from "./screen.ts";

/** Flags that stand for configuration. */
export interface ConfigFlags {
  /** The file that the user named; null for the default one. */
  readonly file: string | null;
  /** Config key to the text given for it: `mesh.join` to `a:7650,b:7650`. */
  readonly values: Readonly<Record<string, string>>;
}

/** That no daemon answers: why, and what is to be done, null where that is a start. */
export interface Absence {
  readonly why: string;
  readonly remedy: string | null;
}

/** The world around a run of the CLI. */
export interface Surroundings {
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly isRoot: boolean;
  /** True when stdout is a terminal. */
  readonly isTty: boolean;
  /** Characters in a line of that terminal; 0 when unknown. */
  readonly columns: number;
  /** Characters in a line of the terminal that stderr is; 0 when it is none. */
  readonly stderrColumns: number;
  /** True where this command runs in the container of a daemon, and so ends when that does. */
  readonly endsWithDaemon: () => boolean;
  /** The terminal that stdout is; null when it is none. */
  readonly terminal: Terminal | null;
  readonly nowMs: () => number;
  /** Version of Skein, and of what runs it: `v24.21.0`. */
  readonly version: string;
  readonly runtime: string;
  /** Aborted when the user wants the command to end. */
  readonly interrupted: AbortSignal;
  /** Dotted keys that `run` and `config print` take as flags. */
  readonly configKeys: readonly string[];
  readonly renderYaml: (value: unknown) => string;
  /** The first line of a file with a secret in it; "-" for standard input. `what` names it in a failure. */
  readonly readSecret: (path: string, what: string) => Promise<string>;
  /** Makes a cluster of this host in a data dir that no daemon uses; what is there already is left as it is. */
  readonly initCluster: (flags: ConfigFlags) => Promise<ClusterMade>;
  /** Joins a cluster from a data dir that no daemon uses. */
  readonly joinCluster: (flags: ConfigFlags, request: JoinRequest) => Promise<JoinResult>;
  /** Forgets the cluster in a data dir that no daemon uses. @returns the data dir */
  readonly forgetCluster: (flags: ConfigFlags) => Promise<string>;
  /** Takes away what daemons of this host left in its kernel. @returns what is still left, in words */
  readonly cleanHost: (flags: ConfigFlags) => Promise<readonly string[]>;
  /** Looks at what a daemon would need here. */
  readonly examineHost: (flags: ConfigFlags, absence: Absence) => Promise<DoctorReport>;
  /** Runs the daemon until it ends and returns its exit status. */
  readonly runDaemon: (flags: ConfigFlags, how: RunDaemon) => Promise<number>;
  /** Throws Failure with a line for each mistake; null for the default file. */
  readonly checkConfig: (file: string | null) => void | Promise<void>;
  /** The effective configuration as plain data, secrets redacted. */
  readonly printConfig: (flags: ConfigFlags) => unknown;
}

/** How the daemon is to begin and to end. */
export interface RunDaemon {
  /** It takes over from one that runs here. */
  readonly replaces: boolean;
  /** It leaves nothing in the kernel when it stops. */
  readonly purges: boolean;
}

/** What `init` found or made. */
export interface ClusterMade {
  readonly clusterId: string;
  /** False when the data dir was a member of a cluster already. */
  readonly made: boolean;
  readonly dataDir: string;
}

/** How results are printed. */
export type Format = "table" | "wide" | "json" | "yaml";

/** One result in its three looks. */
export interface Shown {
  /** For `-o json` and `-o yaml`. */
  readonly value: unknown;
  /** For people; ends in a line break unless empty. */
  readonly table: (style: Style) => string;
  /** For `--quiet`: names only, one a line. */
  readonly names: readonly string[];
}

/** What a command works with. */
export interface Session {
  readonly surroundings: Surroundings;
  readonly client: Client;
  readonly format: Format;
  readonly quiet: boolean;
  readonly style: Style;
}

/** What a command does; returns the exit status. `command` has its arguments and options. */
export type Action = (session: Session, command: Command) => Promise<number>;

/** Turns an Action into what commander calls. */
export type Act = (action: Action) => (...given: unknown[]) => Promise<void>;

/** Prints a result on stdout in the asked format. */
export async function show(session: Session, shown: Shown): Promise<void> {
  await print(session, rendered(session, shown));
}

/** Prints a message on stderr, unless `--quiet`. */
export function tell(session: Session, text: string): void {
  if (!session.quiet) session.surroundings.stderr.write(`${printableLines(text)}\n`);
}

/**
 * Writes to stdout and waits while it is full: a stopped reader must not fill our memory. Rejects when the command is
 * interrupted, which a reader that went away does too (cli.ts).
 */
export async function print(session: Session, text: string): Promise<void> {
  const { stdout, interrupted } = session.surroundings;
  if (text === "" || stdout.write(text)) return;
  await once(stdout, "drain", { signal: interrupted });
}

function rendered({ format, quiet, style, surroundings }: Session, shown: Shown): string {
  if (quiet) return shown.names.map((name) => `${printableLines(name)}\n`).join("");
  switch (format) {
    case "json":
      return `${renderJson(shown.value)}\n`;
    case "yaml":
      return printableLines(surroundings.renderYaml(shown.value));
    case "table":
    case "wide":
      return shown.table(style);
  }
}
