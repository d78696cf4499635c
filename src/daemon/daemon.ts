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
import { Failure } from "../base/failure.ts";
import { renderHostPort, type HostPort, type Prefix } from "../base/ip.ts";
import { seededRandom } from "../base/random.ts";
import { BEARER_TOKEN_FORM, isBearerToken, type Config } from "../config/schema.ts";
import { secretOf } from "../config/secret-file.ts";
import { observePrefixes } from "../kernel/observe.ts";
import { openVipPool } from "../kernel/pool.ts";
import type { ResolveReplica } from "../mesh/stream.ts";
import type { Charter } from "../model/charter.ts";
import type { Happening } from "../model/event.ts";
import { KEPT_SCHEMA, NOTHING_KEPT, parseKept, type KeptState } from "../model/kept.ts";
import type { Member } from "../model/member.ts";
import type { NodeRecord } from "../model/record.ts";
import { transportOf } from "../model/service.ts";
import type { Replica, View } from "../model/view.ts";
import { Node } from "../node.ts";
import { nowMs } from "../runtime/clock.ts";
import { ensureFolder, loadState, saveState } from "../runtime/files.ts";
import { openLifecycle } from "../runtime/lifecycle.ts";
import { lockFolder } from "../runtime/lock.ts";
import { openMetrics, watchEventLoop } from "../runtime/metrics.ts";
import type { Farewell } from "../step.ts";
import type { Credentials } from "../trust/credentials.ts";

import type { Base } from "./base.ts";
import { openConsumers, type Consumers } from "./consumers.ts";
import { drain, leave, undrain } from "./departure.ts";
import { openDriver, type Driver } from "./driver.ts";
import { openEnrolments } from "./enrolments.ts";
import { openHappenings } from "./happenings.ts";
import { forgetMembership, openMembership, STATE_FILE, type Membership } from "./membership.ts";
import { openMesh, type Mesh } from "./mesh.ts";
import type { DaemonOptions } from "./options.ts";
import { wayTo } from "./relay.ts";
import { watchRanges } from "./ranges.ts";
import { Report } from "./report.ts";
import { openSources, sourceNames } from "./sources.ts";
import { expectManager, expectSuccessor, trustCommands, type TrustParts } from "./trust-commands.ts";
import { openUpkeep } from "./upkeep.ts";

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
 * @returns null when it was to stop before it was a member of a cluster
 * @throws Failure when a port is taken, the data dir is in use or damaged; whatever was opened is closed again
 */
export async function openDaemon(options: DaemonOptions): Promise<Daemon | null> {
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
    const daemon = await assemble(base);
    if (daemon === null) await base.lifecycle.close();
    return daemon;
  } catch (thrown) {
    await base.lifecycle.close();
    throw thrown;
  }
}

async function assemble(base: Base): Promise<Daemon | null> {
  const { options, lifecycle, metrics } = base;
  const { log, config } = options;
  const { dataDir } = config.node;
  await ensureFolder(dataDir);
  const lock = await lockFolder(dataDir);
  lifecycle.opened({ name: "data dir lock", close: () => lock.release() });
  const membership = await openMembership(base);
  if (membership === null) return null;
  const { identity, credentials } = membership;
  let isLeaving = false;
  lifecycle.opened({ name: "membership", close: () => closeMembership(credentials, dataDir, isLeaving) });
  const state = await openState(base);
  const { save } = state;
  const kept = { ...state.kept, addresses: [...membership.members, ...state.kept.addresses] };
  const eventLoop = watchEventLoop(metrics);
  lifecycle.opened({ name: "event loop watch", close: () => eventLoop.close() });
  const vipPool = await openPool(base);
  // Not `node`: the mesh port is open before there is one, and a peer that lost us knocks at once.
  let running: Node | null = null;
  let reached: HostPort | null = null;
  const members = (): readonly Member[] => running?.view.members ?? [];
  const onHappenings = openHappenings(base);
  const enrol = openEnrolments(base, { credentials, members, advertised: () => reached, onHappenings });
  const mesh = await openMesh(base, {
    credentials,
    resolve: (id, port) => (running === null ? null : endpointOf(running, id, port)),
    wayTo: (id) => wayTo(id, members()),
    onJoin: (request, response, caller) => void enrol(request, response, caller),
    onInput: (input) => driver.feed(input),
    onHappenings,
    nameOf: (id) => members().find((member) => member.id === id)?.name ?? null,
  });
  reached = mesh.advertised;
  const record = await recordOf(options, { ...mesh.advertised, pool: vipPool });
  const { name, prefixes } = record;
  const node = new Node({
    id: identity.id,
    record,
    seeds: config.mesh.join,
    sources: sourceNames(options),
    pool: vipPool,
    kept,
    seals: credentials.seals,
    charter: credentials.charter,
    random: base.random,
    nowMs: nowMs(),
  });
  // On disk before anything is said: news of the next life must outrank that of this one, also after a crash.
  await save({ ...kept, incarnation: node.gossip.incarnation });
  running = node;
  base.report.isStray = config.mesh.join.length > 0 && kept.addresses.length === 0;
  const given = { node, vipPool: vipPool.text, meshPort: mesh.address.port, openStream: mesh.openStream };
  const consumers = await openConsumers(base, given);
  const driver = openDriver({
    node,
    links: mesh.links,
    save,
    onSaved: (problem) => tellSaved(base, problem),
    onView: consumers.show,
    onCharter: cutOff(credentials, mesh),
    onHappenings,
    loopDelayMs: eventLoop.delayMs,
    metrics,
  });
  lifecycle.opened({ name: "driver", close: () => driver.close() });
  const departed = Promise.withResolvers<LeaveResult>();
  const { feed } = driver;
  const view = (): View => consumers.served().view;
  const desk = { identity, credentials, view, advertised: mesh.advertised, feed };
  await openDoors(base, {
    node,
    driver,
    consumers,
    credentials,
    desk,
    onHappenings,
    departed: departed.promise,
  });
  watchRanges(base, { pool: vipPool, told: prefixes, feed });
  const sources = openSources(base, { nodeId: identity.id, feed, dns: consumers.dns });
  driver.start();
  mesh.admit();
  openUpkeep(base, {
    identity,
    credentials,
    view,
    credentialOf: (id) => node.gossip.credentialOf(id),
    addresses: [...config.mesh.join, ...kept.addresses],
    feed,
  });
  tellStart(base, membership);
  return {
    reload(next) {
      log.setLevel(next.log.level);
      sources.reload(next);
    },
    async close(farewell) {
      const pending = await leave({ farewell, node, driver, proxy: consumers.proxy, ...mesh });
      isLeaving = farewell === "left";
      departed.resolve({ node: name, farewell, pending });
      await lifecycle.close();
    },
  };
}

/** Ends what is not trusted any more as soon as it is heard of. */
function cutOff(credentials: Credentials, mesh: Mesh): (charter: Charter) => void {
  const cutIds = new Set(credentials.charter.revoked.map(({ id }) => id));
  return (charter) => {
    credentials.apply(charter);
    for (const { id } of charter.revoked) {
      if (cutIds.has(id)) continue;
      cutIds.add(id);
      // Not of this node itself: it goes on alone, and what it serves here with it.
      if (id !== credentials.id) mesh.closeMember(id, "removed from the cluster");
    }
  };
}

/** The last of the data dir: what was decided is on the disk, or all of it is forgotten. */
async function closeMembership(credentials: Credentials, dataDir: string, isLeaving: boolean): Promise<void> {
  await credentials.saved();
  if (isLeaving) await forgetMembership(dataDir);
}

/** What this node says of itself. */
async function recordOf(
  { config, version }: DaemonOptions,
  { host, port, pool }: HostPort & { readonly pool: Prefix },
): Promise<Omit<NodeRecord, "kind">> {
  const { name, zone, labels } = config.node;
  const prefixes = await observePrefixes(pool);
  return { name, host, port, zone, labels, software: version, prefixes };
}

/** What this node remembers, and how it is kept. */
async function openState(
  base: Base,
): Promise<{ readonly kept: KeptState; readonly save: (kept: KeptState) => Promise<void> }> {
  const path = join(base.options.config.node.dataDir, STATE_FILE);
  const kept = await loadKept(base, path);
  return { kept, save: (state) => saveState(path, KEPT_SCHEMA, state) };
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
  base: Base,
  parts: {
    readonly node: Node;
    readonly driver: Driver;
    readonly consumers: Consumers;
    readonly credentials: Credentials;
    readonly desk: TrustParts;
    readonly onHappenings: (happenings: readonly Happening[]) => void;
    /** Settles when farewell is said. */
    readonly departed: Promise<LeaveResult>;
  },
): Promise<void> {
  const { options, lifecycle, metrics, journal, report } = base;
  const { node, driver, consumers, credentials, desk, departed } = parts;
  const { listen } = options.config.admin;
  const { proxy, served } = consumers;
  const expectRight = ({ local, nodeName }: Replica): void => {
    if (!local) expectManager(desk, `draining a replica of another host (${nodeName})`);
  };
  const draining = { node, driver, view: desk.view, expectRight };
  const admin = await openAdmin({
    tcp: listen === "off" ? null : listen,
    adminToken: await adminTokenOf(options.config),
    socket: options.socket,
    snapshot: () => report.snapshot({ served: served(), node, credentials, proxy, events: journal.events }),
    resolve: (name, type, as) => report.resolve(served(), node, { name, type, as }),
    drain: (replica, waits) => drain(draining, replica, waits),
    undrain: (replica) => undrain(draining, replica),
    async leave(force) {
      if (!force) expectSuccessor(desk);
      options.onLeave();
      return await departed;
    },
    ...trustCommands(base, desk),
    metricsText: () => metrics.registry.metrics(),
    subscribe: (onEvent) => journal.subscribe(onEvent),
    onRefused({ reason, detail }) {
      metrics.adminRefused.inc({ reason });
      const happening = { level: "warn", subject: "admin listener", text: detail, atMs: nowMs() } as const;
      parts.onHappenings([{ kind: "admin.refused", ...happening }]);
    },
    log: options.log,
  });
  lifecycle.opened({ name: "admin", close: () => admin.close(), deadlineMs: 2500 });
  const { tcp, socket } = admin.addresses;
  report.listen("admin", () =>
    [socket, tcp === null ? null : renderHostPort(tcp)].filter((at) => at !== null),
  );
}

/** The token of the TCP door; null for none. @throws Failure `invalid` for one that its file holds in another form */
async function adminTokenOf({ admin }: Config): Promise<string | null> {
  const token = await secretOf(admin, "admin token file (admin.tokenFile)");
  if (token === null || isBearerToken(token)) return token;
  throw new Failure(
    "invalid",
    `admin token in ${admin.tokenFile} is malformed; expected ${BEARER_TOKEN_FORM}`,
  );
}

/** Everything `auto` picked and where to turn, once, for whoever reads the log first. */
function tellStart({ options, report, journal }: Base, { identity, credentials }: Membership): void {
  const { log, config, version } = options;
  const { id, isNew } = identity;
  const who = `${id}${isNew ? ", a new identity" : ""}, ${credentials.role} of cluster ${credentials.clusterId}`;
  const text = `skein ${version} on ${config.node.name} (${who})`;
  log.info(text);
  for (const { key, value, reason } of report.choices) log.info(`${key}: ${value} (${reason})`);
  for (const [part, addresses] of Object.entries(report.listening)) {
    if (addresses.length > 0) log.info(`${part} on ${addresses.join(", ")}`);
  }
  journal.append([{ kind: "daemon.started", level: "info", subject: config.node.name, text, atMs: nowMs() }]);
}
