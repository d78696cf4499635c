/**
 * Listing: which files of a folder make certificates with their keys?
 *
 * Three layouts, since those are what people have: `name.crt` beside `name.key` (also as Kubernetes mounts secrets:
 * `tls.crt`, `tls.key`), one `name.pem` that holds both, and a folder per name with `fullchain.pem` and `privkey.pem`
 * (certbot's `live`). A `name.pem` may have a `name.key` beside it too. Everything else is somebody else's: hidden
 * files, READMEs, what editors leave.
 *
 * Pure. certificates.ts lists the folder and reads the files.
 */

/** A file or folder as a listing has it. */
export interface ListedEntry {
  readonly name: string;
  /** What a folder holds; null for a file. */
  readonly holds: readonly string[] | null;
}

/** Where a certificate and its key are; the same path where one file holds both. */
export interface Files {
  /** What it is called in logs: the certificate's file, or the folder. */
  readonly name: string;
  /** Relative to the listed folder. */
  readonly certificate: string;
  readonly key: string;
}

const FULL_CHAIN = "fullchain.pem";
const PRIVATE_KEY = "privkey.pem";

/** The pairs of files in a folder, sorted by name. One whose key is missing is among them: reading it says so. */
export function pairFiles(entries: readonly ListedEntry[]): readonly Files[] {
  const names = new Set(entries.map(({ name }) => name));
  return entries
    .filter(({ name }) => !name.startsWith("."))
    .flatMap((entry) => filesOf(entry, names))
    .sort((one, other) => (one.name < other.name ? -1 : 1));
}

function filesOf({ name, holds }: ListedEntry, beside: ReadonlySet<string>): readonly Files[] {
  if (holds !== null) {
    if (!holds.includes(FULL_CHAIN)) return [];
    return [{ name, certificate: `${name}/${FULL_CHAIN}`, key: `${name}/${PRIVATE_KEY}` }];
  }
  const ending = /\.(crt|pem)$/.exec(name)?.[1];
  if (ending === undefined) return [];
  const key = `${name.slice(0, -ending.length)}key`;
  return [{ name, certificate: name, key: ending === "crt" || beside.has(key) ? key : name }];
}
