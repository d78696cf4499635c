/**
 * Enrolment: the door of a cluster, on the inside.
 *
 * Answers who wants in, members that renew and managers that lack a key. What a stranger can make us do is small: a
 * body is short and has to come soon, few are waited for at once, and a wrong secret counts against its address
 * before the next is looked at. The costly part, reading a signing request and signing, comes after the secret or the
 * certificate was found good.
 *
 * Every attempt is told to whoever opened the door, with the reason; no text here ever holds a secret.
 *
 * Touches: the requests that the mesh port hands over, and their sockets. attempts.ts judges rates, credentials.ts
 * issues, joining.ts is the other side.
 */

import { X509Certificate } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";

import { textOf } from "../base/failure.ts";
import { networkOf } from "../base/ip.ts";
import type { Credential, Role } from "../model/credential.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import { startDeadline } from "../runtime/deadline.ts";

import { Attempts } from "./attempts.ts";
import { readCsr, type Requester } from "./authority.ts";
import type { Credentials } from "./credentials.ts";
import {
  isProof,
  MEMBERS_NAMED,
  parseJoinRequest,
  parseRenewRequest,
  REFUSALS,
  type RefusalReason,
} from "./enrolment-wire.ts";
import { wasRemoved } from "./membership.ts";

/** Who asks, as the mesh port knows it. */
export interface Caller {
  /** Of its client certificate; null without one that counts. */
  readonly credential: Credential | null;
  /** Why there is none: none shown, ended, of another cluster, ... */
  readonly problem: string | null;
  /** Its address, without port. */
  readonly address: string;
  /** What both ends of this connection have and no other: JOIN_BINDING_LABEL. */
  readonly binding: Uint8Array;
}

/** What became of a request, to be counted and told. */
export interface EnrolmentAttempt {
  readonly request: "join" | "renew" | "authority";
  readonly result: "accepted" | RefusalReason;
  readonly address: string;
  /** Once it is proved. */
  readonly id: NodeId | null;
  /** What a joiner calls itself. */
  readonly name: string | null;
  /** What it got. */
  readonly role: Role | null;
  /** In words; empty when it was accepted. */
  readonly reason: string;
}

/** What openEnrolment needs. */
export interface EnrolmentOptions {
  readonly credentials: Credentials;
  readonly now: () => number;
  /** Members that a new one can dial, as `address:port`, the best first. */
  readonly members: () => readonly string[];
  /** Other managers that can be reached, as `address:port`. */
  readonly managers: () => readonly string[];
  readonly told: (attempt: EnrolmentAttempt) => void;
  /** How long a request may take to come in; BODY_MS unless told. */
  readonly bodyMs?: number;
}

/** Answers one request; never throws, and the response is always ended. */
export type Enrolment = (request: IncomingMessage, response: ServerResponse, caller: Caller) => Promise<void>;

/** How long a request's body may take: ours come in one packet. */
export const BODY_MS = 3000;

/** A request turned down. */
class Refused extends Error {
  readonly reason: RefusalReason;
  readonly retryAfterMs: number;

  constructor(reason: RefusalReason, text: string, retryAfterMs = 0) {
    super(text);
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
  }
}

/** What was granted, and to whom. */
interface Granted {
  readonly body: unknown;
  readonly id: NodeId;
  readonly role: Role;
}

/** Opens the door. */
export function openEnrolment(options: EnrolmentOptions): Enrolment {
  const door = new Door(options);
  return (request, response, caller) => door.serve(request, response, caller);
}

class Door {
  readonly #options: EnrolmentOptions;
  readonly #attempts = new Attempts({
    perAddress: LIMITS.joinFailuresPerAddress,
    overall: LIMITS.joinFailuresMax,
    addresses: LIMITS.joinAddressesMax,
  });
  /** Requests under way, by network. */
  readonly #openByNetwork = new Map<string, number>();
  #openCount = 0;

  constructor(options: EnrolmentOptions) {
    this.#options = options;
  }

  async serve(request: IncomingMessage, response: ServerResponse, caller: Caller): Promise<void> {
    // Whoever goes away before the answer has nothing to be told.
    response.on("error", () => undefined);
    const wanted = `${request.method} ${request.url}`;
    if (wanted === "GET /cluster") return answer(response, 200, this.#cluster(caller));
    const kind = wanted === "POST /join" ? "join" : wanted === "POST /renew" ? "renew" : "authority";
    if (kind === "authority" && wanted !== "POST /authority") {
      const text = "expected GET /cluster, POST /join, POST /renew or POST /authority";
      return this.#refuse(response, new Refused("unknown-request", text));
    }
    // What is known of the asker by the time it is refused.
    const known: { id: NodeId | null; name: string | null } = {
      id: caller.credential?.id ?? null,
      name: null,
    };
    const told = (result: EnrolmentAttempt["result"], reason: string, role: Role | null): void =>
      this.#options.told({ request: kind, result, address: caller.address, ...known, role, reason });
    try {
      const granted = await this.#admitted(caller, () => this.#grant(kind, request, caller, known));
      known.id = granted.id;
      told("accepted", "", granted.role);
      answer(response, 200, granted.body);
    } catch (thrown) {
      // A grant that fails for reasons of ours, such as an authority that was retired meanwhile.
      const refused =
        thrown instanceof Refused
          ? thrown
          : new Refused("failed", "this node could not answer; its log tells why");
      told(refused.reason, thrown instanceof Refused ? refused.message : textOf(thrown), null);
      this.#refuse(response, refused);
    }
  }

  /** Does the work while there are not too many at it. */
  async #admitted<T>(caller: Caller, work: () => Promise<T>): Promise<T> {
    const network = networkOf(caller.address);
    const own = this.#openByNetwork.get(network) ?? 0;
    if (this.#openCount >= LIMITS.enrolmentsMax || own >= LIMITS.enrolmentsPerAddress) {
      throw new Refused("full", "too many requests to join at once", 1000);
    }
    this.#openCount += 1;
    this.#openByNetwork.set(network, own + 1);
    try {
      return await work();
    } finally {
      this.#openCount -= 1;
      const left = (this.#openByNetwork.get(network) ?? 1) - 1;
      if (left === 0) this.#openByNetwork.delete(network);
      else this.#openByNetwork.set(network, left);
    }
  }

  #grant(
    kind: EnrolmentAttempt["request"],
    request: IncomingMessage,
    caller: Caller,
    known: { id: NodeId | null; name: string | null },
  ): Promise<Granted> {
    const body = (): Promise<string> => readBody(request, this.#options.bodyMs ?? BODY_MS);
    if (kind === "join") return this.#join(body, caller, known);
    return kind === "renew" ? this.#renew(body, caller) : this.#authority(caller);
  }

  async #join(
    body: () => Promise<string>,
    caller: Caller,
    known: { id: NodeId | null; name: string | null },
  ): Promise<Granted> {
    const { credentials } = this.#options;
    this.#expectIssuer();
    this.#expectPatience(caller);
    const parsed = parseJoinRequest(await body());
    // Again, and from here to the count without a pause: many at once must not slip in under the bound.
    this.#expectPatience(caller);
    if (!parsed.ok) throw this.#guessed(caller, "malformed", parsed.failure.message);
    const { secret, csr, proof, name } = parsed.value;
    known.name = name;
    const verdict = credentials.judgeSecret(secret);
    if (verdict.kind === "wrong") {
      throw this.#guessed(
        caller,
        "wrong-token",
        'the join token is wrong; print it anew with "skein token" on a manager',
      );
    }
    if (verdict.kind === "rotated") {
      const text =
        'the join token was rotated and is good no longer; print it anew with "skein token" on a manager';
      throw this.#guessed(caller, "rotated-token", text);
    }
    const requester = await this.#prove("join", caller, { csr, proof });
    known.id = requester.id;
    if (credentials.admission.isRevoked(requester.id)) {
      throw new Refused("removed", wasRemoved(requester.id).message);
    }
    const { role } = verdict;
    const certificate = pemOf(await credentials.issue(requester.publicKey, requester.id, role));
    const { charter } = credentials;
    const members = this.#options.members().slice(0, MEMBERS_NAMED);
    const grant = { certificate, charter, role, members };
    return {
      body: role === "manager" ? { ...grant, keys: credentials.keys() } : grant,
      id: requester.id,
      role,
    };
  }

  async #renew(body: () => Promise<string>, caller: Caller): Promise<Granted> {
    const { credentials } = this.#options;
    if (caller.credential === null) await this.#expectNotRemoved(body, caller);
    const { id, role } = this.#expectMember(caller);
    this.#expectIssuer();
    const parsed = parseRenewRequest(await body());
    if (!parsed.ok) throw new Refused("malformed", parsed.failure.message);
    const requester = await this.#prove("renew", caller, parsed.value);
    if (requester.id !== id) {
      throw new Refused(
        "wrong-proof",
        `the request is of node ${requester.id}; expected its own key, of ${id}`,
      );
    }
    const certificate = pemOf(await credentials.issue(requester.publicKey, id, role));
    return { body: { certificate, charter: credentials.charter }, id, role };
  }

  /** Its certificate does not count; a removed node is told that this is why, as nobody else tells it. */
  async #expectNotRemoved(body: () => Promise<string>, caller: Caller): Promise<void> {
    this.#expectPatience(caller);
    const parsed = parseRenewRequest(await body());
    if (!parsed.ok) throw this.#guessed(caller, "malformed", parsed.failure.message);
    const { id } = await this.#prove("renew", caller, parsed.value);
    if (this.#options.credentials.admission.isRevoked(id))
      throw new Refused("removed", wasRemoved(id).message);
  }

  async #authority(caller: Caller): Promise<Granted> {
    const { id, role } = this.#expectMember(caller);
    if (role !== "manager")
      throw new Refused("not-manager", `node ${id} is a worker; authority keys are for managers`);
    return { body: { keys: this.#options.credentials.keys() }, id, role };
  }

  /** Whoever signed the request, when he is on this connection. */
  async #prove(
    kind: "join" | "renew",
    caller: Caller,
    { csr, proof }: { readonly csr: Uint8Array; readonly proof: Uint8Array },
  ): Promise<Requester> {
    const requester = await readCsr(csr);
    if (!requester.ok) throw this.#guessed(caller, "malformed", requester.failure.message);
    const { publicKey } = requester.value;
    if (isProof(kind, caller.binding, { publicKey, proof })) return requester.value;
    const text = "the signing request was not made for this connection; expected a proof signed by its key";
    throw this.#guessed(caller, "wrong-proof", text);
  }

  /** @throws Refused when another manager has to answer, or somebody has to be waited for */
  #expectIssuer(): void {
    const { credentials, managers } = this.#options;
    const isBetterElsewhere = !credentials.hasNewestKey && managers().length > 0;
    if (credentials.canIssue && !isBetterElsewhere) return;
    throw new Refused("elsewhere", "this node does not issue certificates; ask a manager");
  }

  #expectPatience({ address }: Caller): void {
    const waitMs = this.#attempts.waitMs(address, this.#options.now());
    if (waitMs === 0) return;
    const text = `too many failed attempts from ${networkOf(address)}; wait ${Math.ceil(waitMs / 1000)} s`;
    throw new Refused("limited", text, waitMs);
  }

  #expectMember({ credential, problem }: Caller): Credential {
    if (credential === null) {
      throw new Refused("stranger", `${problem ?? "no certificate counts here"}; join again with a token`);
    }
    // The connection may be older than the removal.
    if (!this.#options.credentials.admission.isAccepted(credential)) {
      throw new Refused("removed", wasRemoved(credential.id).message);
    }
    return credential;
  }

  #guessed({ address }: Caller, reason: RefusalReason, text: string): Refused {
    this.#attempts.failed(address, this.#options.now());
    return new Refused(reason, text);
  }

  #cluster({ credential }: Caller): unknown {
    const { charter, admission } = this.#options.credentials;
    const { clusterId, roots } = charter;
    const counts = credential !== null && admission.isAccepted(credential);
    return { clusterId, roots, managers: this.#options.managers().slice(0, MEMBERS_NAMED), counts };
  }

  #refuse(response: ServerResponse, { reason, message, retryAfterMs }: Refused): void {
    const body = { reason, error: message };
    const managers = this.#options.managers().slice(0, MEMBERS_NAMED);
    if (retryAfterMs > 0) response.setHeader("retry-after", Math.ceil(retryAfterMs / 1000));
    // A body that was not read to its end is still on its way.
    response.setHeader("connection", "close");
    answer(response, REFUSALS[reason].status, reason === "elsewhere" ? { ...body, managers } : body);
  }
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
    "cache-control": "no-store",
  });
  response.end(text);
}

/** The body as text, within its bound and its time. */
function readBody(request: IncomingMessage, bodyMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    const deadline = startDeadline(bodyMs, () =>
      end(new Refused("too-slow", `no whole request in ${bodyMs} ms`)),
    );
    const end = (refused: Refused | null): void => {
      deadline.clear();
      request.removeAllListeners("data");
      request.pause();
      if (refused === null) resolve(Buffer.concat(chunks).toString("utf8"));
      else reject(refused);
    };
    request.on("data", (chunk: Buffer) => {
      sizeBytes += chunk.length;
      chunks.push(chunk);
      const most = LIMITS.enrolBodyBytes;
      if (sizeBytes > most) end(new Refused("too-large", `the request has more than ${most} bytes`));
    });
    request.once("end", () => end(null));
    request.once("error", () => end(new Refused("malformed", "the request was cut short")));
    request.once("close", () => end(new Refused("malformed", "the request was cut short")));
    request.resume();
  });
}

function pemOf(certificate: Uint8Array): string {
  return new X509Certificate(certificate).toString();
}
