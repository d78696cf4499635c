/**
 * Joining: the door of a cluster, from the outside.
 *
 * A joiner has an address and a token. It asks whoever answers who he is, and goes on only when one of the authorities
 * that he names has the digest in the token, and that one, or one that it vouches for, has issued the certificate of
 * this very connection. And only to a manager it says the secret: a worker that learned it could let in whom it likes.
 * A worker tells where managers are, and each of them is checked the same way.
 *
 * Renewing asks less, since a member knows its cluster: an authority that it has not heard of yet has to be vouched for
 * by one that it has.
 *
 * Touches: sockets, by way of enrolment-call.ts, and signs with the node's key. enrolment.ts is the other side.
 */

import { sign, X509Certificate } from "node:crypto";

import { Failure, type FailureCode, type Result } from "../base/failure.ts";
import { renderHostPort, type HostPort } from "../base/ip.ts";
import type { Charter } from "../model/charter.ts";
import type { Credential, Role } from "../model/credential.ts";
import { LIMITS } from "../model/limits.ts";

import { makeCsr } from "./authority.ts";
import { checkCertificate } from "./certificate.ts";
import { mergeCharter, trustedRoots } from "./charter.ts";
import type { Credentials } from "./credentials.ts";
import { withCall, type Answer, type Call } from "./enrolment-call.ts";
import {
  parseClusterAnswer,
  parseGrantAnswer,
  parseKeysAnswer,
  parseRefusal,
  proofText,
  REFUSALS,
  type ClusterAnswer,
} from "./enrolment-wire.ts";
import type { Identity } from "./keyfile.ts";
import type { KeysByFingerprint } from "./keyring.ts";
import type { Grant } from "./membership.ts";
import { readRoot, rootVerifier } from "./root.ts";
import type { Token } from "./token.ts";

/** What a host needs to join. */
export interface JoinOptions {
  /** Members of the cluster; tried in turn. */
  readonly seeds: readonly HostPort[];
  readonly token: Token;
  readonly identity: Identity;
  /** What this host calls itself, to be told to people there. */
  readonly name: string;
  readonly now: () => number;
  /** For each member that is asked; CALL_MS unless told. */
  readonly timeoutMs?: number;
}

/** What a joiner was given, and whom it can dial now. */
export interface Joined extends Grant {
  readonly role: Role;
  /** The manager that let it in first. */
  readonly members: readonly HostPort[];
}

/** How long one member may take for all that it is asked. */
export const CALL_MS = 5000;

/** Members asked in one attempt to join, at most. */
const ASKED_MAX = 16;

/** One more member to ask, and how many have sent us on before. */
interface Lead {
  readonly to: HostPort;
  readonly hops: number;
}

/** What asking a member came to: the grant, or where to go instead. */
type Asked =
  | { readonly kind: "joined"; readonly joined: Joined }
  | { readonly kind: "elsewhere"; readonly managers: readonly HostPort[] }
  | { readonly kind: "failed"; readonly failure: Failure; readonly isFinal: boolean };

/**
 * Joins a cluster. What is granted has to be stored by `adopt`.
 *
 * @throws Failure `not-allowed` when the token is not (or no longer) good there or the node was removed, `unreachable`
 *   or `timeout` when nobody could be asked, `refused` when whoever answers is no member of the token's cluster, `busy`
 *   when it has to wait. No text holds the secret.
 */
export async function joinCluster(options: JoinOptions): Promise<Joined> {
  const leads: Lead[] = options.seeds.map((to) => ({ to, hops: 0 }));
  const asked = new Set<string>();
  let failure: Failure | null = null;
  for (let lead = leads.shift(); lead !== undefined; lead = leads.shift()) {
    const { to, hops } = lead;
    if (asked.has(renderHostPort(to))) continue;
    if (asked.size >= ASKED_MAX) break;
    asked.add(renderHostPort(to));
    const result = await ask(options, to);
    if (result.kind === "joined") return result.joined;
    if (result.kind === "failed") {
      if (result.isFinal) throw result.failure;
      failure = result.failure;
      continue;
    }
    const next = hops < LIMITS.joinHopsMax ? result.managers : [];
    leads.push(...next.map((manager) => ({ to: manager, hops: hops + 1 })));
    failure ??= new Failure(
      "unreachable",
      `${renderHostPort(to)} does not let hosts in, and no manager is reached`,
    );
  }
  throw failure ?? new Failure("usage", "there is no address to join at; expected host:port of a member");
}

/**
 * Asks a manager for a new certificate, and puts it in the place of the old one.
 *
 * @throws Failure as `joinCluster`
 */
export async function renewAt(
  to: HostPort,
  { credentials, identity, timeoutMs = CALL_MS }: MemberOptions,
): Promise<void> {
  const { certificate, charter } = await withCall(to, asMember(credentials, timeoutMs), async (call) => {
    await expectManager(call, credentials);
    const body = await prove("renew", call, identity);
    return trusted(parseGrantAnswer(granted(call, await call.ask("POST", "/renew", body))));
  });
  credentials.apply(charter);
  await credentials.takeCertificate(derOf(certificate));
}

/** Asks another manager for the keys of the authorities, and keeps those that were missing. */
export async function fetchKeysAt(to: HostPort, options: Omit<MemberOptions, "identity">): Promise<void> {
  const { credentials, timeoutMs = CALL_MS } = options;
  const keys = await withCall(to, asMember(credentials, timeoutMs), async (call) => {
    await expectManager(call, credentials);
    return trusted(parseKeysAnswer(granted(call, await call.ask("POST", "/authority", {}))));
  });
  await credentials.takeKeys(known(credentials.charter, keys));
}

/** What somebody said who may be of this node's cluster. */
export interface Learnt {
  /** Whether an authority was new. */
  readonly isNew: boolean;
  /** Whether this node's certificate counts there. Not proved: to be believed only where a lie does no harm. */
  readonly counts: boolean;
}

/**
 * Asks a member that this node cannot believe yet which authorities there are now: those are taken that one known here
 * vouches for. And whether this node's certificate counts there.
 */
export async function fetchRootsAt(to: HostPort, options: Omit<MemberOptions, "identity">): Promise<Learnt> {
  const { credentials, timeoutMs = CALL_MS } = options;
  return withCall(to, asMember(credentials, timeoutMs), (call) => learnRoots(call, credentials));
}

/** Whose certificate, and how long to wait. */
export interface MemberOptions {
  readonly credentials: Credentials;
  readonly identity: Identity;
  readonly timeoutMs?: number;
}

async function ask(options: JoinOptions, to: HostPort): Promise<Asked> {
  const { timeoutMs = CALL_MS } = options;
  let isSecretSaid = false;
  const saying = (): void => {
    isSecretSaid = true;
  };
  try {
    return await withCall(to, { material: null, timeoutMs }, (call) => talk(call, options, { to, saying }));
  } catch (thrown) {
    if (!(thrown instanceof Failure)) throw thrown;
    // Somebody else may be the right one; but a secret that was refused is not offered round.
    const isNetwork = thrown.code === "unreachable" || thrown.code === "timeout";
    return { kind: "failed", failure: thrown, isFinal: isSecretSaid && !isNetwork };
  }
}

async function talk(
  call: Call,
  options: JoinOptions,
  { to, saying }: { readonly to: HostPort; readonly saying: () => void },
): Promise<Asked> {
  const { token, identity } = options;
  const cluster = trusted(parseClusterAnswer(granted(call, await call.ask("GET", "/cluster"))));
  const pinned = pin(call, token, cluster);
  const server = believe(call, pinned, options.now());
  // Not to a worker: what it hears it could use.
  if (server.role !== "manager") return { kind: "elsewhere", managers: cluster.managers };
  const proof = await prove("join", call, identity);
  saying();
  const answer = await call.ask("POST", "/join", { ...proof, secret: token.secret, name: options.name });
  if (answer.status === REFUSALS.elsewhere.status)
    return { kind: "elsewhere", managers: parseRefusal(answer.body).managers };
  const { certificate, charter, keys, members } = trusted(parseGrantAnswer(granted(call, answer)));
  expectSame(call, pinned, charter);
  const der = derOf(certificate);
  const own = checked(call, der, { charter, nowMs: options.now() });
  if (own.id !== identity.id) {
    throw new Failure(
      "refused",
      `${call.to} gave the certificate of ${own.id}; expected one of ${identity.id}`,
    );
  }
  const others = members.filter((member) => renderHostPort(member) !== call.to);
  return {
    kind: "joined",
    joined: {
      certificate: der,
      charter,
      keys: own.role === "manager" ? known(charter, keys) : {},
      role: own.role,
      members: [to, ...others],
    },
  };
}

/**
 * What of an answer follows from the token alone: the authority that it names, and those that vouch on from there.
 * Tokens and removals are not in it yet.
 */
function pin(call: Call, token: Token, { clusterId, roots }: ClusterAnswer): Charter {
  const root = roots.find(({ fingerprint }) => fingerprint === token.fingerprint);
  const own = root === undefined ? null : readRoot(clusterId, root);
  if (root === undefined || own?.ok !== true) {
    const why = "is of another cluster than the token, or only pretends to be of it";
    throw new Failure("not-allowed", `${call.to} ${why}; check the address, or print the token anew there`);
  }
  if (!trustedRoots({ roots }).includes(root)) {
    const why = "the token names an authority that is retired";
    throw new Failure("not-allowed", `${why}; print it anew with "skein token" on a manager`);
  }
  const first = { clusterId, roots: [root], tokens: { worker: 1, manager: 1 }, revoked: [], networks: [] };
  return mergeCharter(first, { ...first, roots: unretired(roots) }, rootVerifier(clusterId));
}

/**
 * Makes sure that a charter is of the cluster that was pinned. All of it is taken: it comes from a manager, by an
 * authority that the token leads to, and an older authority whose members are still there vouches for that one, not the
 * other way round.
 */
function expectSame(call: Call, pinned: Charter, charter: Charter): void {
  const fingerprints = new Set(charter.roots.map(({ fingerprint }) => fingerprint));
  const isSame =
    charter.clusterId === pinned.clusterId &&
    pinned.roots.every(({ fingerprint }) => fingerprints.has(fingerprint)) &&
    charter.roots.every((root) => readRoot(charter.clusterId, root).ok);
  if (!isSame)
    throw new Failure(
      "refused",
      `${call.to} gave a charter of another cluster; expected ${pinned.clusterId}`,
    );
}

/** Not yet: whoever says that an authority is retired has to be believed first. */
function unretired(roots: Charter["roots"]): Charter["roots"] {
  return roots.map((root) => ({ ...root, retired: false }));
}

/** Whose certificate the other side has shown, by these authorities. */
function believe(call: Call, charter: Charter, nowMs: number): Credential {
  return checked(call, call.certificate, { charter, nowMs });
}

function checked(
  call: Call,
  certificate: Uint8Array,
  { charter, nowMs }: { readonly charter: Charter; readonly nowMs: number },
): Credential {
  const { clusterId, roots } = charter;
  const issuers = roots.flatMap((root) => {
    const read = readRoot(clusterId, root);
    return read.ok ? [read.value] : [];
  });
  const result = checkCertificate(certificate, { clusterId, issuers, nowMs });
  if (result.ok) return result.value.credential;
  throw new Failure("refused", `${call.to}: ${result.failure.message}`);
}

/** Makes sure that a manager of this node's cluster is on the other side. */
async function expectManager(call: Call, credentials: Credentials): Promise<void> {
  let server = credentials.admit(call.certificate);
  if (!server.ok && (await learnRoots(call, credentials)).isNew) server = credentials.admit(call.certificate);
  if (!server.ok) throw new Failure("refused", `${call.to}: ${server.failure.message}`);
  if (server.value.role !== "manager")
    throw new Failure("refused", `${call.to} is a worker; expected a manager`);
}

async function learnRoots(call: Call, credentials: Credentials): Promise<Learnt> {
  const { clusterId, roots, counts } = trusted(
    parseClusterAnswer(granted(call, await call.ask("GET", "/cluster"))),
  );
  const { charter } = credentials;
  if (clusterId !== charter.clusterId) return { isNew: false, counts: false };
  return { isNew: credentials.apply(vouchedFor(charter, roots)), counts };
}

/**
 * The charter with those of somebody's authorities for which one that counts here vouches. One that is retired does
 * not: its key may be in wrong hands, and who says this has not proved anything yet.
 */
function vouchedFor(charter: Charter, roots: Charter["roots"]): Charter {
  const start = { ...charter, roots: trustedRoots(charter) };
  return mergeCharter(start, { ...start, roots: unretired(roots) }, rootVerifier(charter.clusterId));
}

async function prove(
  kind: "join" | "renew",
  call: Call,
  { id, privateKey, publicKey }: Identity,
): Promise<{ readonly csr: string; readonly proof: string }> {
  const csr = await makeCsr(id, privateKey, publicKey);
  const proof = sign("sha256", proofText(kind, call.binding), privateKey);
  return { csr: Buffer.from(csr).toString("base64"), proof: proof.toString("base64") };
}

/** The body of an answer that grants. @throws Failure that says why it does not */
function granted(call: Call, { status, body }: Answer): string {
  if (status === 200) return body;
  const { reason, text } = parseRefusal(body);
  const code: FailureCode = reason === null ? "refused" : REFUSALS[reason].code;
  throw new Failure(code, `${call.to} refuses: ${text}`);
}

/** @throws Failure `refused` for an answer that cannot be read */
function trusted<T>(parsed: Result<T>): T {
  if (parsed.ok) return parsed.value;
  throw new Failure("refused", `the other side's answer makes no sense: ${parsed.failure.message}`);
}

/** Those keys whose authorities are in the charter: others are of no use, and may be of a rotation not heard of yet. */
function known({ roots }: Charter, keys: KeysByFingerprint): KeysByFingerprint {
  const fingerprints = new Set(roots.map(({ fingerprint }) => fingerprint));
  return Object.fromEntries(Object.entries(keys).filter(([fingerprint]) => fingerprints.has(fingerprint)));
}

function derOf(pem: string): Uint8Array {
  try {
    return new X509Certificate(pem).raw;
  } catch (cause) {
    throw new Failure("refused", "the certificate that was given cannot be read; expected PEM", { cause });
  }
}

function asMember(credentials: Credentials, timeoutMs: number): Parameters<typeof withCall>[1] {
  return { material: credentials.material(), timeoutMs };
}
