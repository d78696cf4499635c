// Opens a real admin server with a made-up daemon behind it, and asks it over real sockets.

import { mkdtemp, rm } from "node:fs/promises";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";

import type { DrainResult, LeaveResult, ResolveReport } from "../../src/admin/contract.ts";
import type { Snapshot } from "../../src/admin/handlers.ts";
import { openAdmin, type Admin, type AdminOptions } from "../../src/admin/server.ts";
import type { Event } from "../../src/model/event.ts";
import type { Log } from "../../src/runtime/log.ts";
import { snapshot } from "./picture.ts";

/** A daemon that a test can turn the knobs of. */
export interface FakeDaemon {
  snapshot: Snapshot;
  readonly lines: string[];
  readonly drains: { readonly replica: string; readonly wait: boolean }[];
  drainResult: (replica: string) => Promise<DrainResult>;
  readonly undrained: string[];
  leaveResult: () => Promise<LeaveResult>;
  resolved: (name: string, type: string, as: string | null) => ResolveReport;
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
    drainResult: (replica) => Promise.resolve({ replica, applied: true, pending: [] }),
    leaveResult: () => Promise.resolve({ node: "host-1", farewell: "left", pending: [] }),
    resolved: (name, type, as) => ({ name, type, rcode: "NOERROR", answers: [], as: as ?? "this host" }),
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
    resolve: (name, type, as) => daemon.resolved(name, type, as),
    drain(replica, wait) {
      daemon.drains.push({ replica, wait });
      return daemon.drainResult(replica);
    },
    undrain(replica) {
      daemon.undrained.push(replica);
      return daemon.drainResult(replica);
    },
    leave: () => daemon.leaveResult(),
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

/** Asks over the unix socket. */
export function askSocket({ socketPath }: Doors, path: string, asked: Ask = {}): Promise<Answer> {
  return ask({ socketPath, path }, asked);
}

/** Asks over TCP. */
export function askTcp({ admin }: Doors, path: string, asked: Ask = {}): Promise<Answer> {
  const { host, port } = admin.addresses.tcp ?? { host: "", port: 0 };
  return ask({ host, port, path }, asked);
}

/** Opens the unix socket bare, sends `text`, and collects what comes; destroyed after the test. */
export function openRaw(t: TestContext, path: string, text: string): { socket: Socket; read: () => string } {
  const socket = connect(path);
  let received = "";
  socket.setEncoding("utf8").on("data", (chunk: string) => {
    received += chunk;
  });
  socket.on("error", () => null);
  socket.write(text);
  t.after(() => socket.destroy());
  return { socket, read: () => received };
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
