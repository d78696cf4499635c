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

import type { LeaveResult } from "../admin/contract.ts";
import { Journal } from "../admin/journal.ts";
import { parsePrefix, type HostPort, type Prefix } from "../base/ip.ts";
import { seededRandom } from "../base/random.ts";
import type { Config } from "../config/schema.ts";
import { observePrefixes } from "../kernel/observe.ts";
import type { ResolveReplica } from "../mesh/stream.ts";
import type { Charter } from "../model/charter.ts";
import type { Credential } from "../model/credential.ts";
import type { NodeId, ReplicaId } from "../model/ids.ts";
import type { KeptState } from "../model/kept.ts";
import type { Member } from "../model/member.ts";
import type { NodeRecord } from "../model/record.ts";
import { transportOf } from "../model/service.ts";
import type { View } from "../model/view.ts";
import { Node } from "../node.ts";
import { nowMs, wallMs } from "../runtime/clock.ts";
import { ensureFolder } from "../runtime/files.ts";
import { openLifecycle } from "../runtime/lifecycle.ts";
import { lockFolder } from "../runtime/lock.ts";
import { openMetrics, watchEventLoop } from "../runtime/metrics.ts";
import type { Farewell } from "../step.ts";
import type { Credentials } from "../trust/credentials.ts";
import { judgedBy } from "../trust/seals.ts";

import type { Base } from "./base.ts";
import { openConsumers, type Consumers } from "./consumers.ts";
import { leave } from "./departure.ts";
import { openDoors } from "./doors.ts";
import { openDriver, type Driver } from "./driver.ts";
import { openEnrolments } from "./enrolments.ts";
import { openHappenings } from "./happenings.ts";
import type { Kernel } from "./kernel-ground.ts";
import type { LeftEndpoint } from "./legacy.ts";
import { handOver, type Lingering } from "./lingering.ts";
import { openMembership, type Membership } from "./membership.ts";
import { openMesh, type Mesh, type MeshParts } from "./mesh.ts";
import { openLocal, openPlane } from "./local.ts";
import { forgetOffline } from "./offline.ts";
import type { DaemonOptions } from "./options.ts";
import { openPools, type Pools } from "./pools.ts";
import { purge } from "./purge.ts";
import { addressIn, wayTo } from "./relay.ts";
import { watchRanges } from "./ranges.ts";
import { Report } from "./report.ts";
import { sourceNames, type Sources } from "./sources.ts";
import { openState, tellSaved } from "./state.ts";
import { openUpkeep } from "./upkeep.ts";

/** All of a clean stop but its graces: Docker kills ten seconds after its signal. */
const CLOSE_MS = 2500;

/** For the data dir of a predecessor, or of a successor that was killed: a process is there longer than it acts. */
const LOCK_MS = 5000;

/** A running daemon. */
export interface Daemon {
  /** Takes the parts of a new configuration that may change while running: services and their health, both logs. */
  reload(config: Config): void;
  /**
   * Drains, says farewell and closes everything, within ten seconds. To be called once.
   *
   * @param options.purges  true to take out of the kernel what else would go on without this daemon
   */
  close(farewell: Farewell, options: { readonly purges: boolean }): Promise<void>;
  /** Gives up what only one daemon of a host can have, and goes on serving. To be called once, in place of `close`. */
  handOver(): Promise<Lingering>;
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
    if (daemon === null) await closeEarly(base);
    return daemon;
  } catch (thrown) {
    await closeEarly(base);
    throw thrown;
  }
}

/** Whoever is taken over from can take everything back only when it is free again. */
async function closeEarly({ lifecycle, options }: Base): Promise<void> {
  await lifecycle.close();
  options.predecessor?.abandon();
}

async function assemble(base: Base): Promise<Daemon | null> {
  const { options, lifecycle, metrics } = base;
  const ground = await openGround(base);
  if (ground === null) return null;
  const { membership, kept, save } = ground;
  const { identity, credentials } = membership;
  const eventLoop = watchEventLoop(metrics);
  lifecycle.opened({ name: "event loop watch", close: () => eventLoop.close(), handover: "serves" });
  const pools = await openPools(base, credentials.clusterId);
  const vipPool = pools.pool;
  // Not `node`: the mesh port is open before there is one, and a peer that lost us knocks at once.
  let running: Node | null = null;
  const onHappenings = openHappenings(base);
  const mesh = await openMeshOf(base, credentials, {
    running: () => running,
    onInput: (input) => driver.feed(input),
    onHappenings,
    inherited: new Map(options.predecessor?.legacy.endpoints.map((endpoint) => [endpoint.id, endpoint])),
  });
  const kernel = await openPlane(base, pools, mesh);
  const record = await recordOf(options, { ...mesh.advertised, pool: vipPool, kernel });
  const node = nodeOf(base, ground, { record, pools });
  // On disk before anything is said: news of the next life must outrank that of this one, also after a crash.
  await save({ ...kept, incarnation: node.gossip.incarnation });
  running = node;
  const given = { node, vipPool: vipPool.text, meshPort: mesh.address.port, openStream: mesh.openStream };
  const consumers = await openConsumers(base, { ...given, kernel, pools });
  const driver = openDriver({
    node,
    links: mesh.links,
    save,
    onSaved: (problem) => tellSaved(base, problem),
    onView: consumers.show,
    kernel,
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
  const { delayMs: loopDelayMs } = eventLoop;
  const doors = { node, driver, consumers, desk, mesh, kernel, pool: vipPool, loopDelayMs, onHappenings };
  await openDoors(base, { ...doors, departed: departed.promise });
  const ranges = (): readonly Prefix[] => rangesOf(options, vipPool, view());
  watchRanges(base, { ranges, told: record.prefixes, feed });
  // All that may well fail is open by now; and no peer has met this life of the node yet.
  await takeStreams(base, mesh);
  const sources = openLocal(base, { node, kernel, consumers, feed });
  driver.start();
  mesh.admit();
  const before = [...options.config.mesh.join, ...kept.addresses];
  const addresses = (): readonly HostPort[] => addressesOf(node, before);
  openUpkeep(base, { identity, credentials, view, credentialOf: credentialIn(node), addresses, feed });
  await consumers.serving;
  // Beside the predecessor as well: containers on bridges ask there and nowhere else.
  await sources.answering();
  await options.predecessor?.relieve();
  tellStart(base, membership);
  return daemonOf(base, {
    node,
    driver,
    mesh,
    kernel,
    pools,
    consumers,
    sources,
    departed,
    name: record.name,
  });
}

/** Relays from now on, in place of the predecessor. */
async function takeStreams({ options }: Base, mesh: Mesh): Promise<void> {
  await mesh.listen();
  await options.predecessor?.relieveOfStreams();
}

/** What a daemon is made of once it serves. */
interface Assembled {
  readonly node: Node;
  readonly driver: Driver;
  readonly mesh: Mesh;
  readonly kernel: Kernel;
  readonly pools: Pools;
  readonly consumers: Consumers;
  readonly sources: Sources;
  /** To be settled when farewell is said. */
  readonly departed: PromiseWithResolvers<LeaveResult>;
  readonly name: string;
}

function daemonOf({ options, lifecycle }: Base, parts: Assembled): Daemon {
  const { config, log } = options;
  const { node, driver, mesh, kernel, pools, consumers, sources, departed, name } = parts;
  return {
    reload(next) {
      log.setLevel(next.log.level);
      consumers.reload(next);
      sources.reload(next);
    },
    async close(farewell, { purges }) {
      await kernel.hold();
      const pending = await leave({ farewell, node, driver, proxy: consumers.proxy, ...mesh });
      departed.resolve({ node: name, farewell, pending });
      if (purges || farewell === "left") await purge({ kernel, pools, log });
      else await kernel.freeQuestions();
      await lifecycle.close();
      // Not as one of the parts: those share a deadline, and a cluster that is left must be forgotten for certain.
      if (farewell === "left") await forgetOffline(config.node);
    },
    handOver: () => {
      const view = (): View => consumers.served().view;
      return handOver({ lifecycle, node, view, mesh, log, ...consumers });
    },
  };
}

function nodeOf(
  { options, random }: Base,
  { membership, kept }: Ground,
  { record, pools }: { readonly record: Omit<NodeRecord, "kind">; readonly pools: Pools },
): Node {
  const { identity, credentials } = membership;
  const { charter } = credentials;
  const seals = judgedBy(wallMs, credentials.seals);
  const seeds = options.config.mesh.join;
  const sources = sourceNames(options);
  const { id } = identity;
  const trusted = options.predecessor?.legacy.ready ?? [];
  return new Node({
    id,
    record,
    seeds,
    sources,
    pool: pools.pool,
    vip6: pools.pool6.rule,
    kept,
    trusted,
    seals,
    charter,
    random,
    nowMs: nowMs(),
  });
}

/** What everything else stands on: the data dir, whose this node is, and what it remembers. */
interface Ground {
  readonly membership: Membership;
  readonly kept: KeptState;
  readonly save: (kept: KeptState) => Promise<void>;
}

async function openGround(base: Base): Promise<Ground | null> {
  const { options, lifecycle, report } = base;
  const { node, mesh } = options.config;
  await ensureFolder(node.dataDir);
  const waitMs = options.predecessor === null ? 0 : LOCK_MS;
  const lock = await lockFolder(node.dataDir, { waitMs });
  lifecycle.opened({ name: "data dir lock", close: () => lock.release() });
  const membership = await openMembership(base);
  if (membership === null) return null;
  lifecycle.opened({ name: "membership", close: () => membership.credentials.close() });
  const { kept, save } = await openState(base);
  report.isStray = mesh.join.length > 0 && kept.addresses.length === 0;
  return { membership, kept, save };
}

/** The mesh, answered by the node as soon as there is one. */
async function openMeshOf(
  base: Base,
  credentials: Credentials,
  parts: Pick<MeshParts, "onInput" | "onHappenings"> & {
    readonly running: () => Node | null;
    /** Replicas that are known until this host's sources have told. */
    readonly inherited: ReadonlyMap<ReplicaId, LeftEndpoint>;
  },
): Promise<Mesh> {
  const { running, onInput, onHappenings, inherited } = parts;
  let advertised: HostPort | null = null;
  const members = (): readonly Member[] => running()?.view.members ?? [];
  const enrol = openEnrolments(base, {
    credentials,
    members,
    advertised: () => advertised,
    onHappenings,
  });
  const mesh = await openMesh(base, {
    credentials,
    credentialOf: (id) => running()?.gossip.credentialOf(id),
    resolve(id, port, transport) {
      const found = running()?.found;
      const known = found?.isAwaiting === false ? null : inherited.get(id);
      return portOf(found?.endpoint(id) ?? known ?? null, port, transport);
    },
    wayTo: (id) => wayTo(id, members()),
    onJoin: (request, response, caller) => void enrol(request, response, caller),
    onInput,
    onHappenings,
    addressOf: (id) => addressIn(id, members()),
    nameOf: (id) => members().find((member) => member.id === id)?.name ?? null,
  });
  advertised = mesh.advertised;
  return mesh;
}

/** Finds what a member's own log says of its certificate. */
function credentialIn({ gossip }: Node): (id: NodeId) => Credential | undefined {
  return (id) => gossip.credentialOf(id);
}

/** Where members are or were: those of the picture, then those known from before. */
function addressesOf({ view }: Node, before: readonly HostPort[]): readonly HostPort[] {
  const others = view.members.filter(({ self, host }) => !self && host !== "");
  return [...others.map(({ host, port }) => ({ host, port })), ...before];
}

/** Ends what is not trusted any more as soon as it is heard of. */
function cutOff(credentials: Credentials, mesh: Mesh): (charter: Charter) => void {
  return (charter) => {
    credentials.apply(charter);
    mesh.recheck();
  };
}

/** What this node says of itself. */
async function recordOf(
  { config, version }: DaemonOptions,
  { host, port, pool, kernel }: HostPort & { readonly pool: Prefix; readonly kernel: Kernel },
): Promise<Omit<NodeRecord, "kind">> {
  const { name, zone, labels } = config.node;
  const prefixes = await observePrefixes([pool, config.overlay.pool]);
  const { overlay } = kernel;
  return {
    name,
    host,
    port,
    zone,
    labels,
    software: version,
    prefixes,
    ...(overlay !== null && { overlay }),
  };
}

/** What is ours, or may be: no host may have other addresses in it. */
function rangesOf({ config }: DaemonOptions, pool: Prefix, { networks }: View): readonly Prefix[] {
  const made = networks.flatMap(({ range }) => {
    const parsed = parsePrefix(range);
    return parsed.ok ? [parsed.value] : [];
  });
  return [pool, config.overlay.pool, ...made];
}

/** Where a replica of this host is reached on a port that it declares: the wire never names an address. */
function portOf(
  endpoint: LeftEndpoint | null,
  port: number,
  transport: "tcp" | "udp",
): ReturnType<ResolveReplica> {
  const isDeclared = endpoint?.declaration.ports.some(({ target, protocol }) => {
    return target === port && transportOf(protocol) === transport;
  });
  return endpoint !== null && isDeclared === true ? { address: endpoint.address, port } : null;
}

/** Everything `auto` picked and where to turn, once, for whoever reads the log first. */
function tellStart({ options, report, journal }: Base, { identity, credentials }: Membership): void {
  const { log, config, version } = options;
  const { id, isNew } = identity;
  const { role, clusterId } = credentials;
  const who = `${id}${isNew ? ", a new identity" : ""}, ${role} of cluster ${clusterId}`;
  const text = `skein ${version} on ${config.node.name} (${who})`;
  log.info(text);
  for (const { key, value, reason } of report.choices) log.info(`${key}: ${value} (${reason})`);
  for (const [part, addresses] of Object.entries(report.listening)) {
    if (addresses.length > 0) log.info(`${part} on ${addresses.join(", ")}`);
  }
  journal.append([{ kind: "daemon.started", level: "info", subject: config.node.name, text, atMs: nowMs() }]);
}
