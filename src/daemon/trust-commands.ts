/**
 * Trust commands: what somebody who may ask makes of this cluster: who joins, who goes, by which keys.
 *
 * Each checks first whether this node may, and says who may where it may not; then trust decides, and what was decided
 * is fed to the node, which spreads it. What makes this daemon another member than it was (joining, a backup brought
 * back) ends with the daemon being opened anew; it is checked before as far as it can be, since a failure after that
 * would be one of the whole process.
 *
 * Touches: the mesh port of other hosts and the data dir, through trust.
 */

import type { Commands } from "../admin/changes.ts";
import type {
  AuthorityReport,
  BackupReport,
  JoinResult,
  RemoveResult,
  TokenReport,
} from "../admin/contract-trust.ts";
import { Failure } from "../base/failure.ts";
import { renderHostPort, type HostPort } from "../base/ip.ts";
import type { Charter } from "../model/charter.ts";
import type { Role } from "../model/credential.ts";
import type { NodeId } from "../model/ids.ts";
import type { Member } from "../model/member.ts";
import type { View } from "../model/view.ts";
import { wallMs } from "../runtime/clock.ts";
import type { Input } from "../step.ts";
import { readBackup, renderBackup, type Backup } from "../trust/backup.ts";
import type { Credentials } from "../trust/credentials.ts";
import { joinCluster } from "../trust/joining.ts";
import type { Identity } from "../trust/keyfile.ts";
import { restoreMember, wasRemoved } from "../trust/membership.ts";

import type { Base } from "./base.ts";
import { tokenFrom } from "./membership.ts";

/** What the commands work with. */
export interface TrustParts {
  readonly identity: Identity;
  readonly credentials: Credentials;
  readonly view: () => View;
  /** Where others reach this node. */
  readonly advertised: HostPort;
  readonly feed: (input: Input) => void;
}

/** Those commands of the admin API that are about trust. */
export type TrustCommands = Pick<
  Commands,
  "join" | "token" | "rotateToken" | "remove" | "backup" | "restore" | "rotateAuthority"
>;

/** Makes the commands. */
export function trustCommands(base: Base, parts: TrustParts): TrustCommands {
  const commands = new TrustDesk(base, parts);
  return {
    join: (host, token) => commands.join(host, token),
    token: async (role) => commands.token(role),
    rotateToken: (role) => commands.rotateToken(role),
    remove: (id) => commands.remove(id),
    backup: (passphrase) => commands.backup(passphrase),
    restore: (backup, passphrase) => commands.restore(backup, passphrase),
    rotateAuthority: () => commands.rotateAuthority(),
  };
}

/** Other members that have not left, as far as this node knows. */
export function othersIn({ members }: View): readonly Member[] {
  return members.filter(({ self, state }) => !self && state !== "left");
}

/**
 * Makes sure that this node is a manager.
 *
 * @param what  what it is asked for, as the begin of a sentence
 * @throws Failure `not-allowed` that names who is
 */
export function expectManager(
  { credentials, view }: Pick<TrustParts, "credentials" | "view">,
  what: string,
): void {
  if (credentials.role === "manager") return;
  const managers = othersIn(view()).filter(({ role }) => role === "manager");
  const names = managers
    .slice(0, 5)
    .map(({ name }) => name)
    .join(", ");
  const remedy = names === "" ? "there is none left: skein authority restore" : `ask a manager: ${names}`;
  throw new Failure("not-allowed", `${what} is for managers, and this node is a worker; ${remedy}`);
}

/** Makes sure that whoever remains can let others in. @throws Failure `not-allowed` for the last manager of others */
export function expectSuccessor({ credentials, view }: Pick<TrustParts, "credentials" | "view">): void {
  const others = othersIn(view());
  if (credentials.role !== "manager" || others.length === 0) return;
  if (others.some(({ role }) => role === "manager")) return;
  const names = others
    .slice(0, 5)
    .map(({ name }) => name)
    .join(", ");
  const remedy = "make another one first (skein token manager), or leave with --force and keep a backup";
  throw new Failure("not-allowed", `this is the last manager, and ${names} would be left without; ${remedy}`);
}

class TrustDesk {
  readonly #base: Base;
  readonly #parts: TrustParts;
  /** True once this daemon is to be opened anew: what is asked then would be lost. */
  #isEnding = false;

  constructor(base: Base, parts: TrustParts) {
    this.#base = base;
    this.#parts = parts;
  }

  async join(host: HostPort, text: string): Promise<JoinResult> {
    const { credentials, identity, view } = this.#parts;
    const token = tokenFrom(text);
    const { clusterId, role, charter } = credentials;
    const node = this.#base.options.config.node.name;
    if (charter.roots.some(({ fingerprint }) => fingerprint === token.fingerprint)) {
      if (credentials.admission.isRevoked(credentials.id)) throw wasRemoved(credentials.id);
      // It is in that cluster by its own idea alone.
      const { trustProblem } = this.#base.report;
      if (trustProblem !== null) throw new Failure("not-allowed", trustProblem);
      return { node, clusterId, role, joined: false };
    }
    const others = othersIn(view()).map(({ name }) => name);
    if (others.length > 0) {
      const named = others.slice(0, 5).join(", ");
      throw new Failure("busy", `${node} is in a cluster with ${named}; leave it first: skein leave`);
    }
    this.#begin();
    try {
      const joined = await joinCluster({ seeds: [host], token, identity, name: node, now: wallMs });
      this.#base.options.onAnew({ kind: "adopt", joined });
      return { node, clusterId: joined.charter.clusterId, role: joined.role, joined: true };
    } catch (thrown) {
      this.#isEnding = false;
      throw thrown;
    }
  }

  token(role: Role): TokenReport {
    const { credentials, advertised } = this.#parts;
    expectManager(this.#parts, "a join token");
    const token = credentials.token(role);
    return { token, role, generation: credentials.charter.tokens[role], host: renderHostPort(advertised) };
  }

  async rotateToken(role: Role): Promise<TokenReport> {
    expectManager(this.#parts, "rotating a token");
    await this.#decided(this.#parts.credentials.rotateToken(role));
    return this.token(role);
  }

  async remove(id: NodeId): Promise<RemoveResult> {
    const { credentials, view } = this.#parts;
    if (id === credentials.id)
      throw new Failure("usage", "this is the daemon's own node; to take it out: skein leave");
    expectManager(this.#parts, "removing a member");
    const { name = id, role = null } = view().members.find((member) => member.id === id) ?? {};
    await this.#decided(credentials.revoke(id));
    return { node: name, id, role };
  }

  async backup(passphrase: string): Promise<BackupReport> {
    const { credentials } = this.#parts;
    expectManager(this.#parts, "a backup of the authority");
    const content = { charter: credentials.charter, keys: credentials.keys() };
    return { backup: await renderBackup(content, passphrase, wallMs()), clusterId: credentials.clusterId };
  }

  async restore(text: string, passphrase: string): Promise<AuthorityReport> {
    const read = await readBackup(text, passphrase);
    if (!read.ok) throw read.failure;
    const backup = read.value;
    const { clusterId } = backup.charter;
    const node = this.#base.options.config.node.name;
    this.#begin();
    try {
      const generation = await this.#restore(backup);
      return { node, clusterId, generation };
    } catch (thrown) {
      this.#isEnding = false;
      throw thrown;
    }
  }

  async rotateAuthority(): Promise<AuthorityReport> {
    const { credentials } = this.#parts;
    expectManager(this.#parts, "rotating the authority");
    await this.#decided(await credentials.rotateAuthority());
    const node = this.#base.options.config.node.name;
    return { node, clusterId: credentials.clusterId, generation: credentials.newestRoot.generation };
  }

  /** @returns the generation of the authority that issues then */
  async #restore(backup: Backup): Promise<number> {
    const { credentials, view } = this.#parts;
    const { onAnew } = this.#base.options;
    if (backup.charter.clusterId === credentials.clusterId) {
      await restoreMember(credentials, backup);
      onAnew({ kind: "usual" });
      return credentials.newestRoot.generation;
    }
    const others = othersIn(view());
    if (others.length > 0) {
      const own = credentials.clusterId;
      const why = `this node is in cluster ${own}, the backup is of ${backup.charter.clusterId}`;
      throw new Failure("busy", `${why}; leave first: skein leave`);
    }
    onAnew({ kind: "restore", backup });
    return Math.max(...backup.charter.roots.map(({ generation }) => generation));
  }

  #begin(): void {
    if (this.#isEnding)
      throw new Failure("busy", "the daemon is being opened anew; expected one change at a time");
    this.#isEnding = true;
  }

  async #decided(charter: Charter): Promise<void> {
    this.#parts.feed({ kind: "charter", charter });
    await this.#parts.credentials.saved();
  }
}
