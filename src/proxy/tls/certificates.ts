/**
 * Certificates: keeps what is served equal to a folder of files that others write.
 *
 * Whoever renews certificates writes files and tells nobody, in steps: the certificate now, its key a moment later. So
 * the folder is watched, and looked through every few seconds too, since links that lead out of it and some file
 * systems tell of no change. What has been read whole is served until something else has been: a pair that cannot be
 * read, or whose halves do not belong together, leaves the one before in place and is a problem until it can. It goes
 * to the log only when the next look finds it unchanged. Only files that are gone take a certificate away.
 *
 * Connections keep what they were established with.
 *
 * Touches: the folder, a timer.
 */

import { constants, watch, type FSWatcher, type Stats } from "node:fs";
import { open, readdir, stat, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { createSecureContext, type SecureContext } from "node:tls";

import { Failure, systemCodeOf, textOf } from "../../base/failure.ts";
import { latest, type Latest } from "../../base/latest.ts";
import { LIMITS } from "../../model/limits.ts";
import type { Log } from "../../runtime/log.ts";

import { pairFiles, type Files, type ListedEntry } from "./listing.ts";
import { complaintOf, readPair, type Pair } from "./pair.ts";
import { indexCandidates, select, type Candidate, type Selection } from "./selection.ts";

/** A certificate that is served. */
export interface Served extends Candidate {
  readonly pair: Pair;
  readonly context: SecureContext;
}

/** Something wrong with a certificate; it may be served all the same. */
export interface CertificateProblem {
  /** The file or folder. */
  readonly subject: string;
  readonly text: string;
}

/** What keeping certificates needs. */
export interface CertificatesOptions {
  readonly folder: string;
  readonly log: Log;
  readonly nowMs: () => number;
  /** How often the folder is looked through besides being watched; POLL_MS by default. */
  readonly pollMs?: number;
}

/** The certificates of a folder. */
export interface Certificates {
  /** For a host as `hostOf` gives it, or for a client that named none; null when there is no certificate at all. */
  choose(host: string | null): Served | null;
  readonly served: readonly Served[];
  readonly problems: readonly CertificateProblem[];
  /** Looks through the folder now; settles when what it found is served. Never rejects. */
  refresh(): Promise<void>;
  close(): void;
}

const POLL_MS = 5000;
/** A program that renews writes several files at once. */
const SETTLING_MS = 100;
/** Everybody's right to read (stat(2)). */
const READABLE_BY_ALL = 0o004;

/** What is known of one pair of files. */
interface Kept {
  /** Tells whether the files are those that were read. */
  readonly signature: string;
  readonly served: Served | null;
  readonly problem: CertificateProblem | null;
  /** True for a problem that was logged; it is when it is still there at the next look. */
  readonly isLogged: boolean;
  readonly keyIsOpen: boolean;
}

/** Opens the certificates of a folder; settles when it has been looked through once. Never rejects for the folder. */
export async function openCertificates(options: CertificatesOptions): Promise<Certificates> {
  const certificates = new WatchedCertificates(options);
  await certificates.refresh();
  return certificates;
}

class WatchedCertificates implements Certificates {
  readonly #options: CertificatesOptions;
  readonly #looking: Latest<null>;
  readonly #poll: NodeJS.Timeout;
  #settling: NodeJS.Timeout | null = null;
  #watcher: FSWatcher | null = null;
  #keptByName: ReadonlyMap<string, Kept> = new Map();
  #selection: Selection<Served> = { byHost: new Map(), fallback: null };
  #folderProblem: CertificateProblem | null = null;
  #isClosed = false;

  constructor(options: CertificatesOptions) {
    this.#options = options;
    this.#looking = latest(
      () => this.#look(),
      (thrown) => this.#options.log.error(`certificates in ${options.folder}: ${textOf(thrown)}`),
    );
    this.#poll = setInterval(() => this.#looking.set(null), options.pollMs ?? POLL_MS).unref();
  }

  choose(host: string | null): Served | null {
    return select(this.#selection, host);
  }

  get served(): readonly Served[] {
    return [...this.#keptByName.values()].flatMap(({ served }) => served ?? []);
  }

  get problems(): readonly CertificateProblem[] {
    const nowMs = this.#options.nowMs();
    const ofPairs = [...this.#keptByName].flatMap(([name, kept]) => this.#problemsOf(name, kept, nowMs));
    return this.#folderProblem === null ? ofPairs : [this.#folderProblem, ...ofPairs];
  }

  refresh(): Promise<void> {
    this.#looking.set(null);
    return this.#looking.idle();
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#poll);
    if (this.#settling !== null) clearTimeout(this.#settling);
    this.#watcher?.close();
  }

  #problemsOf(name: string, kept: Kept, nowMs: number): readonly CertificateProblem[] {
    const subject = join(this.#options.folder, name);
    const complaint = kept.served === null ? null : complaintOf(kept.served.pair, nowMs);
    return [
      ...(kept.problem === null ? [] : [kept.problem]),
      ...(complaint === null ? [] : [{ subject, text: complaint }]),
      ...(kept.keyIsOpen
        ? [{ subject, text: "everybody on this host may read its key; chmod it to 640" }]
        : []),
    ];
  }

  async #look(): Promise<void> {
    if (this.#isClosed) return;
    this.#watch();
    let files: readonly Files[];
    try {
      files = pairFiles(await listFolder(this.#options.folder));
      this.#folderProblem = null;
    } catch (thrown) {
      // Not an order to take certificates away: a mount may be late, or come back.
      this.#foundFolder(thrown);
      return;
    }
    const next = new Map<string, Kept>();
    for (const one of files.slice(0, LIMITS.certificatesMax)) {
      const known = this.#keptByName.get(one.name) ?? null;
      next.set(one.name, await this.#keep(one, known));
    }
    if (files.length > LIMITS.certificatesMax) {
      const text = `it holds ${files.length} certificates; expected at most ${LIMITS.certificatesMax}`;
      this.#folderProblem = { subject: this.#options.folder, text: `${text}, the rest is not served` };
    }
    for (const name of this.#keptByName.keys()) {
      if (!next.has(name)) this.#options.log.info(`certificate ${name} is gone`);
    }
    this.#keptByName = next;
    this.#selection = indexCandidates(this.served, this.#options.nowMs());
  }

  #foundFolder(thrown: unknown): void {
    const { folder, log } = this.#options;
    const text = `the folder of certificates cannot be read: ${whyOf(thrown)}`;
    if (this.#folderProblem?.text !== text) log.warn(`${folder}: ${text}`);
    this.#folderProblem = { subject: folder, text };
  }

  /** Reads one pair of files where they are others than before. */
  async #keep(files: Files, known: Kept | null): Promise<Kept> {
    let signature = "";
    try {
      const seen = await this.#sign(files);
      signature = seen.signature;
      if (known !== null && known.problem === null && known.signature === signature) {
        return { ...known, keyIsOpen: seen.keyIsOpen };
      }
      const served = await this.#read(files);
      this.#tell(served);
      // A thousand contexts take a second to make; requests go on in between.
      await turn();
      return { signature, served, problem: null, isLogged: false, keyIsOpen: seen.keyIsOpen };
    } catch (thrown) {
      return this.#keepOld({ files, signature, thrown }, known);
    }
  }

  #keepOld(
    {
      files,
      signature,
      thrown,
    }: { readonly files: Files; readonly signature: string; readonly thrown: unknown },
    known: Kept | null,
  ): Kept {
    const subject = join(this.#options.folder, files.name);
    const served = known?.served ?? null;
    const outcome = served === null ? "it is not served" : "the one before is served on";
    const text = `${thrown instanceof Failure ? thrown.message : textOf(thrown)}; ${outcome}`;
    const isSame = known?.problem?.text === text;
    // At the start nothing is being written, as far as one can know.
    const isLogged = isSame || known === null;
    if (isLogged && !(isSame && known.isLogged)) this.#options.log.warn(`certificate ${subject}: ${text}`);
    const keyIsOpen = known?.keyIsOpen ?? false;
    return { signature, served, problem: { subject, text }, isLogged, keyIsOpen };
  }

  #tell({ name, pair }: Served): void {
    const { log, nowMs } = this.#options;
    const hosts = pair.hosts.slice(0, HOSTS_SHOWN).join(", ");
    const more = pair.hosts.length > HOSTS_SHOWN ? " and others" : "";
    log.info(`certificate ${name} is served for ${hosts === "" ? "no host" : hosts}${more}`);
    const complaint = complaintOf(pair, nowMs());
    if (complaint !== null) log.warn(`certificate ${name} ${complaint}`);
  }

  async #sign({ certificate, key }: Files): Promise<{ signature: string; keyIsOpen: boolean }> {
    const [first, second] = [await this.#stat(certificate), await this.#stat(key)];
    const signature = [first, second]
      .map(({ dev, ino, size, mtimeMs, ctimeMs }) => `${dev} ${ino} ${size} ${mtimeMs} ${ctimeMs}`)
      .join(", ");
    return { signature, keyIsOpen: (second.mode & READABLE_BY_ALL) !== 0 };
  }

  async #stat(path: string): Promise<Stats> {
    const found = await stat(join(this.#options.folder, path)).catch((thrown: unknown) => {
      throw new Failure("invalid", `${path} cannot be read: ${whyOf(thrown)}`, { cause: thrown });
    });
    // Opening a pipe would wait for whoever writes to it.
    if (!found.isFile()) throw new Failure("invalid", `${path} is no file`);
    return found;
  }

  async #read(files: Files): Promise<Served> {
    const certificate = await readText(this.#options.folder, files.certificate);
    const key =
      files.key === files.certificate ? certificate : await readText(this.#options.folder, files.key);
    const read = readPair({ certificate, key });
    if (!read.ok) throw read.failure;
    const pair = read.value;
    try {
      return { name: files.name, pair, context: createSecureContext({ cert: pair.chain, key: pair.key }) };
    } catch (thrown) {
      // As for a key that is too small for today's OpenSSL. Its texts name no more than what it minds.
      throw new Failure("invalid", `OpenSSL refuses it: ${textOf(thrown)}`, { cause: thrown });
    }
  }

  #watch(): void {
    if (this.#watcher !== null) return;
    try {
      const watcher = watch(this.#options.folder, { persistent: false }, () => this.#lookSoon());
      this.#watcher = watcher;
      watcher.on("error", () => {
        watcher.close();
        this.#watcher = null;
      });
    } catch {
      // No such folder yet, or the system watches no more: it is looked through every few seconds all the same.
    }
  }

  #lookSoon(): void {
    if (this.#isClosed) return;
    this.#settling ??= setTimeout(() => {
      this.#settling = null;
      this.#looking.set(null);
    }, SETTLING_MS);
  }
}

/** Hosts of one certificate in a log line: some have a hundred. */
const HOSTS_SHOWN = 5;

/** A folder and what the folders in it hold; links count as what they lead to. */
async function listFolder(folder: string): Promise<readonly ListedEntry[]> {
  const listed: ListedEntry[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    // What is no folder, or a link to none, cannot be listed: then it is a file.
    const mayHold = entry.isDirectory() || entry.isSymbolicLink();
    const holds = mayHold ? await readdir(join(folder, entry.name)).catch(() => null) : null;
    listed.push({ name: entry.name, holds });
  }
  return listed;
}

async function readText(folder: string, path: string): Promise<string> {
  try {
    // It may have become a pipe since it was looked at, which must not keep us waiting.
    const file = await open(join(folder, path), constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const found = await file.stat();
      if (!found.isFile()) throw new Failure("invalid", `${path} is no file`);
      const most = LIMITS.certificateFileBytes;
      if (found.size > most) {
        throw new Failure("invalid", `${path} has ${found.size} bytes; expected at most ${most}`);
      }
      // Those of the system (/proc, /sys) are empty too, and reading them may wait for ever.
      return found.size === 0 ? "" : await readBounded(file, path);
    } finally {
      await file.close();
    }
  } catch (thrown) {
    if (thrown instanceof Failure) throw thrown;
    throw new Failure("invalid", `${path} cannot be read: ${whyOf(thrown)}`, { cause: thrown });
  }
}

/** Reads a file to its end, which it may move while it is read. */
async function readBounded(file: FileHandle, path: string): Promise<string> {
  const most = LIMITS.certificateFileBytes;
  const bytes = Buffer.alloc(most + 1);
  let length = 0;
  while (length < bytes.length) {
    const { bytesRead } = await file.read(bytes, length);
    if (bytesRead === 0) return bytes.toString("utf8", 0, length);
    length += bytesRead;
  }
  throw new Failure("invalid", `${path} grows beyond ${most} bytes; expected at most as many`);
}

function whyOf(thrown: unknown): string {
  const code = systemCodeOf(thrown);
  if (code === "ENOENT") return "there is no such file";
  return code === "EACCES" ? "not permitted for the user who runs skein" : textOf(thrown);
}
