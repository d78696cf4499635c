// Opens a real admin server with a made-up daemon behind it, and asks it over real sockets.

import { mkdtemp, rm } from "node:fs/promises";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";

import type { Commands } from "../../src/admin/changes.ts";
import type { DrainResult, LeaveResult, ResolveReport } from "../../src/admin/contract.ts";
import type { Refusal } from "../../src/admin/guard.ts";
import type { Snapshot } from "../../src/admin/handlers.ts";
import type { DoctorFacts } from "../../src/admin/doctor.ts";
import { openAdmin, type Admin, type AdminOptions } from "../../src/admin/server.ts";
import type { Event } from "../../src/model/event.ts";
import type { Log } from "../../src/runtime/log.ts";
import { NOTHING } from "./facts.ts";
import { QUIET } from "./quiet.ts";
import { CLUSTER, snapshot } from "./picture.ts";

/** A daemon that a test can turn the knobs of. */
export interface FakeDaemon {
  snapshot: Snapshot;
  readonly lines: string[];
  readonly drains: { readonly replica: string; readonly wait: boolean }[];
  drainResult: (replica: string) => Promise<DrainResult>;
  readonly undrained: string[];
  leaveResult: (force: boolean) => Promise<LeaveResult>;
  /** What was asked of joining and of the authority, with its arguments. */
  readonly trusted: (readonly unknown[])[];
  /** Replaces what such questions are answered. */
  trust: Partial<Commands>;
  readonly refusals: Refusal[];
  /** Connections on which a handover was asked. */
  readonly handovers: Duplex[];
  resolved: (name: string, type: string, as: string | null) => ResolveReport;
  traffic: AdminOptions["traffic"];
  facts: DoctorFacts;
  /** Adds an event to the snapshot, keeping 1024, and tells the server. */
  readonly emit: (event: Event) => void;
  readonly subscribers: () => number;
}

/** An open server and how to ask it. */
export interface Doors {
  readonly admin: Admin;
  readonly daemon: FakeDaemon;
  readonly socketPath: string;
}

/** What came back. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** Where to ask, and what to send. */
export interface Ask {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** A folder that is gone after the test. */
export async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "skein-"));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** Opens both doors; closed after the test. */
export async function openDoors(t: TestContext, given: Partial<AdminOptions> = {}): Promise<Doors> {
  const subscribers = new Set<(event: Event) => void>();
  const daemon: FakeDaemon = {
    snapshot: snapshot(),
    lines: [],
    drains: [],
    undrained: [],
    trusted: [],
    trust: {},
    refusals: [],
    handovers: [],
    drainResult: (replica) => Promise.resolve({ replica, applied: true, pending: [] }),
    leaveResult: () => Promise.resolve({ node: "host-1", farewell: "left", pending: [] }),
    resolved: (name, type, as) => ({ name, type, rcode: "NOERROR", answers: [], as: as ?? "this host" }),
    traffic: (scope) => Promise.resolve({ ...QUIET, scope }),
    facts: NOTHING,
    emit(event) {
      daemon.snapshot = { ...daemon.snapshot, events: [...daemon.snapshot.events, event].slice(-1024) };
      for (const subscriber of subscribers) subscriber(event);
    },
    subscribers: () => subscribers.size,
  };
  const socketPath = join(await folder(t), "run", "skein.sock");
  const admin = await openAdmin({
    tcp: { host: "127.0.0.1", port: 0 },
    socket: socketPath,
    snapshot: () => daemon.snapshot,
    listening: () => Promise.resolve(),
    resolve: (name, type, as) => daemon.resolved(name, type, as),
    drain(replica, wait) {
      daemon.drains.push({ replica, wait });
      return daemon.drainResult(replica);
    },
    undrain(replica) {
      daemon.undrained.push(replica);
      return daemon.drainResult(replica);
    },
    leave: (force) => daemon.leaveResult(force),
    ...trustOf(daemon),
    adminToken: null,
    onRefused: (refusal) => daemon.refusals.push(refusal),
    onHandover: (connection) => daemon.handovers.push(connection),
    doctorFacts: () => Promise.resolve(daemon.facts),
    traffic: (scope) => daemon.traffic(scope),
    dashboardDir: null,
    openapi: () => Promise.resolve({ openapi: "3.1.0" }),
    metricsText: () => Promise.resolve("skein_services 3\n"),
    subscribe(onEvent) {
      subscribers.add(onEvent);
      return () => subscribers.delete(onEvent);
    },
    log: logTo(daemon.lines),
    ...given,
  });
  t.after(() => admin.close());
  return { admin, daemon, socketPath };
}

export const JOIN_TOKEN = `SKTKN-1-${"a".repeat(50)}-${"b".repeat(25)}`;

/** Says yes to all that concerns joining and the authority, and remembers it. */
function trustOf(daemon: FakeDaemon): Omit<Commands, "snapshot" | "drain" | "undrain" | "leave"> {
  const node = { node: "host-1", clusterId: CLUSTER };
  const answer = <T>(asked: readonly unknown[], value: T): Promise<T> => {
    daemon.trusted.push(asked);
    return Promise.resolve(value);
  };
  const token = { token: JOIN_TOKEN, host: "192.0.2.1:7650" };
  const plain: ReturnType<typeof trustOf> = {
    join: (host, given) => answer(["join", host, given], { ...node, role: "worker", joined: true }),
    token: (role) => answer(["token", role], { ...token, role, generation: 1 }),
    rotateToken: (role) => answer(["rotateToken", role], { ...token, role, generation: 2 }),
    remove: (id) => answer(["remove", id], { node: "host-2", id, role: "worker" }),
    drainMember: (id, how) =>
      answer(["drainMember", id, how], {
        node: "host-2",
        id,
        draining: how.draining,
        replicas: 2,
        applied: true,
        pending: [],
      }),
    createNetwork: (wish) =>
      answer(["createNetwork", wish], {
        name: wish.name,
        range: wish.subnet ?? "10.160.0.0/16",
        range6: null,
        encrypted: wish.encrypted,
        slices: { total: 256, bits: 24 },
        vni: 70_000,
        created: true,
        ready: true,
      }),
    removeNetwork: (name, force) => answer(["removeNetwork", name, force], { name, users: [] }),
    backup: (passphrase) => answer(["backup", passphrase], { backup: "sealed", clusterId: CLUSTER }),
    restore: (backup, passphrase) => answer(["restore", backup, passphrase], { ...node, generation: 1 }),
    rotateAuthority: () => answer(["rotateAuthority"], { ...node, generation: 2 }),
  };
  // Looked up at each call: a test may replace an answer at any time.
  const now = (): typeof plain => ({ ...plain, ...daemon.trust });
  return {
    join: (...given) => now().join(...given),
    token: (role) => now().token(role),
    rotateToken: (role) => now().rotateToken(role),
    remove: (id) => now().remove(id),
    drainMember: (...given) => now().drainMember(...given),
    backup: (passphrase) => now().backup(passphrase),
    restore: (...given) => now().restore(...given),
    rotateAuthority: () => now().rotateAuthority(),
    createNetwork: (wish) => now().createNetwork(wish),
    removeNetwork: (...given) => now().removeNetwork(...given),
  };
}

/** Asks over the unix socket. */
export function askSocket({ socketPath }: Doors, path: string, asked: Ask = {}): Promise<Answer> {
  return ask({ socketPath, path }, asked);
}

/** Asks over TCP. */
export function askTcp({ admin }: Doors, path: string, asked: Ask = {}): Promise<Answer> {
  const { host, port } = admin.addresses.tcp ?? { host: "", port: 0 };
  return ask({ host, port, path }, asked);
}

/** Asks for a stream: what its head says; then the connection is ended. */
export function headOf(
  { admin, socketPath }: Doors,
  path: string,
  { isSocket = false, ...asked }: Ask & { readonly isSocket?: boolean } = {},
): Promise<Answer> {
  const { host, port } = admin.addresses.tcp ?? { host: "", port: 0 };
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const target = isSocket ? { socketPath, path } : { host, port, path };
  const request = httpRequest({ ...target, ...asked, agent: false }, (answer) => {
    const { statusCode, headers } = answer;
    if (headers["content-type"] === "text/event-stream") {
      resolve({ status: statusCode ?? 0, headers, body: "" });
      answer.destroy();
      return;
    }
    let body = "";
    answer.setEncoding("utf8").on("data", (chunk: string) => {
      body += chunk;
    });
    answer.on("end", () => resolve({ status: statusCode ?? 0, headers, body }));
  });
  request.on("error", reject);
  request.end();
  return promise;
}

/** Opens the unix socket bare, sends `text`, and collects what comes; destroyed after the test. */
export function openRaw(t: TestContext, path: string, text: string): Raw {
  return rawOver(t, connect(path), text);
}

interface Raw {
  readonly socket: Socket;
  readonly read: () => string;
}

function rawOver(t: TestContext, socket: Socket, text: string): Raw {
  let received = "";
  socket.setEncoding("utf8").on("data", (chunk: string) => {
    received += chunk;
  });
  socket.on("error", () => null);
  socket.write(text);
  t.after(() => socket.destroy());
  return { socket, read: () => received };
}

/** Opens as many streams at the loopback port, and keeps them. */
export function holdAtPort(t: TestContext, { admin }: Doors, path: string, count: number): readonly Raw[] {
  const { host = "", port = 0 } = admin.addresses.tcp ?? {};
  const ask = `GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`;
  return Array.from({ length: count }, () => rawOver(t, connect({ host, port }), ask));
}

/** The code of a problem in an answer's body. */
export function codeOf(answer: Answer): string {
  return (JSON.parse(answer.body) as { code: string }).code;
}

function ask(target: Readonly<Record<string, string | number>>, asked: Ask): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { method = "GET", headers = {}, body } = asked;
    const request = httpRequest({ ...target, method, headers, agent: false }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
      });
      answer.on("end", () =>
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: text }),
      );
      answer.on("error", reject);
    });
    request.on("error", reject);
    request.end(body);
  });
}

function logTo(lines: string[]): Log {
  const write = (text: string): void => {
    lines.push(text);
  };
  return { debug: write, info: write, warn: write, error: write, setLevel: () => null };
}
