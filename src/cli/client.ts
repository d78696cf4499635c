/**
 * Client: asks the daemon of this host, over its unix socket.
 *
 * Every request has a deadline and every answer a bound, for a daemon that hangs must not hang the shell that asks
 * after it. What does not say that it is Skein's API is not read on: any other server may be behind a path. Whatever
 * goes wrong becomes a Failure whose code decides the exit status, and whose text names the socket and the next step:
 * the commonest trouble is that no daemon runs, or that the socket belongs to another group.
 *
 * Touches: the admin socket.
 */

import { existsSync } from "node:fs";
import { request as httpRequest, type IncomingMessage } from "node:http";

import { API_HEADER, API_VERSION, defaultSocketPath, failureFrom } from "../admin/contract.ts";
import { Failure, systemCodeOf, textOf } from "../base/failure.ts";
import { LIMITS } from "../model/limits.ts";

import { messagesOf, type StreamMessage } from "./stream.ts";

/** Where to find the daemon, and what ends the wait for it. */
export interface ClientOptions {
  /** Paths to try in turn: the first that exists is asked, else the first is the one that is missing. */
  readonly socketPaths: readonly string[];
  readonly interrupted: AbortSignal;
}

/** What listens at the socket is no daemon: as where nothing listens, none answers. */
export class Stranger extends Failure {}

/** A daemon to ask. Throws Failure: the daemon's, `unreachable`, `timeout`, `not-allowed`, `corrupt`, a Stranger. */
export interface Client {
  /** The answer to GET as parsed JSON; the daemon's word is taken for its shape. */
  get<T>(path: string, deadlineMs?: number): Promise<T>;
  /** The answer to POST; `deadlineMs` where the daemon itself waits. */
  post<T>(path: string, body: unknown, deadlineMs?: number): Promise<T>;
  /** The answer to DELETE. */
  remove<T>(path: string, deadlineMs?: number): Promise<T>;
  /** Messages of an event stream until the daemon ends it. */
  stream(path: string, lastEventId: string | null): AsyncGenerator<StreamMessage>;
}

interface Asked {
  readonly method: "GET" | "POST" | "DELETE";
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
  readonly signal: AbortSignal;
}

const ANSWER_DEADLINE_MS = 5000;

/** Makes a client; nothing is opened before it is asked. */
export function openClient({ socketPaths, interrupted }: ClientOptions): Client {
  // At each question anew: who waits for a daemon does not know where it will be.
  const pathNow = (): string => socketPaths.find((path) => existsSync(path)) ?? socketPaths[0] ?? "";

  const ask = async <T>(asked: Omit<Asked, "signal">, deadlineMs: number): Promise<T> => {
    const socketPath = pathNow();
    const timeout = AbortSignal.timeout(deadlineMs);
    const signal = AbortSignal.any([interrupted, timeout]);
    try {
      return (await answerOf(await send(socketPath, { ...asked, signal }), socketPath)) as T;
    } catch (thrown) {
      if (interrupted.aborted) throw new Failure("invalid", "interrupted", { cause: thrown });
      throw timeout.aborted ? lateFailure(socketPath, thrown) : failureOf(thrown, socketPath);
    }
  };

  return {
    get: (path, deadlineMs = ANSWER_DEADLINE_MS) =>
      ask({ method: "GET", path, headers: {}, body: null }, deadlineMs),
    post(path, value, deadlineMs = ANSWER_DEADLINE_MS) {
      const headers = { "content-type": "application/json" };
      return ask({ method: "POST", path, headers, body: JSON.stringify(value) }, deadlineMs);
    },
    remove: (path, deadlineMs = ANSWER_DEADLINE_MS) =>
      ask({ method: "DELETE", path, headers: {}, body: null }, deadlineMs),
    async *stream(path, lastEventId) {
      const headers = {
        accept: "text/event-stream",
        ...(lastEventId === null ? {} : { "last-event-id": lastEventId }),
      };
      const socketPath = pathNow();
      const late = new AbortController();
      const timer = setTimeout(() => late.abort(), ANSWER_DEADLINE_MS);
      const signal = AbortSignal.any([interrupted, late.signal]);
      try {
        const answer = await send(socketPath, { method: "GET", path, headers, body: null, signal });
        if (answer.statusCode !== 200) await answerOf(answer, socketPath);
        // From here on silence is no fault: nothing may happen for hours.
        clearTimeout(timer);
        yield* messagesOf(answer);
      } catch (thrown) {
        if (interrupted.aborted) return;
        throw late.signal.aborted ? lateFailure(socketPath, thrown) : failureOf(thrown, socketPath);
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

/** What a daemon answers; null when none runs here: nothing listens at any of the paths. */
export async function unlessNoDaemon<T>(asked: Promise<T>): Promise<T | null> {
  try {
    return await asked;
  } catch (thrown) {
    if (thrown instanceof Failure && thrown.code === "unreachable") return null;
    throw thrown;
  }
}

/** What decides where to look for the socket when no flag says so. */
export interface SocketSearch {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly isRoot: boolean;
}

/** Where a daemon's socket may be, likeliest first: the variable, this user's daemon, then the host's. */
export function socketCandidates({ env, isRoot }: SocketSearch): readonly string[] {
  const named = env["SKEIN_ADMIN_SOCKET"];
  // `auto` and `off` are values of the daemon's key of the same name.
  if (named !== undefined && !["", "auto", "off"].includes(named)) return [named];
  const hostWide = defaultSocketPath({ root: true, runtimeDir: null, dataDir: "" });
  if (isRoot) return [hostWide];
  const dataDir = `${env["XDG_STATE_HOME"] ?? `${env["HOME"] ?? ""}/.local/state`}/skein`;
  const runtimeDir = env["XDG_RUNTIME_DIR"] ?? null;
  const own = [runtimeDir, null].map((dir) => defaultSocketPath({ root: false, runtimeDir: dir, dataDir }));
  return [...new Set([...own, hostWide])];
}

/** The answer's head; its body is still to come, under the same signal. */
function send(socketPath: string, asked: Asked): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      socketPath,
      path: asked.path,
      method: asked.method,
      headers: { host: "localhost", ...asked.headers },
      // A command asks once or twice; a kept connection would only delay its end.
      agent: false,
      signal: asked.signal,
    });
    request.once("response", (answer) => {
      const failure = strangenessOf(answer, socketPath);
      if (failure === null) {
        resolve(answer);
        return;
      }
      reject(failure);
      answer.destroy();
    });
    // Nobody asked for it, and Node says nothing more of such a request.
    request.once("upgrade", (answer, socket) => {
      reject(strangerFailure(socketPath, `answered ${answer.statusCode}`));
      socket.destroy();
    });
    request.once("error", reject);
    request.end(asked.body ?? undefined);
  });
}

/** Why an answer is not to be read on: it is no daemon's, or one's of another API. */
function strangenessOf({ statusCode = 0, headers }: IncomingMessage, socketPath: string): Failure | null {
  const version = headers[API_HEADER];
  if (version === API_VERSION) return null;
  if (version !== undefined) {
    const step = "run the command of the daemon's version, as: docker exec skein skein";
    const told = String(version).slice(0, HEADER_TOLD);
    const what = `daemon on "${socketPath}" speaks version "${told}" of the API`;
    return new Failure("corrupt", `${what}; expected ${API_VERSION}: ${step}`);
  }
  const [type = ""] = (headers["content-type"] ?? "").split(";", 1);
  const media = type === "" ? "" : `, ${type.slice(0, HEADER_TOLD)}`;
  return strangerFailure(socketPath, `answered ${statusCode}${media}`);
}

/** The answer's JSON; throws the Failure of a problem. */
async function answerOf(answer: IncomingMessage, socketPath: string): Promise<unknown> {
  const status = answer.statusCode ?? 0;
  const body = await bodyOf(answer, socketPath);
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch (cause) {
    throw new Failure("corrupt", `daemon on "${socketPath}" answered ${status} with no JSON; ${LOG}`, {
      cause,
    });
  }
  if (status >= 200 && status < 300) return value;
  throw (
    failureFrom(value) ??
    new Failure("corrupt", `daemon on "${socketPath}" answered ${status} without a problem; ${LOG}`)
  );
}

async function bodyOf(answer: IncomingMessage, socketPath: string): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of answer) {
    const bytes = Buffer.from(chunk as Uint8Array);
    sizeBytes += bytes.length;
    if (sizeBytes > LIMITS.adminAnswerBytes) {
      const what = `daemon on "${socketPath}" answered more than ${LIMITS.adminAnswerBytes} bytes`;
      throw new Failure("corrupt", `${what}; expected less`);
    }
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** Characters of a header's value in a message. */
const HEADER_TOLD = 60;
const LOG = "expected an answer of Skein's API: the daemon's log says more";
const STEP = "is the daemon running? start it with: skein run, or name its socket with --socket";

function lateFailure(socketPath: string, cause: unknown): Failure {
  return new Failure("timeout", `daemon on "${socketPath}" gave no answer in time; expected one`, { cause });
}

/** Something else is behind the socket. @param did  what it did, as `answered 404` */
function strangerFailure(socketPath: string, did: string, cause?: unknown): Stranger {
  const step = "name the socket of a daemon with --socket or SKEIN_ADMIN_SOCKET";
  const text = `socket "${socketPath}" is not Skein's: what listens there ${did}; ${step}`;
  return new Stranger("corrupt", text, { cause });
}

function failureOf(thrown: unknown, socketPath: string): Failure {
  if (thrown instanceof Failure) return thrown;
  const code = systemCodeOf(thrown) ?? "";
  // Of Node's parser of HTTP.
  if (code.startsWith("HPE_")) return strangerFailure(socketPath, "does not speak HTTP", thrown);
  if (code === "EACCES" || code === "EPERM") {
    const step = "run the command as root, or join the group that owns the socket";
    return new Failure("not-allowed", `socket "${socketPath}" may not be opened; ${step}`, { cause: thrown });
  }
  const why =
    code === "ENOENT" ? "does not exist" : `does not answer (${code === "" ? textOf(thrown) : code})`;
  return new Failure("unreachable", `socket "${socketPath}" ${why}; ${STEP}`, { cause: thrown });
}
