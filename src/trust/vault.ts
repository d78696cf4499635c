/**
 * Vault: what trust keeps in the data dir.
 *
 * `node.crt` says who this node is, `charter.json` what its cluster has decided, `authority/` has the keys of
 * authorities where this node is a manager. Together they are membership in a cluster, so they come and go as one:
 * before the first is written or removed a mark is set, and a start that finds the mark goes back to none of them.
 * Anything else that is missing or damaged is a failure for a person to decide on, never a reason to begin a new
 * cluster.
 *
 * Touches: those files. The data dir's lock must be held. keyfile.ts has the node's own key.
 */

import { X509Certificate } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";

import { Failure, systemCodeOf } from "../base/failure.ts";
import type { Charter } from "../model/charter.ts";
import {
  ensureFolder,
  fileFailure,
  loadState,
  readBounded,
  saveState,
  writeWhole,
} from "../runtime/files.ts";

import { authorityOf, renderKey, type Authority } from "./authority.ts";
import { CHARTER_SCHEMA, parseCharter } from "./charter.ts";
import { expectPrivate } from "./keyfile.ts";

/** What membership in a cluster rests on. */
export interface Holdings {
  readonly charter: Charter;
  /** This node's certificate, DER. */
  readonly certificate: Uint8Array;
  /** Those whose keys are here. */
  readonly authorities: readonly Authority[];
}

const REMEDY = 'put it back from a backup, or run "skein leave --force" and join again';

/** The files of one data dir. */
export class Vault {
  readonly #dataDir: string;

  constructor(dataDir: string) {
    this.#dataDir = dataDir;
  }

  /**
   * Reads all of it.
   *
   * @param nowMs  part of the name under which a damaged charter is set aside
   * @returns null when this data dir is in no cluster
   * @throws Failure `corrupt` that names the file and the remedy; `not-allowed` when others may read a key
   */
  async load(nowMs: number): Promise<Holdings | null> {
    if ((await readBounded(this.#markPath)) !== null) await this.#removeAll();
    const pem = await readBounded(this.#certificatePath);
    const parse = (value: unknown): ReturnType<typeof parseCharter> => parseCharter(value);
    const loaded = await loadState(this.#charterPath, { schema: CHARTER_SCHEMA, parse }, nowMs);
    const keys = await this.#keyNames();
    if (pem === null && loaded.value === null && loaded.setAside === null && keys.length === 0) return null;
    if (loaded.value === null) {
      const why = loaded.reason ?? "it is missing, though this node is in a cluster";
      throw new Failure("corrupt", `charter ${this.#charterPath} cannot be used: ${why}; ${REMEDY}`);
    }
    if (pem === null) {
      const why = "is missing, though this node is in a cluster";
      throw new Failure("corrupt", `certificate ${this.#certificatePath} ${why}; ${REMEDY}`);
    }
    const authorities = await this.#loadKeys(loaded.value, keys);
    return { charter: loaded.value, certificate: this.#parse(pem), authorities };
  }

  /** Writes all of it, in the place of another cluster's where there is one: afterwards all is there or nothing. */
  async create(holdings: Holdings): Promise<void> {
    await ensureFolder(this.#dataDir);
    await writeWhole(this.#markPath, "");
    await this.#removeHoldings();
    for (const authority of holdings.authorities) await this.saveKey(authority);
    await this.saveCharter(holdings.charter);
    await this.saveCertificate(holdings.certificate);
    await this.#remove(this.#markPath);
  }

  /** Forgets the cluster and the node's key: what starts here next is a new node. */
  async forget(): Promise<void> {
    await ensureFolder(this.#dataDir);
    await writeWhole(this.#markPath, "");
    await this.#remove(join(this.#dataDir, "node.key"));
    await this.#removeAll();
  }

  /** At most one at a time. */
  async saveCharter(charter: Charter): Promise<void> {
    await saveState(this.#charterPath, CHARTER_SCHEMA, charter);
  }

  /** @param certificate  DER */
  async saveCertificate(certificate: Uint8Array): Promise<void> {
    await writeWhole(this.#certificatePath, new X509Certificate(certificate).toString());
  }

  async saveKey(authority: Authority): Promise<void> {
    await ensureFolder(this.#keyFolder);
    await writeWhole(join(this.#keyFolder, `${authority.root.fingerprint}.key`), renderKey(authority));
  }

  get #certificatePath(): string {
    return join(this.#dataDir, "node.crt");
  }

  get #charterPath(): string {
    return join(this.#dataDir, "charter.json");
  }

  get #keyFolder(): string {
    return join(this.#dataDir, "authority");
  }

  get #markPath(): string {
    return join(this.#dataDir, "membership.unfinished");
  }

  #parse(pem: string): Uint8Array {
    try {
      return new X509Certificate(pem).raw;
    } catch (cause) {
      const text = `certificate ${this.#certificatePath} is damaged; ${REMEDY}`;
      throw new Failure("corrupt", text, { cause });
    }
  }

  async #keyNames(): Promise<readonly string[]> {
    try {
      const names = await readdir(this.#keyFolder);
      return names.filter((name) => /^[0-9a-f]{64}\.key$/.test(name)).sort();
    } catch (thrown) {
      if (systemCodeOf(thrown) === "ENOENT") return [];
      throw fileFailure(this.#keyFolder, "read", thrown);
    }
  }

  /** Keys of authorities that the charter does not know stay where they are: a later charter may. */
  async #loadKeys(charter: Charter, names: readonly string[]): Promise<readonly Authority[]> {
    const authorities: Authority[] = [];
    for (const name of names) {
      const root = charter.roots.find(({ fingerprint }) => name === `${fingerprint}.key`);
      if (root === undefined) continue;
      const path = join(this.#keyFolder, name);
      await expectPrivate("authority key", path);
      const authority = authorityOf(root, (await readBounded(path)) ?? "");
      if (!authority.ok) throw new Failure("corrupt", `${path}: ${authority.failure.message}; ${REMEDY}`);
      authorities.push(authority.value);
    }
    return authorities;
  }

  /** All but the node's key, the mark last. */
  async #removeAll(): Promise<void> {
    await this.#removeHoldings();
    await this.#remove(this.#markPath);
  }

  async #removeHoldings(): Promise<void> {
    await this.#remove(this.#certificatePath);
    for (const suffix of ["", ".previous", ".new"]) await this.#remove(`${this.#charterPath}${suffix}`);
    await this.#remove(this.#keyFolder);
  }

  async #remove(path: string): Promise<void> {
    try {
      await rm(path, { recursive: true, force: true });
    } catch (thrown) {
      throw fileFailure(path, "removed", thrown);
    }
  }
}
