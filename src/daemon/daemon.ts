/**
 * Daemon: puts the parts together.
 *
 * Sources and links feed the node through the driver; each new view is planned and handed to the consumers. Nothing is
 * decided here: this is the picture in ARCHITECTURE.md, as wiring.
 *
 * Down again: first what ends with this daemon drains, and peers have a moment to apply that, so that they stop coming;
 * then listeners close and open connections end; then farewell; then everything else, in the reverse of the order in
 * which it was opened.
 *
 * Touches: everything, through the shells it opens.
 */

import { randomInt } from "node:crypto";
import { join } from "node:path";

import type { LeaveResult } from "../admin/contract.ts";
import { Journal } from "../admin/journal.ts";
import { openAdmin } from "../admin/server.ts";
import { renderHostPort, type HostPort, type Prefix } from "../base/ip.ts";
import { seededRandom } from "../base/random.ts";
import type { Config } from "../config/schema.ts";
import { observePrefixes } from "../kernel/observe.ts";
import { openVipPool } from "../kernel/pool.ts";
import { chooseAdvertised } from "../mesh/advertise.ts";
import type { Link } from "../mesh/link.ts";
import { openLanes } from "../mesh/lanes.ts";
import { openLinks, type Links } from "../mesh/links.ts";
import { openListener, type ListenerOptions } from "../mesh/listener.ts";
import type { ResolveReplica } from "../mesh/stream.ts";
import { KEPT_SCHEMA, NOTHING_KEPT, parseKept, type KeptState } from "../model/kept.ts";
import type { NodeRecord } from "../model/record.ts";
import { transportOf } from "../model/service.ts";
import { Node } from "../node.ts";
import { nowMs } from "../runtime/clock.ts";
import { ensureFolder, loadState, saveState } from "../runtime/files.ts";
import { openLifecycle } from "../runtime/lifecycle.ts";
import { lockFolder } from "../runtime/lock.ts";
import { openMetrics, watchEventLoop } from "../runtime/metrics.ts";
import type { Farewell } from "../step.ts";
import { openIdentity, type Identity } from "../trust/keyfile.ts";

import type { Base } from "./base.ts";
import { openConsumers, type Consumers } from "./consumers.ts";
import { drain, leave, undrain } from "./departure.ts";
import { openDriver, type Driver } from "./driver.ts";
import { openHappenings } from "./happenings.ts";
import type { DaemonOptions } from "./options.ts";
import { wayTo } from "./relay.ts";
import { watchRanges } from "./ranges.ts";
import { Report } from "./report.ts";
import { openSources, sourceNames } from "./sources.ts";

/** All of a clean stop but its graces: Docker kills ten seconds after its signal. */
const CLOSE_MS = 2500;

/** A running daemon. */
export interface Daemon {
  /** Takes the parts of a new configuration that may change while running: services and their health, log level. */
  reload(config: Config): void;
  /** Drains, says farewell and closes everything, within ten seconds. To be called once. */
  close(farewell: Farewell): Promise<void>;
}

/**
 * Opens a daemon; settles once it serves.
 *
 * @throws Failure when a port is taken, the data dir is in use or damaged; whatever was opened is closed again
 */
export async function openDaemon(options: DaemonOptions): Promise<Daemon> {
  const metrics = openMetrics();
  metrics.buildInfo.set({ version: options.version, node: process.version }, 1);
  const base: Base = {
    options,
    lifecycle: openLifecycle({ log: options.log, totalMs: CLOSE_MS }),
    metrics,
    random: seededRandom(randomInt(2 ** 32)),
    journal: new Journal(),
    report: new Report(options, nowMs()),
  };
  try {
    return await assemble(base);
  } catch (thrown) {
    await base.lifecycle.close();
    throw thrown;
  }
}

async function assemble(base: Base): Promise<Daemon> {
  const { options, lifecycle, metrics } = base;
  const { config, log } = options;
  const { identity, kept, save } = await openState(base);
  const eventLoop = watchEventLoop(metrics);
  lifecycle.opened({ name: "event loop watch", close: () => eventLoop.close() });
  const vipPool = await openPool(base);
  // Not `node`: the mesh port is open before there is one, and a peer that lost us knocks at once.
  let running: Node | null = null;
  const mesh = await openMesh(base, {
    resolve: (id, port) => (running === null ? null : endpointOf(running, id, port)),
    wayTo: (id) => wayTo(id, running?.view.members ?? []),
    onInput: (input) => driver.feed(input),
  });
  const record = await recordOf(options, { ...mesh.advertised, pool: vipPool });
  const { name, prefixes } = record;
  const seeds = config.mesh.join;
  const node = new Node({
    id: identity.id,
    record,
    seeds,
    sources: sourceNames(options),
    pool: vipPool,
    kept,
    random: base.random,
    nowMs: nowMs(),
  });
  // On disk before anything is said: news of the next life must outrank that of this one, also after a crash.
  await save({ ...kept, incarnation: node.gossip.incarnation });
  running = node;
  const consumers = await openConsumers(base, { node, vipPool: vipPool.text, meshPort: mesh.address.port });
  const driver = openDriver({
    node,
    links: mesh.links,
    save,
    onSaved: (problem) => tellSaved(base, problem),
    onView: consumers.show,
    onHappenings: openHappenings(base),
    loopDelayMs: eventLoop.delayMs,
    metrics,
  });
  lifecycle.opened({ name: "driver", close: () => driver.close() });
  const departed = Promise.withResolvers<LeaveResult>();
  await openDoors(base, { node, driver, consumers, departed: departed.promise });
  watchRanges(base, { pool: vipPool, told: prefixes, feed: driver.feed });
  const sources = openSources(base, { nodeId: identity.id, feed: driver.feed, dns: consumers.dns });
  driver.start();
  mesh.admit();
  tellStart(base, identity);
  return {
    reload(next) {
      log.setLevel(next.log.level);
      sources.reload(next);
    },
    async close(farewell) {
      const pending = await leave({ farewell, node, driver, proxy: consumers.proxy, ...mesh });
      departed.resolve({ node: name, farewell, pending });
      await lifecycle.close();
    },
  };
}

/** What this node says of itself. */
async function recordOf(
  { config, version }: DaemonOptions,
  { host, port, pool }: HostPort & { readonly pool: Prefix },
): Promise<Omit<NodeRecord, "kind">> {
  const { name, zone, labels } = config.node;
  const prefixes = await observePrefixes(pool);
  return { name, host, port, zone, labels, role: "manager", software: version, prefixes };
}

/** The data dir: its lock, this node's identity, and what it remembers. */
async function openState(base: Base): Promise<{
  readonly identity: Identity;
  readonly kept: KeptState;
  readonly save: (kept: KeptState) => Promise<void>;
}> {
  const { dataDir } = base.options.config.node;
  await ensureFolder(dataDir);
  const lock = await lockFolder(dataDir);
  base.lifecycle.opened({ name: "data dir lock", close: () => lock.release() });
  const identity = await openIdentity(dataDir);
  const path = join(dataDir, "state.json");
  const kept = await loadKept(base, path);
  return { identity, kept, save: (state) => saveState(path, KEPT_SCHEMA, state) };
}

async function loadKept({ options, report, journal }: Base, path: string): Promise<KeptState> {
  const loaded = await loadState(path, { schema: KEPT_SCHEMA, parse: parseKept }, nowMs());
  if (loaded.reason !== null) {
    const used = loaded.from === "none" ? "nothing is remembered" : `the ${loaded.from} one is used`;
    const aside = loaded.setAside === null ? "" : `set aside as ${loaded.setAside}; `;
    const text = `${loaded.reason}; ${aside}${used}`;
    options.log.warn(`state file: ${text}`);
    report.problem({ area: "state", subject: path, text });
    journal.append([{ kind: "state.corrupt", level: "warn", subject: path, text, atMs: nowMs() }]);
  }
  return loaded.value ?? NOTHING_KEPT;
}

function tellSaved({ options, report }: Base, problem: string | null): void {
  if (problem !== null && report.saveProblem !== problem)
    options.log.error(`state cannot be kept: ${problem}`);
  if (problem === null && report.saveProblem !== null) options.log.info("state is kept again");
  report.saveProblem = problem;
}

async function openPool({ options, lifecycle, report }: Base): Promise<Prefix> {
  const { vip } = options.config;
  const opened = await openVipPool(vip.pool === "auto" ? null : vip.pool, vip.listen);
  lifecycle.opened({ name: "vip pool", close: () => opened.close() });
  if (vip.pool === "auto") report.choose("vip.pool", opened.pool.text, opened.reason);
  if (opened.problem !== null) {
    options.log.warn(opened.problem);
    report.problem({ area: "bind", subject: "vip.pool", text: opened.problem });
  }
  return opened.pool;
}

/** What the mesh port and the links are to the rest. */
interface Mesh {
  readonly links: Links;
  readonly address: HostPort;
  readonly advertised: HostPort;
  readonly streamCount: () => number;
  /** Takes links from now on; those that came before waited, unread. */
  readonly admit: () => void;
}

/** The mesh port and the links. */
async function openMesh(
  base: Base,
  parts: Pick<ListenerOptions, "resolve" | "wayTo"> & { readonly onInput: Driver["feed"] },
): Promise<Mesh> {
  const { resolve, wayTo: wayToMember, onInput } = parts;
  const { options, lifecycle, metrics, report } = base;
  const { log } = options;
  const { listen, advertise, join: seeds } = options.config.mesh;
  const lanes = openLanes();
  const links = openLinks({ onInput, log, metrics, lanes });
  const early: Link[] = [];
  let isAdmitting = false;
  const listener = await openListener({
    listen,
    nextLinkId: links.nextId,
    onLink: (link) => (isAdmitting ? links.accept(link) : early.push(link)),
    resolve,
    wayTo: wayToMember,
    log,
    metrics,
    lanes,
  });
  lifecycle.opened({ name: "mesh listener", close: () => listener.close(), deadlineMs: 2500 });
  const { address, streamCount } = listener;
  report.listen("mesh", () => [renderHostPort(address)]);
  const admit = (): void => {
    isAdmitting = true;
    for (const link of early.splice(0)) links.accept(link);
  };
  const opened = { links, address, streamCount, admit };
  if (advertise !== "auto") return { ...opened, advertised: advertise };
  const { host, reason } = await chooseAdvertised(listen, seeds);
  const advertised = { host, port: address.port };
  report.choose("mesh.advertise", renderHostPort(advertised), reason);
  return { ...opened, advertised };
}

/** Where a replica of this host is reached on a port that it declares: the wire never names an address. */
function endpointOf(node: Node, id: string, port: number): ReturnType<ResolveReplica> {
  const endpoint = node.found.endpoint(id);
  const isDeclared = endpoint?.declaration.ports.some(({ target, protocol }) => {
    return target === port && transportOf(protocol) === "tcp";
  });
  return endpoint !== null && isDeclared === true ? { address: endpoint.address, port } : null;
}

/** The admin API. */
async function openDoors(
  { options, lifecycle, metrics, journal, report }: Base,
  parts: {
    readonly node: Node;
    readonly driver: Driver;
    readonly consumers: Consumers;
    /** Settles when farewell is said. */
    readonly departed: Promise<LeaveResult>;
  },
): Promise<void> {
  const { node, driver, consumers, departed } = parts;
  const { listen } = options.config.admin;
  const { proxy, served } = consumers;
  const admin = await openAdmin({
    tcp: listen === "off" ? null : listen,
    socket: options.socket,
    snapshot: () => report.snapshot({ served: served(), node, proxy, events: journal.events }),
    resolve: (name, type, as) => report.resolve(served(), node, { name, type, as }),
    drain: (replica, waits) => drain({ node, driver, view: () => served().view }, replica, waits),
    undrain: (replica) => undrain({ node, driver, view: () => served().view }, replica),
    leave() {
      options.onLeave();
      return departed;
    },
    metricsText: () => metrics.registry.metrics(),
    subscribe: (onEvent) => journal.subscribe(onEvent),
    log: options.log,
  });
  lifecycle.opened({ name: "admin", close: () => admin.close(), deadlineMs: 2500 });
  const { tcp, socket } = admin.addresses;
  report.listen("admin", () =>
    [socket, tcp === null ? null : renderHostPort(tcp)].filter((at) => at !== null),
  );
}

/** Everything `auto` picked and where to turn, once, for whoever reads the log first. */
function tellStart({ options, report, journal }: Base, { id, isNew }: Identity): void {
  const { log, config, version } = options;
  const text = `skein ${version} on ${config.node.name} (${id}${isNew ? ", a new identity" : ""})`;
  log.info(text);
  for (const { key, value, reason } of report.choices) log.info(`${key}: ${value} (${reason})`);
  for (const [part, addresses] of Object.entries(report.listening)) {
    if (addresses.length > 0) log.info(`${part} on ${addresses.join(", ")}`);
  }
  for (const warning of report.warnings) log.warn(warning);
  journal.append([{ kind: "daemon.started", level: "info", subject: config.node.name, text, atMs: nowMs() }]);
}
