/**
 * Authority: `skein authority backup|restore|rotate`, the keys by which this cluster admits its members.
 *
 * Managers have them. Should all managers be lost, nothing stops working, but nobody could join any more and no
 * certificate be renewed: then a backup makes a manager of any member. It is encrypted with a passphrase, which comes
 * from a file or the environment and is never an argument.
 *
 * Touches: the daemon, through the session; the file of the backup.
 */

import { createReadStream } from "node:fs";

import type { Command } from "commander";

import type {
  AuthorityReport,
  BackupReport,
  BackupRequest,
  RestoreRequest,
} from "../../admin/contract-trust.ts";
import type { StatusReport } from "../../admin/contract.ts";
import { Failure, fileFaultOf, systemCodeOf } from "../../base/failure.ts";
import { LIMITS } from "../../model/limits.ts";
import { untilAnew } from "../anew.ts";
import { print, show, tell, type Act, type Session } from "../context.ts";
import { progress } from "../progress.ts";
import { printable } from "../render.ts";

/** Deriving a key from a passphrase takes its time, by intent. */
const DEADLINE_MS = 25_000;

const PASSPHRASE_TEXT = `
The passphrase is the first line of the file that --passphrase-file or SKEIN_PASSPHRASE_FILE names, or that of
SKEIN_PASSPHRASE.`;

/** Adds the command and its subcommands. */
export function addAuthority(program: Command, act: Act): void {
  const authority = program
    .command("authority")
    .description("keep, bring back or replace the keys that admit members (managers only)");
  authority
    .command("backup <file>")
    .description("write the keys, encrypted with a passphrase, to a new file (- for standard output)")
    .option("--passphrase-file <file>", "file with the passphrase in its first line")
    .addHelpText(
      "after",
      `\nExamples:\n  skein authority backup skein.backup --passphrase-file passphrase\n${PASSPHRASE_TEXT}`,
    )
    .action(act((session, command) => backup(session, command)));
  authority
    .command("restore <file>")
    .description("make this host a manager with a backup of its cluster's keys (- for standard input)")
    .option("--passphrase-file <file>", "file with the passphrase in its first line")
    .addHelpText(
      "after",
      `\nExamples:\n  skein authority restore skein.backup --passphrase-file passphrase\n${PASSPHRASE_TEXT}`,
    )
    .action(act((session, command) => restore(session, command)));
  authority
    .command("rotate")
    .description("replace the keys by new ones; all members get new certificates by themselves")
    .addHelpText("after", "\nExamples:\n  skein authority rotate\n\nMake a new backup afterwards.")
    .action(act((session) => rotate(session)));
}

async function backup(session: Session, command: Command): Promise<number> {
  const file = command.args[0] ?? "";
  const request: BackupRequest = { passphrase: await passphraseOf(session, command) };
  const report = await progress(session, {
    text: "making a key of the passphrase",
    work: session.client.post<BackupReport>("/api/v1/authority/backup", request, DEADLINE_MS),
  });
  if (file === "-") {
    await print(session, report.backup);
    return 0;
  }
  await writeNew(file, report.backup);
  const { clusterId } = report;
  const text = `the authority of cluster ${clusterId} is in ${file}; keep it and its passphrase apart`;
  await show(session, { value: { clusterId, file }, table: () => `${printable(text)}\n`, names: [file] });
  return 0;
}

async function restore(session: Session, command: Command): Promise<number> {
  const request: RestoreRequest = {
    passphrase: await passphraseOf(session, command),
    backup: await textOf(command.args[0] ?? ""),
  };
  const { startedAtMs } = await session.client.get<StatusReport>("/api/v1/status");
  const report = await progress(session, {
    text: "making a key of the passphrase",
    work: session.client.post<AuthorityReport>("/api/v1/authority/restore", request, DEADLINE_MS),
  });
  const { node, clusterId, generation } = report;
  tell(session, `the backup fits; waiting for the daemon of ${node} to open anew`);
  const work = untilAnew(session, startedAtMs);
  await progress(session, { text: "waiting for the daemon to open anew", work });
  const text = `${node} is a manager of cluster ${clusterId}, with authority ${generation}`;
  await show(session, { value: report, table: () => `${printable(text)}\n`, names: [node] });
  return 0;
}

async function rotate(session: Session): Promise<number> {
  const report = await session.client.post<AuthorityReport>("/api/v1/authority/rotate", {}, DEADLINE_MS);
  const { clusterId, generation } = report;
  const text = `authority ${generation} of cluster ${clusterId} issues from now on; members renew by themselves`;
  await show(session, { value: report, table: () => `${printable(text)}\n`, names: [String(generation)] });
  tell(session, "older backups and tokens are good only until the old authority is retired: make new ones");
  return 0;
}

async function passphraseOf({ surroundings }: Session, command: Command): Promise<string> {
  const { passphraseFile } = command.opts<{ readonly passphraseFile?: string }>();
  const { env, readSecret } = surroundings;
  const file = passphraseFile ?? (env["SKEIN_PASSPHRASE_FILE"] || null);
  if (file !== null) return await readSecret(file, "passphrase file");
  const passphrase = env["SKEIN_PASSPHRASE"] ?? "";
  if (passphrase !== "") return passphrase;
  throw new Failure("usage", "no passphrase; expected --passphrase-file FILE, or SKEIN_PASSPHRASE_FILE");
}

/** Writes a file that only its owner may read. Never over another: that could be the only good backup. */
async function writeNew(path: string, text: string): Promise<void> {
  // Here and not at each start: most commands write no file.
  const { writeFile } = await import("node:fs/promises");
  try {
    await writeFile(path, text, { mode: 0o600, flag: "wx", flush: true });
  } catch (thrown) {
    throw fileFailure(path, "written", thrown);
  }
}

async function textOf(path: string): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  try {
    for await (const chunk of path === "-" ? process.stdin : createReadStream(path)) {
      const bytes = Buffer.from(chunk as Uint8Array);
      sizeBytes += bytes.length;
      if (sizeBytes > LIMITS.backupBytes) {
        throw new Failure(
          "invalid",
          `backup ${path} has more than ${LIMITS.backupBytes} bytes; expected fewer`,
        );
      }
      chunks.push(bytes);
    }
  } catch (thrown) {
    throw fileFailure(path, "read", thrown);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function fileFailure(path: string, done: string, cause: unknown): Failure {
  if (cause instanceof Failure) return cause;
  const code = systemCodeOf(cause);
  if (code === "EEXIST") return new Failure("busy", `backup ${path} is there already; expected a new name`);
  const text = `backup ${path} cannot be ${done}: ${fileFaultOf(cause)}`;
  if (code === "EACCES" || code === "EPERM") return new Failure("not-allowed", text, { cause });
  return new Failure(code === "ENOENT" ? "not-found" : "invalid", text, { cause });
}
