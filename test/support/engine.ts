// A fake Docker engine on a unix socket: plain node:http, with the faults that real ones show, on command.
//
// It has no rules of its own: a test puts containers in, pushes events, and says how replies go wrong.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A container as a test describes it; the rest is filled in. */
export interface FakeContainer {
  readonly id: string;
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly address?: string;
  readonly network?: string;
  readonly networkMode?: string;
  readonly exposed?: readonly string[];
  readonly startedAt?: string;
  readonly running?: boolean;
  readonly paused?: boolean;
  readonly health?: string;
  readonly stopSignal?: string;
  /** Servers of `--dns`. */
  readonly dns?: readonly string[];
  /** Where the host has its resolv.conf. */
  readonly resolvConfPath?: string;
  /** What it sees there itself, which the engine gives whoever asks. */
  readonly resolvConf?: string;
  /** Its network's way out. */
  readonly gateway?: string;
}

/** How replies to one path (its start) go wrong. `cut`: the head and half a body, then the socket closes. */
export type Fault =
  | { readonly kind: "status"; readonly status: number; readonly location?: string }
  | { readonly kind: "cut" }
  | { readonly kind: "silent" }
  | { readonly kind: "stalled" }
  | { readonly kind: "body"; readonly body: string };

/** What `POST /networks/create` says, and after that `GET /networks`, as far as it is looked at. */
export interface NetworkDescription {
  readonly Name: string;
  readonly EnableIPv6?: boolean;
  readonly IPAM?: unknown;
  readonly Options?: Readonly<Record<string, string>>;
  readonly Labels?: Readonly<Record<string, string>>;
}

/** A running fake engine. */
export interface FakeEngine {
  readonly socketPath: string;
  readonly containers: Map<string, FakeContainer>;
  /** By the start of the path: `/containers/json`. */
  readonly faults: Map<string, Fault>;
  /** `METHOD path` of every request, in order. */
  readonly requests: string[];
  networks: unknown;
  /** Why it does not make a network that is described so; null when it does. */
  refusal: (description: NetworkDescription) => string | null;
  apiVersion: string;
  /** What it answers to `GET /info`. */
  told: unknown;
  /** Event streams open now. */
  streams(): number;
  /** Sends one event to every stream. */
  emit(event: unknown): void;
  /** Sends raw bytes to every stream: half lines, huge ones. */
  emitRaw(bytes: string): void;
  /** Ends every stream: politely, or by closing its socket. */
  endStreams(how: "end" | "destroy"): void;
  /** Closes every socket and stops listening. */
  stop(): Promise<void>;
  /** Listens again on the same path. */
  start(): Promise<void>;
  /** Stops, and removes the socket's folder. */
  close(): Promise<void>;
}

/** Opens a fake engine on a socket of its own. */
export async function openEngine(containers: readonly FakeContainer[] = []): Promise<FakeEngine> {
  const folder = await mkdtemp(join(tmpdir(), "skein-engine-"));
  const streams = new Set<ServerResponse>();
  let server: Server | null = null;

  const engine: FakeEngine = {
    socketPath: join(folder, "docker.sock"),
    containers: new Map(containers.map((container) => [container.id, container])),
    faults: new Map(),
    requests: [],
    networks: [
      {
        Name: "bridge",
        Driver: "bridge",
        IPAM: { Config: [{ Subnet: "172.17.0.0/16", Gateway: "172.17.0.1" }] },
      },
      { Name: "host", Driver: "host", IPAM: { Config: null } },
    ],
    refusal: () => null,
    apiVersion: "1.41",
    told: { OperatingSystem: "fake", LiveRestoreEnabled: false },
    streams: () => streams.size,
    emit: (event) => engine.emitRaw(`${JSON.stringify(event)}\n`),
    emitRaw(bytes) {
      for (const stream of streams) stream.write(bytes);
    },
    endStreams(how) {
      for (const stream of streams) {
        if (how === "end") stream.end();
        else stream.destroy();
      }
    },
    async stop() {
      const stopping = server;
      server = null;
      if (stopping === null) return;
      stopping.closeAllConnections();
      await new Promise((resolve) => stopping.close(resolve));
    },
    async start() {
      const starting = createServer((request, response) => answer(engine, streams, request, response));
      starting.keepAliveTimeout = 1000;
      server = starting;
      await new Promise<void>((resolve, reject) => {
        starting.once("error", reject);
        starting.listen(engine.socketPath, resolve);
      });
    },
    async close() {
      await engine.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
  await engine.start();
  return engine;
}

function answer(
  engine: FakeEngine,
  streams: Set<ServerResponse>,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const url = new URL(request.url ?? "/", "http://docker");
  engine.requests.push(`${request.method} ${url.pathname}`);
  const fault = [...engine.faults].find(([start]) => url.pathname.startsWith(start))?.[1];
  if (fault !== undefined) {
    fail(fault, response);
  } else if (url.pathname === "/events") {
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    streams.add(response);
    response.on("close", () => streams.delete(response));
  } else if (/^\/containers\/[0-9a-f]+\/archive$/.test(url.pathname)) {
    const container = engine.containers.get(url.pathname.split("/")[2] ?? "");
    const text = url.searchParams.get("path") === "/etc/resolv.conf" ? container?.resolvConf : undefined;
    response.writeHead(text === undefined ? 404 : 200, { "content-type": "application/x-tar" });
    response.end(text === undefined ? "{}" : tarOf("resolv.conf", text));
  } else if (request.method === "POST") {
    const chunks: Uint8Array[] = [];
    request.on("data", (chunk: Uint8Array) => chunks.push(chunk));
    request.on("end", () => {
      const description = JSON.parse(Buffer.concat(chunks).toString()) as NetworkDescription;
      change(response, makeNetwork(engine, description));
    });
  } else if (request.method === "DELETE") {
    change(response, removeNetwork(engine, url.pathname.slice("/networks/".length)));
  } else {
    const body = bodyOf(engine, url);
    response.writeHead(body === null ? 404 : 200, { "content-type": "application/json" });
    response.end(JSON.stringify(body ?? { message: "No such container" }));
  }
}

function fail(fault: Fault, response: ServerResponse): void {
  switch (fault.kind) {
    case "status":
      response.writeHead(fault.status, fault.location === undefined ? {} : { location: fault.location });
      response.end(JSON.stringify({ message: "broken on purpose" }));
      return;
    case "cut":
      response.writeHead(200, { "content-length": "1000" });
      response.write('[{"Id":"', () => response.destroy());
      return;
    case "stalled":
      response.writeHead(200, { "content-length": "1000" });
      response.write('[{"Id":"');
      return;
    case "silent":
      return;
    case "body":
      response.writeHead(200);
      response.end(fault.body);
      return;
  }
}

/** What became of a change: a status, and Docker's words. */
type Outcome = readonly [status: number, message: string];

function change(response: ServerResponse, [status, message]: Outcome): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(status === 204 ? "" : JSON.stringify({ message }));
}

type FakeNetwork = NetworkDescription & { readonly Id?: string };

let networksMade = 0;

function makeNetwork(engine: FakeEngine, description: NetworkDescription): Outcome {
  const networks = engine.networks as readonly FakeNetwork[];
  const refusal = engine.refusal(description);
  if (refusal !== null) return [403, refusal];
  if (networks.some(({ Name }) => Name === description.Name)) {
    return [409, `network with name ${description.Name} already exists`];
  }
  networksMade += 1;
  engine.networks = [...networks, { ...description, Id: networksMade.toString(16).padStart(64, "0") }];
  engine.emit({ Type: "network", Action: "create", Actor: { ID: description.Name, Attributes: {} } });
  return [201, ""];
}

function removeNetwork(engine: FakeEngine, id: string): Outcome {
  const networks = engine.networks as readonly FakeNetwork[];
  const network = networks.find(({ Id }) => Id === id);
  if (network === undefined) return [404, `network ${id} not found`];
  const isOn = ({ network: name, running }: FakeContainer) => name === network.Name && running !== false;
  if ([...engine.containers.values()].some(isOn))
    return [403, `network ${network.Name} has active endpoints`];
  engine.networks = networks.filter((other) => other !== network);
  engine.emit({ Type: "network", Action: "destroy", Actor: { ID: network.Name, Attributes: {} } });
  return [204, ""];
}

/** A tar with one file, as the program makes it. */
export function tarOf(name: string, text: string): Buffer {
  const folder = mkdtempSync(join(tmpdir(), "skein-tar-"));
  try {
    writeFileSync(join(folder, name), text);
    return execFileSync("tar", ["-c", "-f", "-", "-C", folder, name]);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function bodyOf(engine: FakeEngine, { pathname: path, searchParams }: URL): unknown {
  if (path === "/version") return { ApiVersion: engine.apiVersion, Version: "fake" };
  if (path === "/info") return engine.told;
  if (path === "/networks") return engine.networks;
  if (path === "/containers/json") {
    const filters = JSON.parse(searchParams.get("filters") ?? "{}") as {
      readonly network?: readonly string[];
    };
    return [...engine.containers.values()]
      .filter(({ running }) => running !== false || searchParams.get("all") === "true")
      .filter(({ network = "bridge" }) => filters.network?.includes(network) ?? true)
      .map(listEntry);
  }
  const id = /^\/containers\/([0-9a-f]+)\/json$/.exec(path)?.[1] ?? "";
  const container = engine.containers.get(id);
  return container === undefined ? null : inspection(container);
}

/** The list's form of a container, as Docker 20.10 writes it. */
export function listEntry(container: FakeContainer): unknown {
  return {
    Id: container.id,
    Names: [`/${container.name}`],
    State: container.paused === true ? "paused" : "running",
    Status: "Up 2 seconds",
    Created: Math.floor(Date.parse(container.startedAt ?? "2026-01-01T00:00:00Z") / 1000),
    Labels: container.labels ?? {},
    HostConfig: { NetworkMode: container.networkMode ?? "bridge" },
    NetworkSettings: { Networks: networksOf(container) },
  };
}

/** The inspection's form of a container, as Docker 20.10 writes it. */
export function inspection(container: FakeContainer): unknown {
  const health = container.health === undefined ? {} : { Health: { Status: container.health } };
  return {
    Id: container.id,
    Name: `/${container.name}`,
    State: {
      Running: container.running !== false,
      Paused: container.paused === true,
      Restarting: false,
      StartedAt: container.startedAt ?? "2026-01-01T00:00:00.123456789Z",
      ...health,
    },
    Config: {
      Labels: container.labels ?? {},
      ExposedPorts: Object.fromEntries((container.exposed ?? []).map((port) => [port, {}])),
      ...(container.stopSignal === undefined ? {} : { StopSignal: container.stopSignal }),
    },
    HostConfig: { NetworkMode: container.networkMode ?? "bridge", Dns: container.dns ?? [] },
    ResolvConfPath: container.resolvConfPath ?? "",
    NetworkSettings: { Networks: networksOf(container) },
  };
}

/** An event as Docker writes it. */
export function containerEvent(
  id: string,
  action: string,
  attributes: Readonly<Record<string, string>> = {},
): unknown {
  return { Type: "container", Action: action, Actor: { ID: id, Attributes: attributes }, time: 1 };
}

function networksOf(container: FakeContainer): unknown {
  if (container.networkMode === "host") return { host: { IPAddress: "" } };
  const { network = "bridge", address = "", gateway = "" } = container;
  return { [network]: { IPAddress: address, Gateway: gateway } };
}
