/**
 * Credentials: this node's membership in its cluster, and what it may do with it.
 *
 * Holds the node's certificate, the charter as far as it is known here, and where the node is a manager the keys of the
 * authorities. Others take from it what they need: the mesh its TLS material and whom to let in, gossip its seals, the
 * door for joiners its tokens and its signature. A decision of a manager is a new charter, which whoever asked spreads;
 * what others decided comes in by `apply`.
 *
 * Memory changes at once and the disk follows: a node that is told of a removal must not wait for a disk to act on it.
 * A key is on the disk before anything speaks of it. Each file has one writer at a time, and none once it is closed:
 * whoever forgets or replaces a membership must not find what was still being written of the one before.
 *
 * Touches: the data dir, by way of vault.ts. Time is handed in.
 */

import { X509Certificate } from "node:crypto";

import { Failure, success, type Result } from "../base/failure.ts";
import { latest, type Latest } from "../base/latest.ts";
import type { Charter, Root } from "../model/charter.ts";
import type { Credential, Role } from "../model/credential.ts";
import { isNodeId, type NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";

import { Admission } from "./admission.ts";
import {
  BACKDATED_MS,
  CERTIFICATE_LIFE_MS,
  createAuthority,
  crossSign,
  issueCertificate,
  type Authority,
} from "./authority.ts";
import { checkCertificate, parseCertificate } from "./certificate.ts";
import { GENERATION_MAX, mergeCharter, trustedRoots, withoutEnded } from "./charter.ts";
import { nodeIdOf, spkiOf } from "./identity.ts";
import { Keyring, needsManager, readKeys, type KeysByFingerprint, type SecretVerdict } from "./keyring.ts";
import type { Identity } from "./keyfile.ts";
import { RETIRE_AFTER_MS, type Term } from "./renewal.ts";
import { rootVerifier } from "./root.ts";
import { NodeSeals } from "./seals.ts";
import { Vault, type Holdings } from "./vault.ts";

/** Where a node's membership lies, whose it is, and what time it is. */
export interface CredentialsOptions {
  readonly dataDir: string;
  readonly identity: Identity;
  /** Unix milliseconds. */
  readonly now: () => number;
  /** How long certificates are good that this node issues; CERTIFICATE_LIFE_MS unless told. */
  readonly lifeMs?: number;
  /** Told when the charter could not be saved; what is in memory counts all the same. */
  readonly saveFailed: (thrown: unknown) => void;
}

/** What TLS needs of a node, all in PEM. */
export interface Material {
  readonly key: string;
  readonly chain: string;
  readonly roots: readonly string[];
}

/** One node's membership. membership.ts has how it comes to be. */
export class Credentials {
  readonly id: NodeId;
  readonly clusterId: string;
  readonly admission: Admission;
  readonly seals: NodeSeals;
  readonly #options: CredentialsOptions;
  readonly #vault: Vault;
  readonly #saving: Latest<Charter>;
  #charter: Charter;
  #certificate: Uint8Array;
  #credential: Credential;
  #keyring: Keyring;
  #material: Material | null = null;
  #isClosed = false;
  /** The last of those that write the certificate or keys, which do so one after the other. Never rejects. */
  #lastTurn: Promise<unknown> = Promise.resolve();

  /** @throws Failure `corrupt` when the certificate is not this node's in this cluster */
  constructor(options: CredentialsOptions, { charter, certificate, authorities }: Holdings) {
    const { id, privateKey } = options.identity;
    this.#options = options;
    this.#vault = new Vault(options.dataDir);
    this.#charter = withoutEnded(charter, options.now());
    this.#keyring = new Keyring(authorities);
    this.id = id;
    this.clusterId = charter.clusterId;
    this.admission = new Admission(() => this.#charter);
    this.#credential = this.#expectOwn(certificate);
    this.#certificate = certificate;
    const certificateText = (): string => Buffer.from(this.#certificate).toString("base64");
    const { admission, clusterId } = this;
    this.seals = new NodeSeals({ clusterId, privateKey, certificate: certificateText, admission });
    this.#saving = latest((next) => this.#vault.saveCharter(next), options.saveFailed);
  }

  get role(): Role {
    return this.#credential.role;
  }

  /** This node's own, whether it still counts or not. */
  get credential(): Credential {
    return this.#credential;
  }

  get charter(): Charter {
    return this.#charter;
  }

  /** This node's certificate, DER. */
  get certificate(): Uint8Array {
    return this.#certificate;
  }

  /** For Renewal. */
  get term(): Term {
    const { issuer, notAfterMs } = this.#credential;
    return { issuedAtMs: issuedAtMs(this.#certificate), notAfterMs, issuer };
  }

  /** The authority whose certificates are the last to be retired; it issues. */
  get newestRoot(): Root {
    const [newest] = trustedRoots(this.#charter);
    if (newest === undefined) throw new Failure("corrupt", "charter has no authority; expected one at least");
    return newest;
  }

  /** Whether this node can issue by the newest authority. */
  get hasNewestKey(): boolean {
    return this.#keyring.has(this.newestRoot.fingerprint);
  }

  /** Whether this node can issue certificates that count. */
  get canIssue(): boolean {
    return this.#keyring.issuers(this.#charter).length > 0;
  }

  /** As it is now: the same object until the certificate or the authorities change. */
  material(): Material {
    this.#material ??= {
      key: this.#options.identity.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
      chain: new X509Certificate(this.#certificate).toString(),
      roots: trustedRoots(this.#charter).map(({ certificate }) =>
        new X509Certificate(Buffer.from(certificate, "base64")).toString(),
      ),
    };
    return this.#material;
  }

  /** Who holds this certificate (DER), when it counts here and now. */
  admit(certificate: Uint8Array): Result<Credential> {
    const admitted = this.admission.admit(certificate, this.#options.now());
    return admitted.ok ? success(admitted.value.credential) : admitted;
  }

  /** Whose key is in a certificate (DER), whatever it is worth; null when it cannot be read. For telling who it was. */
  ownerOf(certificate: Uint8Array): { readonly id: NodeId; readonly revoked: boolean } | null {
    const parsed = parseCertificate(certificate);
    if (!parsed.ok) return null;
    try {
      const id = nodeIdOf(spkiOf(parsed.value.publicKey));
      return { id, revoked: this.admission.isRevoked(id) };
    } catch {
      // A key of another kind is nobody's here.
      return null;
    }
  }

  /** Takes in what others decided; the disk follows. @returns whether anything was new */
  apply(charter: Charter): boolean {
    const merged = mergeCharter(this.#charter, charter, rootVerifier(this.clusterId));
    if (merged === this.#charter) return false;
    if (merged.roots !== this.#charter.roots) this.#material = null;
    this.#charter = merged;
    // What comes in while the daemon closes others have as well.
    if (!this.#isClosed) this.#saving.set(merged);
    return true;
  }

  /** Settles when the charter as it is now is on the disk, or `saveFailed` was told. */
  saved(): Promise<void> {
    return this.#saving.idle();
  }

  /**
   * Writes no more: what would is refused from now on (`busy`), and a charter that comes in is kept in memory alone.
   * For whoever is about to forget this membership, or to put another in its place.
   *
   * @returns settles when what was being written has been, as far as it goes
   */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#lastTurn;
    await this.saved();
  }

  /**
   * The token that lets a host in.
   *
   * @throws Failure `not-allowed` where this node has no authority's key
   */
  token(role: Role): string {
    return this.#keyring.token(this.#charter, role, this.#credential.issuer);
  }

  /** What a joiner's secret is worth. */
  judgeSecret(secret: string): SecretVerdict {
    return this.#keyring.judgeSecret(this.#charter, secret);
  }

  /** The tokens of this role that were printed so far are good no longer. @returns the charter that says so */
  rotateToken(role: Role): Charter {
    if (this.role !== "manager") throw needsManager("rotating a token");
    const generation = this.#charter.tokens[role] + 1;
    if (generation > GENERATION_MAX) throw new Failure("invalid", `${role} token was rotated too often`);
    return this.#decide({ tokens: { ...this.#charter.tokens, [role]: generation } });
  }

  /** Removes a node for good: its certificate counts no more. @returns the charter that says so */
  revoke(id: NodeId): Charter {
    if (!isNodeId(id)) throw new Failure("invalid", `node id is "${id}"; expected 20 base32 characters`);
    if (this.role !== "manager") throw needsManager("removing a node");
    const untilMs = Math.ceil(this.#options.now() + CERTIFICATE_LIFE_MS + BACKDATED_MS);
    return this.#decide({ revoked: [{ id, untilMs }] });
  }

  /** Says what was decided on networks. @returns the charter that says so */
  decideNetworks(networks: Charter["networks"]): Charter {
    if (this.role !== "manager") throw needsManager("deciding on a network");
    return this.#decide({ networks });
  }

  /**
   * Puts a new authority in the place of the newest. Nodes renew their certificates once they heard of it, this one
   * as well (see Renewal); then `retireRoots` ends the old one.
   *
   * @returns the charter that says so; the key is on the disk by then
   * @throws Failure `not-allowed` as `issue`, `busy` while too many earlier ones are not retired
   */
  rotateAuthority(): Promise<Charter> {
    return this.#inTurn(() => this.#rotateAuthority());
  }

  async #rotateAuthority(): Promise<Charter> {
    const before = this.#keyring.issuing(this.#charter);
    const inUse = trustedRoots(this.#charter).length;
    // One more than a charter holds would push out the oldest, and all who still have a certificate of it.
    if (inUse >= LIMITS.rootsMax / 2) {
      const rule = "one is retired a day after the latest rotation, once all members have renewed";
      const text = `${inUse} authorities are in use; expected fewer before the next: ${rule}`;
      throw new Failure("busy", text);
    }
    const nowMs = this.#options.now();
    const generation = this.newestRoot.generation + 1;
    const { root, privateKey } = await createAuthority(this.clusterId, generation, nowMs);
    const authority = { root: await crossSign(before, root, nowMs), privateKey };
    await this.#saveKey(authority);
    const charter = this.#decide({ roots: [authority.root] });
    await this.saved();
    return charter;
  }

  /**
   * Retires the authorities that all members have left behind: each has a certificate of a later one. Not before the
   * newest has been there for a while: a manager that was started anew does not know who is away, and whoever has a
   * certificate of a retired authority alone never gets in again.
   *
   * @param issuers  those of all members' certificates, also of members that are away
   * @param afterMs  how old the newest has to be, by its certificate
   * @returns the charter that says so; the same one when there is none to retire
   */
  retireRoots(issuers: Iterable<string>, afterMs = RETIRE_AFTER_MS): Charter {
    if (this.role !== "manager") throw needsManager("retiring an authority");
    const newest = Buffer.from(this.newestRoot.certificate, "base64");
    if (this.#options.now() - issuedAtMs(newest) < afterMs) return this.#charter;
    const trusted = trustedRoots(this.#charter);
    const places = Array.from([...issuers, this.#credential.issuer], (issuer) =>
      trusted.findIndex(({ fingerprint }) => fingerprint === issuer),
    );
    // Of one that is not among them somebody is left behind already; until he is forgotten it goes no further.
    const outlived = places.includes(-1) ? [] : trusted.slice(Math.max(...places) + 1);
    if (outlived.length === 0) return this.#charter;
    return this.#decide({ roots: outlived.map((root) => ({ ...root, retired: true })) });
  }

  /** Issues a certificate: DER. @throws Failure `not-allowed` where this node has no authority's key */
  async issue(publicKey: Uint8Array, id: NodeId, role: Role): Promise<Uint8Array> {
    const { lifeMs } = this.#options;
    const nowMs = this.#options.now();
    const request = { publicKey, id, role, clusterId: this.clusterId, nowMs };
    const issuer = this.#keyring.issuing(this.#charter);
    return issueCertificate(issuer, lifeMs === undefined ? request : { ...request, lifeMs });
  }

  /** Renews this node's own certificate by an authority's key that is here. */
  async renewOwn(): Promise<void> {
    const { publicKey } = this.#options.identity;
    await this.takeCertificate(await this.issue(publicKey, this.id, this.role));
  }

  /** Puts a new certificate (DER) in the place of this node's. @throws Failure `corrupt` when it is not this node's */
  takeCertificate(certificate: Uint8Array): Promise<void> {
    return this.#inTurn(() => this.#takeCertificate(certificate));
  }

  async #takeCertificate(certificate: Uint8Array): Promise<void> {
    const credential = this.#expectOwn(certificate);
    // First the authority, if it is a new one: after a crash in between a certificate of none that is known is useless.
    await this.saved();
    this.#expectOpen();
    await this.#vault.saveCertificate(certificate);
    this.#certificate = certificate;
    this.#credential = credential;
    this.#material = null;
  }

  /** The keys of all authorities that are here, by fingerprint, in PEM. For managers alone. */
  keys(): KeysByFingerprint {
    return this.#keyring.keys();
  }

  /** Fingerprints of the authorities that count whose keys a manager should have and this node has not. */
  missingKeys(): readonly string[] {
    const trusted = trustedRoots(this.#charter).map(({ fingerprint }) => fingerprint);
    return this.role === "manager" ? trusted.filter((each) => !this.#keyring.has(each)) : [];
  }

  /** Takes keys of authorities that another manager gave. @throws Failure `corrupt` for one that does not fit */
  takeKeys(keys: KeysByFingerprint): Promise<void> {
    return this.#inTurn(async () => {
      const read = readKeys(this.#charter, keys);
      if (!read.ok) throw read.failure;
      for (const authority of read.value) await this.#saveKey(authority);
    });
  }

  /**
   * Makes this node a manager by the keys of a backup of its own cluster. Closed afterwards: what was on its way for
   * the node as it was comes too late, and the daemon has to be opened anew.
   *
   * @throws Failure `corrupt` for a key that does not fit, `not-allowed` when none counts any more; all is as before
   */
  promote(keys: KeysByFingerprint): Promise<void> {
    return this.#inTurn(async () => {
      const read = readKeys(this.#charter, keys);
      if (!read.ok) throw read.failure;
      new Keyring(read.value).issuing(this.#charter);
      for (const authority of read.value) await this.#saveKey(authority);
      await this.#takeCertificate(await this.issue(this.#options.identity.publicKey, this.id, "manager"));
      this.#isClosed = true;
    });
  }

  async #saveKey(authority: Authority): Promise<void> {
    if (this.#keyring.has(authority.root.fingerprint)) return;
    this.#expectOpen();
    await this.#vault.saveKey(authority);
    this.#keyring = new Keyring([...this.#keyring.authorities, authority]);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#lastTurn.then(() => {
      this.#expectOpen();
      return work();
    });
    // Told to whoever asked for it; the next one goes on all the same.
    this.#lastTurn = done.catch(() => undefined);
    return done;
  }

  #expectOpen(): void {
    if (!this.#isClosed) return;
    throw new Failure("busy", "this node's membership is being closed or replaced; expected no change of it");
  }

  #decide(part: Partial<Pick<Charter, "roots" | "tokens" | "revoked" | "networks">>): Charter {
    this.#expectOpen();
    this.apply({ ...this.#charter, roots: [], revoked: [], networks: [], ...part });
    return this.#charter;
  }

  /** Judged as of its issue: a certificate that has ended, or whose authority is retired, still says whose it is. */
  #expectOwn(certificate: Uint8Array): Credential {
    const all = this.admission.issuers.map((issuer) => ({ ...issuer, trusted: true }));
    const standards = { clusterId: this.clusterId, issuers: all, nowMs: issuedAtMs(certificate) };
    const checked = checkCertificate(certificate, standards);
    const own = `expected one of node ${this.id} in cluster ${this.clusterId}`;
    if (!checked.ok)
      throw new Failure("corrupt", `this node's certificate: ${checked.failure.message}; ${own}`);
    const { credential } = checked.value;
    if (credential.id === this.id) return credential;
    throw new Failure("corrupt", `this node's certificate is that of node ${credential.id}; ${own}`);
  }
}

function issuedAtMs(certificate: Uint8Array): number {
  return new X509Certificate(certificate).validFromDate.getTime() + BACKDATED_MS;
}
