/**
 * Command: `skein run` as a process: configuration, log, signals, and the status it ends with.
 *
 * SIGTERM and SIGINT stop it cleanly, a second one at once; SIGHUP takes services, health, log level and access log
 * from the configuration again, and keeps the running ones when that is broken. A signal cannot tell why it was sent,
 * and mostly it is a restart or an upgrade: so the others are told that this host is away. `skein leave` says that it
 * is for good. A daemon that becomes another member than it was is closed and opened anew here, within one process; so
 * is one that was to be taken over from by another (`--replace`) which ended before it served.
 *
 * Touches: signals, the config file, standard error.
 */

import { once } from "node:events";
import type { Duplex } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";

import type { JoinRequest } from "../admin/contract-trust.ts";
import { defaultSocketPath } from "../admin/contract.ts";
import { Failure, textOf } from "../base/failure.ts";
import { loadConfig, type LoadedConfig, type Surroundings } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { redacted } from "../config/secrets.ts";
import { nowMs } from "../runtime/clock.ts";
import { watchCrashes, watchSignals } from "../runtime/lifecycle.ts";
import { openLog, type Log } from "../runtime/log.ts";
import type { Farewell } from "../step.ts";

import { openDaemon, type Daemon } from "./daemon.ts";
import { askHandover, openSuccessor, type Predecessor, type Successor } from "./handover.ts";
import { forgetOffline, initOffline, joinOffline, type Place } from "./offline.ts";
import type { DaemonOptions, Opening, TrustPace } from "./options.ts";
import { purgeOffline } from "./purge.ts";

/** What was given on the command line in place of configuration. */
export interface Flags {
  readonly file: string | null;
  readonly values: Readonly<Record<string, string>>;
}

/** The process around a daemon. */
export interface Process extends Surroundings {
  readonly version: string;
  /** Folder of the built dashboard; none unless told. */
  readonly dashboardDir?: string;
  readonly exit: (status: number) => void;
  /** For tests; see TrustPace. */
  readonly pace?: TrustPace;
  /** True to take over from the daemon that runs here, if one does. */
  readonly replaces?: boolean;
  /** True to leave nothing in the kernel when it stops. */
  readonly purges?: boolean;
}

/** Why a daemon is closed, and what comes after it. */
type End =
  | { readonly kind: "stop"; readonly why: string; readonly farewell: Farewell }
  | { readonly kind: "anew"; readonly opening: Opening }
  /** Another daemon of this host asks to take over. */
  | { readonly kind: "handover"; readonly connection: Duplex };

/** For a daemon to take back what it gave, and between two tries. */
const AGAIN_MS = 30_000;
const AGAIN_EVERY_MS = 500;

/**
 * Runs a daemon until a signal ends it.
 *
 * @returns the exit status
 * @throws Failure when it cannot start: `usage` for a configuration with mistakes
 */
export async function runDaemon(flags: Flags, process_: Process): Promise<number> {
  const load = (): LoadedConfig =>
    loadConfig({ surroundings: process_, file: flags.file, flags: flags.values });
  const { config, changedAtMs: configChangedAtMs } = loadedOrUsage(load);
  const log = openLog(config.log);
  watchCrashes(log, () => process_.exit(1));
  const ends = openEnds();
  // Signals that come while the daemon opens are kept: it closes as soon as it is open.
  let reload = (): void => undefined;
  watchSignals({
    stop: (why) => ends.stop(why, "away"),
    stopNow: () => process_.exit(1),
    reload: () => reload(),
  });
  const { env, version, dashboardDir = null, pace = {}, replaces = false, purges = false } = process_;
  const socket = socketOf(config, process_);
  const given = { configChangedAtMs, env, version, socket, dashboardDir, log, pace };
  const { stopping, onAnew, onHandover } = ends;
  const told = { stopping, onAnew, onHandover, onLeave: () => ends.stop("skein leave", "left") };
  let running = config;
  let opening: Opening = { kind: "usual" };
  let predecessor = replaces ? await predecessorAt(given.socket, log) : null;
  for (let takesBack = false; ; takesBack = predecessor !== null) {
    const options = { ...given, ...told, config: running, opening, predecessor };
    const daemon = await (takesBack ? openAgain(options, process_.exit) : openDaemon(options));
    if (daemon === null) break;
    reload = () => {
      try {
        const next = load().config;
        daemon.reload(next);
        // What counts only from an opening on stays as it was: a port that moved would surprise.
        running = { ...running, services: next.services, health: next.health, log: next.log };
        log.info("configuration reloaded: services, health, log level and access log");
      } catch (thrown) {
        log.error(`configuration not reloaded, the running one stays: ${textOf(thrown)}`);
      }
    };
    const next = await closed(daemon, await ends.next(), { log, stopping, purges });
    if (next === null) break;
    ({ opening, predecessor } = next);
  }
  log.info("stopped");
  // A probe that waits for its answer must not hold up the end: all that matters is closed.
  process_.exit(0);
  return 0;
}

/**
 * Opens a daemon that takes back what it gave. Others may be in its way for a moment, of those that were to take over;
 * past a while the process ends, for half a daemon is worse than none: nobody would start another.
 */
async function openAgain(options: DaemonOptions, exit: Process["exit"]): Promise<Daemon | null> {
  const untilMs = nowMs() + AGAIN_MS;
  for (;;) {
    try {
      return await openDaemon(options);
    } catch (thrown) {
      if (options.stopping.aborted) return null;
      if (nowMs() >= untilMs) {
        options.log.error(`not opened anew: ${textOf(thrown)}`);
        exit(1);
        return null;
      }
      options.log.warn(`not opened anew yet: ${textOf(thrown)}`);
      await pause(AGAIN_EVERY_MS, null, { signal: options.stopping }).catch(() => null);
    }
  }
}

/**
 * A configuration with mistakes is to `run` what wrong usage is: another start would end as this one did, and who
 * starts it again and again (systemd) goes by the exit status.
 */
function loadedOrUsage(load: () => LoadedConfig): LoadedConfig {
  try {
    return load();
  } catch (thrown) {
    if (!(thrown instanceof Failure) || thrown.code !== "invalid") throw thrown;
    throw new Failure("usage", thrown.message, { cause: thrown });
  }
}

/** How the next daemon of this process opens. */
interface Next {
  readonly opening: Opening;
  readonly predecessor: Predecessor | null;
}

/** Closes a daemon as its end wants it. @returns how the next one opens; null when there is none */
async function closed(daemon: Daemon, end: End, process_: Lasting): Promise<Next | null> {
  const { log, purges } = process_;
  switch (end.kind) {
    case "stop":
      log.info(`${end.why}: draining, then stopping`);
      await daemon.close(end.farewell, { purges });
      return null;
    case "anew":
      log.info("opening anew: draining, then closing");
      // Another cluster has other networks and another range: what goes on meanwhile would be of no use.
      await daemon.close("away", { purges: true });
      return { opening: end.opening, predecessor: null };
    case "handover":
      return await handedOver(daemon, end.connection, process_);
  }
}

/** What of a process outlasts its daemons. */
interface Lasting {
  readonly log: Log;
  readonly stopping: AbortSignal;
  readonly purges: boolean;
}

/** Hands over to another daemon. @returns null when that one serves; else how this one takes back what it gave */
async function handedOver(
  daemon: Daemon,
  connection: Duplex,
  { log, stopping }: Pick<Lasting, "log" | "stopping">,
): Promise<Next | null> {
  log.info("another daemon takes over: this one serves on until that one does");
  const successor = openSuccessor(connection);
  const lingering = await daemon.handOver();
  successor.give(lingering.legacy);
  let isRelaying = true;
  const stopRelaying = (): void => {
    isRelaying = false;
    lingering.stopRelaying();
  };
  const said = await toldBy(successor, stopRelaying, stopping);
  if (said !== "gone") {
    if (said === "stopped") log.info("told to stop before the daemon that takes over serves");
    if (said === "late") log.warn("the daemon that takes over is not ready in time: this one stops");
    await lingering.stopListening();
    successor.done();
    if (said !== "stopped") log.info("handed over: what is open is left to end by itself");
    await lingering.finish(stopping);
    return null;
  }
  log.warn("the daemon that was to take over is gone: this one opens anew");
  return {
    opening: { kind: "usual" },
    predecessor: {
      legacy: lingering.legacy,
      get isRelaying() {
        return isRelaying;
      },
      relieveOfStreams: async () => stopRelaying(),
      async relieve() {
        await lingering.stopListening();
        // In its own time, beside what is opened now.
        void lingering.finish(stopping);
      },
      // The process ends with it.
      abandon: () => undefined,
    },
  };
}

/** What ends the wait for a successor: its word, its end, or the order to stop. What it says on the way is done. */
async function toldBy(
  successor: Successor,
  stopRelaying: () => void,
  stopping: AbortSignal,
): Promise<"ready" | "gone" | "late" | "stopped"> {
  if (stopping.aborted) return "stopped";
  const stopped = once(stopping, "abort").then(() => "stopped" as const);
  for (;;) {
    const said = await Promise.race([successor.next(), stopped]);
    if (said !== "relays") return said;
    stopRelaying();
    successor.done();
  }
}

/** The daemon that is to be taken over from; null when none runs here. */
async function predecessorAt(socket: string | null, log: Log): Promise<Predecessor | null> {
  if (socket === null) throw new Failure("usage", "--replace needs the admin socket; admin.socket is off");
  const predecessor = await askHandover(socket);
  log.info(predecessor === null ? "no daemon runs here to take over from" : "taking over");
  return predecessor;
}

/** Why daemons of this process end, one after the other. A stop outranks an opening anew, and is never forgotten. */
function openEnds(): {
  readonly stop: (why: string, farewell: Farewell) => void;
  readonly onAnew: (opening: Opening) => void;
  readonly onHandover: (connection: Duplex) => void;
  readonly next: () => Promise<End>;
  /** Aborted with the stop. */
  readonly stopping: AbortSignal;
} {
  const stopped = Promise.withResolvers<End>();
  const stopping = new AbortController();
  let anew = Promise.withResolvers<End>();
  let isEnding = false;
  const end = (why: End): void => {
    isEnding = true;
    anew.resolve(why);
  };
  return {
    stop(why, farewell) {
      isEnding = true;
      stopped.resolve({ kind: "stop", why, farewell });
      stopping.abort();
    },
    onAnew: (opening) => end({ kind: "anew", opening }),
    onHandover(connection) {
      // Who is ending already hands nothing over: the other one may ask again, or start by itself.
      if (isEnding) connection.destroy();
      else end({ kind: "handover", connection });
    },
    async next() {
      const first = await Promise.race([stopped.promise, anew.promise]);
      anew = Promise.withResolvers<End>();
      isEnding = stopping.signal.aborted;
      return first;
    },
    stopping: stopping.signal,
  };
}

/** Makes a cluster in a data dir that no daemon uses. */
export function initCluster(flags: Flags, surroundings: Surroundings): ReturnType<typeof initOffline> {
  return initOffline(placeOf(flags, surroundings));
}

/** Joins a cluster from a data dir that no daemon uses. */
export function joinCluster(
  flags: Flags,
  surroundings: Surroundings,
  request: JoinRequest,
): ReturnType<typeof joinOffline> {
  return joinOffline(placeOf(flags, surroundings), request);
}

/** Makes a data dir that no daemon uses forget its cluster. */
export function forgetCluster(flags: Flags, surroundings: Surroundings): ReturnType<typeof forgetOffline> {
  return forgetOffline(placeOf(flags, surroundings));
}

/** Takes away what daemons of this host left in the kernel. @returns what is still left, in words */
export function cleanHost({ file, values }: Flags, surroundings: Surroundings): Promise<readonly string[]> {
  const { "admin.socket": _, ...flags } = values;
  return purgeOffline(loadConfig({ surroundings, file, flags }).config, surroundings.env);
}

function placeOf({ file, values }: Flags, surroundings: Surroundings): Place {
  // The socket that was asked in vain is no matter of the data dir's.
  const { "admin.socket": _, ...flags } = values;
  const { dataDir, name } = loadConfig({ surroundings, file, flags }).config.node;
  return { dataDir, name };
}

/** Checks a config file. @throws Failure with a line for each mistake */
export function checkConfig(file: string | null, surroundings: Surroundings): void {
  loadConfig({ surroundings, file, flags: {} });
}

/** The effective configuration as plain data, its secrets covered. */
export function printConfig(flags: Flags, surroundings: Surroundings): unknown {
  return redacted(loadConfig({ surroundings, file: flags.file, flags: flags.values }).raw);
}

function socketOf(config: Config, { env, isRoot }: Surroundings): string | null {
  const { socket } = config.admin;
  if (socket === "off") return null;
  if (socket !== "auto") return socket;
  const runtimeDir = env["XDG_RUNTIME_DIR"] ?? null;
  const path = defaultSocketPath({ root: isRoot, runtimeDir, dataDir: config.node.dataDir });
  // The system's bound (unix(7)): a longer one would be cut without a word.
  if (path.length < 108) return path;
  throw new Failure(
    "invalid",
    `admin socket is "${path}"; expected at most 107 characters: set admin.socket`,
  );
}
