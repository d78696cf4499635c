// Nodes for tests of trust: a data dir with a key, and a TLS server before its door as the mesh port will be.

import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import { createServer, type TLSSocket } from "node:tls";

import type { HostPort } from "../../src/base/ip.ts";
import { JOIN_ALPN, JOIN_BINDING_BYTES, JOIN_BINDING_LABEL } from "../../src/model/mesh-port.ts";
import type { Credentials, CredentialsOptions } from "../../src/trust/credentials.ts";
import { openEnrolment, type Enrolment, type EnrolmentAttempt } from "../../src/trust/enrolment.ts";
import { openIdentity, type Identity } from "../../src/trust/keyfile.ts";
import { adopt, foundCluster } from "../../src/trust/membership.ts";
import { openFolder } from "../support/folder.ts";

export const DAY_MS = 86_400_000;
export const NOW_MS = Date.UTC(2026, 10, 21, 12);

/** A clock that a test sets. */
export interface TestClock {
  nowMs: number;
}

/** A node before it is in a cluster. */
export interface Applicant {
  readonly identity: Identity;
  readonly options: CredentialsOptions;
  readonly clock: TestClock;
  /** Has the end of the test wait for what these still write: the folder is gone afterwards. */
  readonly writes: (credentials: Credentials) => Credentials;
}

/** A node in a cluster whose door is open. */
export interface OpenDoor {
  readonly credentials: Credentials;
  readonly address: HostPort;
  /** What it told of attempts, in order. */
  readonly attempts: readonly EnrolmentAttempt[];
  /** Each request that came, with its body's text, to be looked at. */
  readonly requests: readonly string[];
}

/** What a door may have beside its node. */
export interface DoorOptions {
  readonly managers?: () => readonly string[];
  readonly members?: () => readonly string[];
  readonly bodyMs?: number;
  /** Shown in place of the node's own certificate and key, PEM. */
  readonly shown?: { readonly key: string; readonly chain: string };
  /** Answers in place of the node. */
  readonly answer?: Enrolment;
  readonly maxVersion?: "TLSv1.2" | "TLSv1.3";
  /** For how the server sees its callers. */
  readonly address?: () => string;
}

/** Makes a data dir and a key in it. */
export async function newApplicant(t: TestContext, clock: TestClock = { nowMs: NOW_MS }): Promise<Applicant> {
  const writers: Credentials[] = [];
  // Before the folder's own hook: they run in this order.
  t.after(async () => {
    for (const writer of writers) await writer.saved();
  });
  const writes = (credentials: Credentials): Credentials => {
    writers.push(credentials);
    return credentials;
  };
  const dataDir = await openFolder(t);
  const identity = await openIdentity(dataDir);
  const saveFailed = (thrown: unknown): void => {
    throw thrown;
  };
  return { identity, clock, writes, options: { dataDir, identity, now: () => clock.nowMs, saveFailed } };
}

/** Makes a node with a cluster of its own. */
export async function newManager(
  t: TestContext,
  clock?: TestClock,
): Promise<Applicant & { readonly credentials: Credentials }> {
  const applicant = await newApplicant(t, clock);
  return { ...applicant, credentials: applicant.writes(await foundCluster(applicant.options)) };
}

/** Makes a member of a manager's cluster, without a door between. */
export async function newMember(
  t: TestContext,
  manager: Credentials,
  role: "worker" | "manager",
): Promise<Applicant & { readonly credentials: Credentials }> {
  const applicant = await newApplicant(t);
  const { publicKey, id } = applicant.identity;
  const certificate = await manager.issue(publicKey, id, role);
  const keys = role === "manager" ? manager.keys() : {};
  const grant = { certificate, charter: manager.charter, keys };
  return { ...applicant, credentials: applicant.writes(await adopt(applicant.options, grant)) };
}

/** Opens a node's door on a loopback port. */
export async function openDoor(
  t: TestContext,
  { credentials, clock }: { readonly credentials: Credentials; readonly clock: TestClock },
  options: DoorOptions = {},
): Promise<OpenDoor> {
  const attempts: EnrolmentAttempt[] = [];
  const requests: string[] = [];
  const enrolment =
    options.answer ??
    openEnrolment({
      credentials,
      now: () => clock.nowMs,
      members: options.members ?? (() => []),
      managers: options.managers ?? (() => []),
      told: (attempt) => attempts.push(attempt),
      ...(options.bodyMs === undefined ? {} : { bodyMs: options.bodyMs }),
    });
  const http = createHttpServer((request: IncomingMessage, response: ServerResponse) => {
    const at = requests.push(`${request.method} ${request.url}`) - 1;
    const socket = request.socket as TLSSocket;
    request.prependListener("data", (chunk: Buffer) => (requests[at] += ` ${chunk.toString("utf8")}`));
    // Data listeners make it flow; the door is to start that.
    request.pause();
    const certificate = socket.getPeerX509Certificate()?.raw;
    const admitted = certificate === undefined ? null : credentials.admit(certificate);
    const caller = {
      credential: admitted?.ok === true ? admitted.value : null,
      problem: admitted?.ok === false ? admitted.failure.message : "it showed no certificate",
      address: options.address?.() ?? socket.remoteAddress ?? "",
      binding: socket.exportKeyingMaterial(JOIN_BINDING_BYTES, JOIN_BINDING_LABEL, Buffer.alloc(0)),
    };
    void enrolment(request, response, caller);
  });
  const { key, chain } = options.shown ?? credentials.material();
  const server = createServer(
    {
      key,
      cert: chain,
      requestCert: true,
      rejectUnauthorized: false,
      ALPNProtocols: [JOIN_ALPN],
      minVersion: options.maxVersion ?? "TLSv1.3",
      maxVersion: options.maxVersion ?? "TLSv1.3",
    },
    (socket) => http.emit("connection", socket),
  );
  const sockets = new Set<{ destroy(): void }>();
  server.on("connection", (socket) => sockets.add(socket));
  server.on("tlsClientError", () => undefined);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { credentials, address: { host: "127.0.0.1", port }, attempts, requests };
}
