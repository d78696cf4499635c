/**
 * Changes: those routes of the admin API that change something or tell a secret, each as a function from a call to an
 * answer.
 *
 * Here a body becomes a request: bounded, parsed, and refused as `usage` when it does not fit, before the daemon hears
 * of it. Who may ask at all was decided before (app.ts). Nothing of a body is told in an answer or a log: it may hold a
 * token or a passphrase.
 *
 * Touches: requests.
 */

import type { IncomingMessage } from "node:http";

import { Failure } from "../base/failure.ts";
import { parseHostPort, type HostPort } from "../base/ip.ts";
import type { Role } from "../model/credential.ts";
import { isNodeId, type NodeId, type ReplicaId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import { MESH_PORT } from "../model/mesh-port.ts";

import { json, problem, valueOf, within, type Answer } from "./answers.ts";
import { paramOf, queryOf, type Call } from "./call.ts";
import type {
  AuthorityReport,
  BackupReport,
  JoinResult,
  RemoveResult,
  TokenReport,
} from "./contract-trust.ts";
import type { NodeDrainResult } from "./contract-live.ts";
import type { NetworkRemoval, NetworkResult } from "./contract-network.ts";
import { problemOf, type DrainResult, type LeaveResult } from "./contract.ts";
import type { Snapshot } from "./handlers.ts";
import { findMember, findReplica } from "./lookup.ts";
import { HANDOVER_PROTOCOL } from "./contract.ts";
import type { RouteId } from "./routes.ts";

/** What the daemon does for who may ask it. Each may throw Failure. */
export interface Commands {
  readonly snapshot: () => Snapshot;
  /** Begins a drain; with `wait` settles when all live members applied it or its own cap (10 s) passed. */
  readonly drain: (replica: ReplicaId, wait: boolean) => Promise<DrainResult>;
  /** Takes a drain back; settles when it is. */
  readonly undrain: (replica: ReplicaId) => Promise<DrainResult>;
  /** Drains all that a member runs, now and later, or takes that back; settles as `drain` does. */
  readonly drainMember: (
    member: NodeId,
    how: { readonly draining: boolean; readonly waits: boolean },
  ) => Promise<NodeDrainResult>;
  /** Leaves the cluster for good; settles when farewell is said, and then the daemon ends. */
  readonly leave: (force: boolean) => Promise<LeaveResult>;
  /** Gets a certificate of another cluster; settles when it is on disk, and then the daemon opens itself anew. */
  readonly join: (host: HostPort, token: string) => Promise<JoinResult>;
  readonly token: (role: Role) => Promise<TokenReport>;
  readonly rotateToken: (role: Role) => Promise<TokenReport>;
  /** Removes a member for good. */
  readonly remove: (member: NodeId) => Promise<RemoveResult>;
  readonly backup: (passphrase: string) => Promise<BackupReport>;
  readonly restore: (backup: string, passphrase: string) => Promise<AuthorityReport>;
  readonly rotateAuthority: () => Promise<AuthorityReport>;
  readonly createNetwork: (wish: NetworkWish) => Promise<NetworkResult>;
  /** `force`: though replicas or containers are on it. */
  readonly removeNetwork: (name: string, force: boolean) => Promise<NetworkRemoval>;
}

/** An overlay network that somebody asks for; fields as in the contract's NetworkRequest. */
export interface NetworkWish {
  readonly name: string;
  readonly subnet: string | null;
  readonly encrypted: boolean;
  readonly ipv6: boolean;
}

type Handler = (call: Call) => Answer | Promise<Answer>;

/** Above the 2 s in which an owner takes the order, and the 10 s after which a waiting drain tells who is missing. */
const DRAIN_DEADLINE_MS = 13_000;
/** Above the 6 s within which a daemon has drained and said farewell. */
const LEAVE_DEADLINE_MS = 10_000;
/** Above what asking one host after the other takes to join. */
const JOIN_DEADLINE_MS = 20_000;
/** A key is derived from a passphrase in about a second on a small machine. */
const TRUST_DEADLINE_MS = 20_000;

/** Routes of this file. */
export type ChangeId = Extract<
  RouteId,
  | "drain"
  | "drainMember"
  | "leave"
  | "handover"
  | "join"
  | "token"
  | "rotateToken"
  | "remove"
  | "backup"
  | "restore"
  | "rotateAuthority"
  | "createNetwork"
  | "removeNetwork"
>;

/** A handler for each of them. */
export function changesOf(commands: Commands): Readonly<Record<ChangeId, Handler>> {
  const trust = async (begun: Promise<unknown>, what: string): Promise<Answer> =>
    json(await within(begun, TRUST_DEADLINE_MS, what));
  return {
    drain: (call) => drain(call, commands),
    drainMember: (call) => drainMember(call, commands),
    async leave(call) {
      const force = (await fieldsOf(call, LIMITS.adminBodyBytes))["force"] ?? false;
      if (typeof force !== "boolean") throw misfit('{"force": true or false}');
      return json(await within(commands.leave(force), LEAVE_DEADLINE_MS, "leaving"));
    },
    handover() {
      const expected = `expected an upgrade to ${HANDOVER_PROTOCOL} over the unix socket: skein run --replace`;
      return problem(problemOf("usage", `this is no request for a handover; ${expected}`, 426));
    },
    async join(call) {
      const { host, token } = await fieldsOf(call, LIMITS.adminBodyBytes);
      if (typeof host !== "string" || typeof token !== "string")
        throw misfit('{"host": "...", "token": "..."}');
      const at = valueOf(parseHostPort(host, MESH_PORT));
      return json(await within(commands.join(at, token.trim()), JOIN_DEADLINE_MS, "joining"));
    },
    token: (call) => trust(commands.token(roleAsked(call)), "the token"),
    rotateToken: (call) => trust(commands.rotateToken(roleAsked(call)), "rotating the token"),
    remove(call) {
      const name = paramOf(call, "name");
      checkName(name);
      const found = findMember(commands.snapshot().view, name);
      // An id in full may be of one that is forgotten by now: whoever finds its disk must not come back with it.
      const id = !found.ok && isNodeId(name) ? name : valueOf(found).id;
      return trust(commands.remove(id), `removing "${name}"`);
    },
    async backup(call) {
      const { passphrase } = await fieldsOf(call, LIMITS.adminBodyBytes);
      if (typeof passphrase !== "string") throw misfit('{"passphrase": "..."}');
      return trust(commands.backup(passphrase), "the backup");
    },
    async restore(call) {
      const { backup, passphrase } = await fieldsOf(call, LIMITS.adminRestoreBytes);
      if (typeof backup !== "string" || typeof passphrase !== "string")
        throw misfit('{"backup": "...", "passphrase": "..."}');
      return trust(commands.restore(backup, passphrase), "restoring the authority");
    },
    rotateAuthority: () => trust(commands.rotateAuthority(), "rotating the authority"),
    async createNetwork(call) {
      const wish = wishOf(await fieldsOf(call, LIMITS.adminBodyBytes));
      return trust(commands.createNetwork(wish), `making network "${wish.name}"`);
    },
    removeNetwork(call) {
      const name = paramOf(call, "name");
      checkName(name);
      const force = queryOf(call, "force") ?? "false";
      if (force !== "true" && force !== "false")
        throw new Failure("usage", `force is "${force}"; expected true or false`);
      return trust(commands.removeNetwork(name.toLowerCase(), force === "true"), `removing "${name}"`);
    },
  };
}

function wishOf(fields: Readonly<Record<string, unknown>>): NetworkWish {
  const { name, subnet = null, encrypted = false, ipv6 = true } = fields;
  const isSubnet = subnet === null || typeof subnet === "string";
  if (typeof name !== "string" || !isSubnet || typeof encrypted !== "boolean" || typeof ipv6 !== "boolean")
    throw misfit('{"name": "app", "subnet": "10.50.0.0/16" or null, "encrypted": false, "ipv6": true}');
  checkName(name);
  return { name, subnet, encrypted, ipv6 };
}

/** Refuses a name that no thing can have. */
export function checkName(name: string): void {
  if (name !== "" && name.length <= LIMITS.nameBytes + 1) return;
  throw new Failure("usage", `name has ${name.length} characters; expected 1 to ${LIMITS.nameBytes}`);
}

async function drain(call: Call, commands: Commands): Promise<Answer> {
  const { replica: name, wait = false, undo = false } = await fieldsOf(call, LIMITS.adminBodyBytes);
  if (typeof name !== "string" || typeof wait !== "boolean" || typeof undo !== "boolean") {
    throw misfit('{"replica": "web-1", "wait": true or false}');
  }
  checkName(name);
  const replica = valueOf(findReplica(commands.snapshot().view, name));
  const begun = undo ? commands.undrain(replica.id) : commands.drain(replica.id, wait);
  const result = await within(begun, DRAIN_DEADLINE_MS, `draining "${replica.id}"`);
  return json(result, result.applied ? 200 : 202);
}

async function drainMember(call: Call, commands: Commands): Promise<Answer> {
  const { wait = false, undo = false } = await fieldsOf(call, LIMITS.adminBodyBytes);
  if (typeof wait !== "boolean" || typeof undo !== "boolean")
    throw misfit('{"wait": true or false, "undo": true or false}');
  const name = paramOf(call, "name");
  checkName(name);
  const { id } = valueOf(findMember(commands.snapshot().view, name));
  const begun = commands.drainMember(id, { draining: !undo, waits: wait });
  const result = await within(begun, DRAIN_DEADLINE_MS, `${undo ? "activating" : "draining"} "${name}"`);
  return json(result, result.applied ? 200 : 202);
}

function roleAsked(call: Call): Role {
  const role = paramOf(call, "role");
  if (role === "worker" || role === "manager") return role;
  throw new Failure("usage", `role is "${role}"; expected worker or manager`);
}

function misfit(expected: string): Failure {
  return new Failure("usage", `body does not fit; expected ${expected}`);
}

/** A body that is more than a route takes. */
export class TooLarge extends Error {
  /** The answer to it. */
  answer(): Answer {
    // Not `connection: close`: a socket that is closed while the caller still writes loses it the answer (call.ts).
    return problem(problemOf("usage", `${this.message}; expected a smaller one`, 413));
  }
}

/** The fields of a JSON body. @throws Failure `usage` when it is no object; TooLarge */
async function fieldsOf(call: Call, bytesMax: number): Promise<Readonly<Record<string, unknown>>> {
  const body = await bodyOf(call.incoming, bytesMax);
  let value: unknown;
  try {
    value = body === "" ? {} : JSON.parse(body);
  } catch (cause) {
    throw new Failure("usage", "body is not JSON; expected an object", { cause });
  }
  // Not the value itself: `constructor` is a property of every object.
  return typeof value === "object" && value !== null ? Object.assign(Object.create(null), value) : {};
}

/** The body as text; fails as soon as it is too large, with the rest left unread. */
async function bodyOf(incoming: IncomingMessage, bytesMax: number): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  try {
    // Not a plain `for await`: leaving it would destroy the socket before the answer is out.
    for await (const chunk of incoming.iterator({ destroyOnReturn: false })) {
      const bytes = Buffer.from(chunk as Uint8Array);
      sizeBytes += bytes.length;
      if (sizeBytes > bytesMax) throw new TooLarge(`body is larger than ${bytesMax} bytes`);
      chunks.push(bytes);
    }
  } catch (cause) {
    if (cause instanceof TooLarge) throw cause;
    // The caller went away or was too slow: its doing, not a bug of ours for the log.
    throw new Failure("usage", "body broke off; expected all of it", { cause });
  }
  return Buffer.concat(chunks).toString("utf8");
}
