/**
 * Client: dockerode, fenced in.
 *
 * Dockerode knows where an engine is and how to speak to it; how long and how much is ours to bound. Its own calls
 * collect a whole reply of any size, never settle when the socket dies inside one, and follow redirects in a way that
 * ends the process (a reply 302 with a relative Location is an uncaught error). So requests go through its modem as
 * streams: each with a deadline, a size bound, every status taken as it comes, and `Location` removed before the modem
 * sees it. Two clients: one for calls, few at once, and one whose single connection carries events and may be idle for
 * days, so that neither waits for the other. The API version stays unset, since engines refuse pinned ones as they age.
 *
 * Touches: Docker's socket, the environment's DOCKER_* (read by dockerode), timers. Loads dockerode when first opened.
 */

import { existsSync } from "node:fs";
import { Agent as HttpAgent, IncomingMessage, type ClientRequest } from "node:http";
import { Agent as HttpsAgent } from "node:https";

import type Docker from "dockerode";

import { Failure, textOf } from "../../base/failure.ts";
import type { EngineDescription } from "../../model/engine.ts";
import { LIMITS } from "../../model/limits.ts";
import { clip } from "../problem.ts";

import { fileIn } from "./archive.ts";
import { descriptionFrom } from "./engine-description.ts";
import { networksFrom, type EngineNetworks } from "./engine-networks.ts";
import {
  apiVersionFrom,
  eventFrom,
  factsFromInspection,
  factsFromList,
  type ContainerFacts,
  type DockerEvent,
} from "./facts.ts";
import { LineSplitter } from "./lines.ts";

/** Where the engine is: a unix socket, or what DOCKER_HOST and its companions say. */
export type DockerTarget =
  | { readonly kind: "socket"; readonly path: string }
  | { readonly kind: "environment"; readonly host: string };

/** One engine. Calls throw a Failure and never hang; after `close` they all fail. */
export interface DockerClient {
  /** Fails when the engine speaks no API we know. */
  checkVersion(): Promise<void>;
  /** What the engine says of itself. */
  describe(): Promise<EngineDescription>;
  /** Running and paused containers; what cannot be read of the list is counted in `unread`. */
  listContainers(): Promise<{ readonly containers: readonly ContainerFacts[]; readonly unread: number }>;
  /** One container; null when there is no such one. */
  inspectContainer(id: string): Promise<ContainerFacts | null>;
  /** A small text file as the container sees it; null where there is none that can be read. */
  readFile(id: string, path: string): Promise<string | null>;
  listNetworks(): Promise<EngineNetworks>;
  /** The names of all containers that are to be on a network, those that do not run among them. */
  listUsers(network: string): Promise<readonly string[]>;
  /** Makes a network, as `POST /networks/create` describes it. */
  createNetwork(description: Readonly<Record<string, unknown>>): Promise<void>;
  /** Removes a network; fine when there is none. Refused while a container that runs is on it. */
  removeNetwork(id: string): Promise<void>;
  /** Opens the event stream; resolves once the engine sends it, so nothing after is missed. */
  openEvents(listener: EventListener): Promise<void>;
  close(): void;
}

/** Told what the stream brings, in order. */
export interface EventListener {
  readonly onEvent: (event: DockerEvent) => void;
  /** A line was dropped since it is too long: something happened that we don't know. */
  readonly onMissed: () => void;
  /** The stream has ended, for whatever reason; nothing follows. */
  readonly onEnd: (failure: Failure) => void;
}

/** The oldest API that has all we use: Docker 20.10. */
const FLOOR = [1, 41] as const;
/** A list of thousands takes a busy engine seconds; more means it hangs. */
const CALL_TIMEOUT_MS = 10_000;
const DEFAULT_SOCKET = "/var/run/docker.sock";
/** The modem fails on statuses it is not told of, in its own unbounded way: so it is told of all. */
const ANY_STATUS = Object.fromEntries(Array.from({ length: 900 }, (_, index) => [index + 100, true]));

/**
 * Finds the engine from the config's `docker.socket`.
 *
 * @param setting  `off`; a path, or the same as `unix://`; `auto`: DOCKER_HOST, else the usual socket if it exists
 * @returns null when there is none to use
 */
export function locateDocker(setting: string, environment: NodeJS.ProcessEnv): DockerTarget | null {
  if (setting === "off") return null;
  if (setting !== "auto") return { kind: "socket", path: setting.replace(/^unix:\/\//, "") };
  const host = environment["DOCKER_HOST"] ?? "";
  if (host === "") return existsSync(DEFAULT_SOCKET) ? { kind: "socket", path: DEFAULT_SOCKET } : null;
  if (host.startsWith("unix://")) {
    return { kind: "socket", path: host.slice("unix://".length) || DEFAULT_SOCKET };
  }
  return { kind: "environment", host };
}

/** Names the engine in a text: its socket's path, or DOCKER_HOST. */
export function renderTarget(target: DockerTarget): string {
  return target.kind === "socket" ? target.path : target.host;
}

/** Options of openDocker. */
export interface DockerClientOptions {
  /** Deadline of each call; 10 s unless told otherwise. */
  readonly callTimeoutMs?: number;
}

/** Makes a client; nothing is sent before the first call. Throws a Failure when the target cannot be understood. */
export async function openDocker(
  target: DockerTarget,
  options: DockerClientOptions = {},
): Promise<DockerClient> {
  if (target.kind === "environment" && target.host.startsWith("ssh:")) {
    const why = "containers of another machine are not reached from here";
    throw new Failure("invalid", `DOCKER_HOST is "${target.host}"; expected unix:// or tcp://: ${why}`);
  }
  const { default: Dockerode } = await import("dockerode");
  const make = (): Modem => {
    try {
      // Not only socketPath: with a DOCKER_HOST of tcp:// the modem would prefer that to the path it is given.
      const where = target.kind === "socket" ? { socketPath: target.path, host: "" } : {};
      return fenced(new Dockerode(where).modem as unknown as Modem);
    } catch (thrown) {
      const text = `docker at "${renderTarget(target)}" cannot be used: ${textOf(thrown)}`;
      throw new Failure("invalid", text, { cause: thrown });
    }
  };
  return new FencedClient({ calls: make(), events: make() }, options.callTimeoutMs ?? CALL_TIMEOUT_MS);
}

/** The part of docker-modem that we use; its types leave out the first two. */
interface Modem {
  readonly protocol: string;
  agent: HttpAgent;
  readonly dial: Docker["modem"]["dial"];
}

/** Gives a modem connections of its own, on which redirects are not followed. */
function fenced(modem: Modem): Modem {
  // Not keepAlive: a unix socket costs microseconds to open, and one closed while idle would fail the next call.
  const bounds = { keepAlive: false, maxSockets: LIMITS.dockerInspectsAtOnce };
  modem.agent = modem.protocol === "https" ? new HttpsAgent(bounds) : new HttpAgent(bounds);
  const agent = modem.agent as HttpAgent & {
    addRequest: (request: ClientRequest, ...rest: unknown[]) => void;
  };
  const addRequest = agent.addRequest.bind(agent);
  // Not the modem's own limit of redirects: it is one number for the whole process, and counts too late.
  agent.addRequest = (request, ...rest) => {
    request.prependListener("response", (response: IncomingMessage) => {
      delete response.headers.location;
    });
    addRequest(request, ...rest);
  };
  return modem;
}

/** What a request asks for; `query` values that are objects go as JSON, and so does the body. */
interface Call {
  readonly method?: "GET" | "POST" | "DELETE";
  readonly path: string;
  readonly query?: Readonly<Record<string, unknown>>;
  readonly body?: Readonly<Record<string, unknown>>;
}

const OK = [200];

/** How a body is taken. */
interface Form {
  readonly bytesMax: number;
  readonly encoding: "utf8" | "latin1";
}

const REPLY: Form = { bytesMax: LIMITS.dockerReplyBytes, encoding: "utf8" };
/** A resolv.conf is some lines, and its archive three blocks. */
const FILE_BYTES = 64 * 1024;

class FencedClient implements DockerClient {
  readonly #modems: { readonly calls: Modem; readonly events: Modem };
  readonly #callTimeoutMs: number;
  readonly #closing = new AbortController();

  constructor(modems: { readonly calls: Modem; readonly events: Modem }, callTimeoutMs: number) {
    this.#modems = modems;
    this.#callTimeoutMs = callTimeoutMs;
  }

  async checkVersion(): Promise<void> {
    const version = apiVersionFrom(await this.#get({ path: "/version" }));
    const floor = FLOOR.join(".");
    if (version === null)
      throw new Failure("invalid", `docker names no API version; expected ${floor} or newer`);
    const [major, minor] = version;
    if (major > FLOOR[0] || (major === FLOOR[0] && minor >= FLOOR[1])) return;
    throw new Failure(
      "invalid",
      `docker's API is ${major}.${minor}; expected ${floor} or newer (Docker 20.10)`,
    );
  }

  async describe(): Promise<EngineDescription> {
    // A proxy before the engine may keep the second from us, and it is only for people.
    const [version, told] = await Promise.all([
      this.#get({ path: "/version" }),
      this.#get({ path: "/info" }).catch(() => null),
    ]);
    return descriptionFrom(version, told);
  }

  async listContainers(): Promise<{
    readonly containers: readonly ContainerFacts[];
    readonly unread: number;
  }> {
    const list = await this.#get({ path: "/containers/json" });
    if (!Array.isArray(list)) throw new Failure("corrupt", "docker's list of containers is no list");
    const parsed = list.map(factsFromList);
    const containers = parsed.flatMap((result) => (result.ok ? [result.value] : []));
    return { containers, unread: parsed.length - containers.length };
  }

  async inspectContainer(id: string): Promise<ContainerFacts | null> {
    let reply: unknown;
    try {
      reply = await this.#get({ path: `/containers/${id}/json` });
    } catch (thrown) {
      if (thrown instanceof Failure && thrown.code === "not-found") return null;
      throw thrown;
    }
    const facts = factsFromInspection(reply);
    if (!facts.ok) throw facts.failure;
    return facts.value;
  }

  async readFile(id: string, path: string): Promise<string | null> {
    try {
      const call = { path: `/containers/${id}/archive`, query: { path } };
      return fileIn(await this.#ask(call, OK, { bytesMax: FILE_BYTES, encoding: "latin1" }));
    } catch {
      // No such file, too long for one, or a proxy before the engine keeps it from us.
      return null;
    }
  }

  async listNetworks(): Promise<EngineNetworks> {
    return networksFrom(await this.#get({ path: "/networks" }));
  }

  async listUsers(network: string): Promise<readonly string[]> {
    const query = { all: true, filters: { network: [network] } };
    const list = await this.#get({ path: "/containers/json", query });
    if (!Array.isArray(list)) throw new Failure("corrupt", "docker's list of containers is no list");
    // One that cannot be read uses the network all the same.
    const names = list.map(factsFromList).map((result) => (result.ok ? result.value.name : "?"));
    return names.toSorted();
  }

  async createNetwork(body: Readonly<Record<string, unknown>>): Promise<void> {
    await this.#ask({ method: "POST", path: "/networks/create", body }, [201]);
  }

  async removeNetwork(id: string): Promise<void> {
    await this.#ask({ method: "DELETE", path: `/networks/${id}` }, [200, 204, 404]);
  }

  async openEvents(listener: EventListener): Promise<void> {
    const opened = new AbortController();
    const timer = setTimeout(() => opened.abort(this.#late("/events")), this.#callTimeoutMs);
    try {
      const call = { path: "/events", query: { filters: { type: ["container", "network"] } } };
      const signal = AbortSignal.any([opened.signal, this.#closing.signal]);
      const response = await dial(this.#modems.events, call, signal);
      if (response.statusCode !== 200) throw await this.#refusal(call, response, signal);
      follow(response, listener);
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#closing.abort(new Failure("unreachable", "the docker client is closed"));
    this.#modems.calls.agent.destroy();
    this.#modems.events.agent.destroy();
  }

  /** One call: its parsed JSON, or a Failure. */
  async #get(call: Call): Promise<unknown> {
    return parseReply(call, await this.#ask(call, OK));
  }

  /** One call: what it is answered with, or a Failure; within the deadline either way. */
  async #ask(call: Call, statuses: readonly number[], form: Form = REPLY): Promise<string> {
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(this.#late(call.path)), this.#callTimeoutMs);
    try {
      const signal = AbortSignal.any([deadline.signal, this.#closing.signal]);
      const response = await dial(this.#modems.calls, call, signal);
      const { statusCode = 0 } = response;
      if (!statuses.includes(statusCode)) throw await this.#refusal(call, response, signal);
      return await collect(response, form, signal);
    } finally {
      clearTimeout(timer);
    }
  }

  async #refusal(call: Call, response: IncomingMessage, signal: AbortSignal): Promise<Failure> {
    // The body only explains the status: one that is endless or cut off is left out.
    const body = await collect(response, { ...REPLY, bytesMax: 64 * 1024 }, signal).catch(() => "");
    const code = response.statusCode === 404 ? "not-found" : "refused";
    return new Failure(code, clip(`docker answered ${response.statusCode} to ${call.path}: ${body.trim()}`));
  }

  #late(path: string): Failure {
    return new Failure("timeout", `docker did not answer ${path} within ${this.#callTimeoutMs} ms`);
  }
}

/** Sends a request; resolves with the head of the answer, rejects with the signal's reason once it aborts. */
function dial(modem: Modem, call: Call, signal: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const abort = (): void => reject(signal.reason as Failure);
    signal.addEventListener("abort", abort, { once: true });
    // The modem cuts the last character off a path that has a question mark and no options.
    const path = call.query === undefined ? call.path : `${call.path}?`;
    // What goes as a query with a GET goes as the body with a POST.
    const options = call.query ?? call.body;
    const said = { method: call.method ?? "GET", path, ...(options && { options }) };
    const fixed = { isStream: true, statusCodes: ANY_STATUS, abortSignal: signal } as const;
    modem.dial({ ...said, ...fixed }, (error, response) => {
      signal.removeEventListener("abort", abort);
      if (response instanceof IncomingMessage) {
        resolve(response);
        return;
      }
      const text = `cannot reach docker: ${textOf(error)}`;
      reject(new Failure("unreachable", clip(text), { cause: error }));
    });
  });
}

/** Reads a body to its end as text; fails when it is cut off, too long, or the signal aborts. */
async function collect(
  response: IncomingMessage,
  { bytesMax, encoding }: Form,
  signal: AbortSignal,
): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response) {
      chunks.push(chunk as Uint8Array);
      bytes += (chunk as Uint8Array).length;
      if (bytes > bytesMax) throw new Failure("corrupt", `docker's reply is longer than ${bytesMax} bytes`);
    }
  } catch (thrown) {
    if (signal.aborted) throw signal.reason;
    if (thrown instanceof Failure) throw thrown;
    throw new Failure("unreachable", `docker's reply was cut off: ${textOf(thrown)}`, { cause: thrown });
  }
  return Buffer.concat(chunks).toString(encoding);
}

function parseReply(call: Call, body: string): unknown {
  try {
    return JSON.parse(body);
  } catch (thrown) {
    throw new Failure("corrupt", `docker's reply to ${call.path} is not JSON`, { cause: thrown });
  }
}

/** Turns the stream into events until it ends; 'close' is the one sign of the end that always comes. */
function follow(response: IncomingMessage, listener: EventListener): void {
  const splitter = new LineSplitter(LIMITS.dockerEventBytes);
  let cause: unknown = null;
  response.on("error", (thrown) => {
    cause = thrown;
  });
  const end = (): void => {
    const why = cause === null ? "" : `: ${textOf(cause)}`;
    listener.onEnd(new Failure("unreachable", `docker's event stream ended${why}`, { cause }));
  };
  if (response.closed) {
    end();
    return;
  }
  response.on("close", end);
  response.on("data", (chunk: Uint8Array) => {
    const { lines, dropped } = splitter.feed(chunk);
    for (const line of lines) {
      const event = eventFrom(line);
      if (event !== null) listener.onEvent(event);
    }
    if (dropped) listener.onMissed();
  });
}
