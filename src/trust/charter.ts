/**
 * Charter: merging, reading and writing what the managers have decided.
 *
 * Two charters have one merge: the union of their authorities and removals, the higher generation of each token, the
 * last decision on each network. So managers need not agree with one another, and who was away catches up by merging
 * what he finds. An authority is taken only when one that is known already vouches for it, else a manager that lies
 * could put up one of its own before somebody who never heard of this cluster's; how that is checked is handed in.
 *
 * Invariant: for charters of one cluster in which each authority but the first is vouched for by another in it, merging
 * is commutative, associative and idempotent; and whatever comes in, a charter stays within its bounds.
 *
 * Pure. root.ts checks who vouches for whom; networks.ts has the decisions on networks.
 */

import { failed, success, type Result } from "../base/failure.ts";
import { compareText } from "../base/sorted.ts";
import type { Charter, NetworkDecision, Revocation, Root } from "../model/charter.ts";
import { isObject, type Fields } from "../model/fields.ts";
import { isNodeId, type NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";

import { boundDecisions, decisionFrom, mergeDecisions, renderDecision } from "./networks.ts";

/** Whether one of the authorities known already vouches for a candidate; never asked about one of those. */
export type VerifyRoot = (candidate: Root, known: readonly Root[]) => boolean;

/** What one entry of a manager's log says. */
export type CharterPart =
  | { readonly kind: "tokens"; readonly tokens: Charter["tokens"] }
  | { readonly kind: "root"; readonly root: Root }
  | { readonly kind: "revocation"; readonly revocation: Revocation }
  | { readonly kind: "network"; readonly decision: NetworkDecision };

/** Before the keys of all entries about the charter. They count only in logs of managers. */
export const CHARTER_PREFIX = "cluster/";

/** Schema of the charter's file; raised when an older version could not read it. */
export const CHARTER_SCHEMA = 1;

/** Far above any count of rotations; a manager gone mad must not take the counters where they cannot rise. */
export const GENERATION_MAX = 1_000_000;

const TOKENS_KEY = `${CHARTER_PREFIX}tokens`;
const ROOT_PREFIX = `${CHARTER_PREFIX}root/`;
const REVOKED_PREFIX = `${CHARTER_PREFIX}revoked/`;
const NETWORK_PREFIX = `${CHARTER_PREFIX}network/`;
const CERTIFICATE_CHARACTERS = Math.ceil(LIMITS.certificateBytes / 3) * 4;

/** True for the text form of a cluster's id: 20 base32 characters, as of a node's. */
export function isClusterId(text: string): boolean {
  return isNodeId(text);
}

/**
 * Everything that either of two charters says.
 *
 * @param one  what is known: its authorities are those that may vouch for the other's
 * @returns `one` itself when the other brings nothing new, or is of another cluster
 */
export function mergeCharter(one: Charter, other: Charter, verifyRoot: VerifyRoot): Charter {
  if (one === other || one.clusterId !== other.clusterId) return one;
  const roots = mergeRoots(one.roots, other.roots, verifyRoot);
  const tokens = mergeTokens(one.tokens, other.tokens);
  const revoked = mergeRevoked(one.revoked, other.revoked);
  const networks = mergeDecisions(one.networks, other.networks);
  const isSame = roots === one.roots && tokens === one.tokens && revoked === one.revoked;
  if (isSame && networks === one.networks) return one;
  return { clusterId: one.clusterId, roots, tokens, revoked, networks };
}

/** The charter without removals that nobody needs to remember any more; the same one when there are none. */
export function withoutEnded(charter: Charter, nowMs: number): Charter {
  const revoked = charter.revoked.filter(({ untilMs }) => untilMs > nowMs);
  return revoked.length === charter.revoked.length ? charter : { ...charter, revoked };
}

/**
 * The authorities whose certificates count, the newest first: it issues. The newest counts though it is marked as
 * retired: with none at all nobody could speak to anybody. Not by refusing such a mark in a merge: whether it is the
 * newest depends on what is still to come, and the outcome on the order.
 */
export function trustedRoots({ roots }: Pick<Charter, "roots">): readonly Root[] {
  return roots.toSorted(compareAge).filter(({ retired }, index) => index === 0 || !retired);
}

/** What a manager writes into its log, by key. */
export function charterEntries(charter: Charter): ReadonlyMap<string, string> {
  const { roots, tokens, revoked, networks } = charter;
  const { worker, manager } = tokens;
  const entries = new Map([[TOKENS_KEY, JSON.stringify({ worker, manager })]]);
  for (const { fingerprint, certificate, cross, generation, retired } of roots) {
    const body = JSON.stringify({ certificate, cross, generation, retired });
    entries.set(`${ROOT_PREFIX}${fingerprint}`, body);
  }
  for (const { id, untilMs } of revoked) {
    entries.set(`${REVOKED_PREFIX}${id}`, JSON.stringify({ untilMs }));
  }
  for (const decision of networks) entries.set(`${NETWORK_PREFIX}${decision.name}`, renderDecision(decision));
  return entries;
}

/**
 * Reads one entry about the charter. Says nothing about whether it is to be believed.
 *
 * @returns null for a key that this version does not know
 */
export function readCharterEntry(key: string, body: string): Result<CharterPart | null> {
  const part = partOf(key, parseJson(body));
  if (part !== undefined) return success(part);
  return failed("invalid", `entry "${key}" is ${body.slice(0, 80)}; expected another form`);
}

/** The charter that the entries of one log make by themselves; of too many the ones that a merge would keep. */
export function charterOf(clusterId: string, parts: readonly CharterPart[]): Charter {
  let tokens: Charter["tokens"] = { worker: 1, manager: 1 };
  const rootByFingerprint = new Map<string, Root>();
  const untilMsById = new Map<NodeId, number>();
  const decisions: NetworkDecision[] = [];
  for (const part of parts) {
    if (part.kind === "tokens") tokens = mergeTokens(tokens, part.tokens);
    else if (part.kind === "root") rootByFingerprint.set(part.root.fingerprint, part.root);
    else if (part.kind === "network") decisions.push(part.decision);
    else untilMsById.set(part.revocation.id, part.revocation.untilMs);
  }
  const revoked = Array.from(untilMsById, ([id, untilMs]) => ({ id, untilMs }));
  return {
    clusterId,
    roots: boundRoots([...rootByFingerprint.values()]),
    tokens,
    revoked: boundRevoked(revoked),
    networks: boundDecisions(decisions),
  };
}

/** Checks what a charter's file, or an answer to a joiner, holds. */
export function parseCharter(value: unknown): Result<Charter> {
  // A charter of an earlier version has no networks.
  const { clusterId, roots, tokens, revoked, networks = [] } = isObject(value) ? value : {};
  if (typeof clusterId !== "string" || !isClusterId(clusterId)) return refuse("clusterId", clusterId);
  const read = tokensOf(tokens);
  if (read === undefined) return refuse("tokens", tokens);
  const parsedRoots = listOf(roots, LIMITS.rootsMax, (root) => rootOf(root["fingerprint"], root));
  if (parsedRoots === undefined || parsedRoots.length === 0) return refuse("roots", roots);
  const parsedRevoked = listOf(revoked, LIMITS.revokedMax, (one) => revocationOf(one["id"], one));
  if (parsedRevoked === undefined) return refuse("revoked", revoked);
  const decisions = listOf(networks, LIMITS.networkDecisionsMax, (one) => decisionFrom(one["name"], one));
  if (decisions === undefined) return refuse("networks", networks);
  const parts: CharterPart[] = [
    { kind: "tokens", tokens: read },
    ...parsedRoots.map((root) => ({ kind: "root", root }) as const),
    ...parsedRevoked.map((revocation) => ({ kind: "revocation", revocation }) as const),
    ...decisions.map((decision) => ({ kind: "network", decision }) as const),
  ];
  // Put together anew, so that order and doubles are as in any other charter.
  return success(charterOf(clusterId, parts));
}

function mergeTokens(one: Charter["tokens"], other: Charter["tokens"]): Charter["tokens"] {
  const worker = Math.max(one.worker, other.worker);
  const manager = Math.max(one.manager, other.manager);
  return worker === one.worker && manager === one.manager ? one : { worker, manager };
}

function mergeRoots(one: readonly Root[], other: readonly Root[], verifyRoot: VerifyRoot): readonly Root[] {
  const known = new Map(one.map((root) => [root.fingerprint, root]));
  let waiting = other.toSorted((first, second) => -compareAge(first, second));
  // Again while somebody was taken: he may vouch for one that was looked at before.
  for (let takenCount = 1; takenCount > 0 && waiting.length > 0;) {
    const left = waiting.filter((candidate) => !takeRoot(known, candidate, verifyRoot));
    takenCount = waiting.length - left.length;
    waiting = left;
  }
  const roots = boundRoots([...known.values()]);
  const isSame = roots.length === one.length && roots.every((root, index) => root === one[index]);
  return isSame ? one : roots;
}

/** @returns false for one that nobody known vouches for */
function takeRoot(known: Map<string, Root>, candidate: Root, verifyRoot: VerifyRoot): boolean {
  const { fingerprint, cross } = candidate;
  const before = known.get(fingerprint);
  if (before === undefined) {
    if (!verifyRoot(candidate, [...known.values()])) return false;
    known.set(fingerprint, candidate);
    return true;
  }
  // Of two good crosses the lesser text, for no other reason than that all must choose the same.
  const isLesser = cross !== null && (before.cross === null || cross < before.cross);
  const others = isLesser ? [...known.values()].filter((root) => root !== before) : [];
  const isCrossTaken = isLesser && verifyRoot({ ...before, cross }, others);
  const isRetiredNow = candidate.retired && !before.retired;
  if (isCrossTaken || isRetiredNow) {
    const retired = before.retired || candidate.retired;
    known.set(fingerprint, { ...before, cross: isCrossTaken ? cross : before.cross, retired });
  }
  return true;
}

function mergeRevoked(one: readonly Revocation[], other: readonly Revocation[]): readonly Revocation[] {
  const known = new Map(one.map((revocation) => [revocation.id, revocation]));
  let isNew = false;
  for (const revocation of other) {
    if ((known.get(revocation.id)?.untilMs ?? -1) >= revocation.untilMs) continue;
    known.set(revocation.id, revocation);
    isNew = true;
  }
  if (!isNew) return one;
  const revoked = boundRevoked([...known.values()]);
  const isSame = revoked.length === one.length && revoked.every((each, index) => each === one[index]);
  return isSame ? one : revoked;
}

/** The newest ones in number, by fingerprint. */
function boundRoots(roots: readonly Root[]): readonly Root[] {
  const kept = roots.toSorted(compareAge).slice(0, LIMITS.rootsMax);
  return kept.sort((one, other) => compareText(one.fingerprint, other.fingerprint));
}

/** The ones remembered longest in number, by id. */
function boundRevoked(revoked: readonly Revocation[]): readonly Revocation[] {
  const kept = revoked.toSorted((one, other) => other.untilMs - one.untilMs || compareText(one.id, other.id));
  return kept.slice(0, LIMITS.revokedMax).sort((one, other) => compareText(one.id, other.id));
}

/** The newest first. */
function compareAge(one: Root, other: Root): number {
  return other.generation - one.generation || compareText(one.fingerprint, other.fingerprint);
}

/** Undefined for what is malformed, null for what is not known. */
function partOf(key: string, value: Fields | null): CharterPart | null | undefined {
  if (key === TOKENS_KEY) {
    const tokens = tokensOf(value);
    return tokens === undefined ? undefined : { kind: "tokens", tokens };
  }
  if (key.startsWith(ROOT_PREFIX)) {
    const root = value === null ? undefined : rootOf(key.slice(ROOT_PREFIX.length), value);
    return root === undefined ? undefined : { kind: "root", root };
  }
  if (key.startsWith(REVOKED_PREFIX)) {
    const revocation = value === null ? undefined : revocationOf(key.slice(REVOKED_PREFIX.length), value);
    return revocation === undefined ? undefined : { kind: "revocation", revocation };
  }
  if (key.startsWith(NETWORK_PREFIX)) {
    const decision = value === null ? undefined : decisionFrom(key.slice(NETWORK_PREFIX.length), value);
    return decision === undefined ? undefined : { kind: "network", decision };
  }
  return null;
}

function tokensOf(value: unknown): Charter["tokens"] | undefined {
  if (!isObject(value)) return undefined;
  const { worker, manager } = value;
  return isGeneration(worker) && isGeneration(manager) ? { worker, manager } : undefined;
}

function rootOf(fingerprint: unknown, fields: Fields): Root | undefined {
  const { certificate, cross, generation, retired } = fields;
  if (typeof fingerprint !== "string" || !/^[0-9a-f]{64}$/.test(fingerprint)) return undefined;
  if (!isCertificate(certificate) || !(cross === null || isCertificate(cross))) return undefined;
  if (!isGeneration(generation) || typeof retired !== "boolean") return undefined;
  return { fingerprint, certificate, cross, generation, retired };
}

function revocationOf(id: unknown, { untilMs }: Fields): Revocation | undefined {
  if (typeof id !== "string" || !isNodeId(id)) return undefined;
  // Not whole numbers alone: what one manager can say the others must be able to read.
  const isTime = typeof untilMs === "number" && untilMs >= 0 && untilMs <= Number.MAX_SAFE_INTEGER;
  return isTime ? { id, untilMs } : undefined;
}

function isGeneration(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= GENERATION_MAX;
}

/** As far as its form goes: short enough, and base64. */
function isCertificate(value: unknown): value is string {
  if (typeof value !== "string" || value.length > CERTIFICATE_CHARACTERS) return false;
  return /^[A-Za-z0-9+/]+={0,2}$/.test(value);
}

/** Undefined when it is no list, too long, or one of its elements is malformed. */
function listOf<T>(value: unknown, countMax: number, read: (one: Fields) => T | undefined): T[] | undefined {
  if (!Array.isArray(value) || value.length > countMax) return undefined;
  const list = value.map((one: unknown) => (isObject(one) ? read(one) : undefined));
  const good = list.filter((one) => one !== undefined);
  return good.length === list.length ? good : undefined;
}

function parseJson(text: string): Fields | null {
  if (text.length > LIMITS.recordBytes) return null;
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : null;
  } catch {
    // Malformed is malformed, whatever is wrong with it.
    return null;
  }
}

function refuse(field: string, value: unknown): Result<never> {
  const found = JSON.stringify(value)?.slice(0, 80);
  return failed("corrupt", `charter field "${field}" is ${found}; expected another form`);
}
