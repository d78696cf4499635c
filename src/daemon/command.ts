/**
 * Command: `skein run` as a process: configuration, log, signals, and the status it ends with.
 *
 * SIGTERM and SIGINT stop it cleanly, a second one at once; SIGHUP takes services, health and log level from the
 * configuration again, and keeps the running ones when that is broken. A signal cannot tell why it was sent, and mostly
 * it is a restart or an upgrade: so the others are told that this host is away. `skein leave` says that it is for good.
 * A daemon that becomes another member than it was is closed and opened anew here, within one process.
 *
 * Touches: signals, the config file, standard error.
 */

import type { JoinRequest } from "../admin/contract-trust.ts";
import { defaultSocketPath } from "../admin/contract.ts";
import { Failure, textOf } from "../base/failure.ts";
import { loadConfig, type LoadedConfig, type Surroundings } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { redacted } from "../config/secrets.ts";
import { watchCrashes, watchSignals } from "../runtime/lifecycle.ts";
import { openLog } from "../runtime/log.ts";
import type { Farewell } from "../step.ts";

import { openDaemon } from "./daemon.ts";
import { forgetOffline, initOffline, joinOffline, type Place } from "./offline.ts";
import type { Opening, TrustPace } from "./options.ts";

/** What was given on the command line in place of configuration. */
export interface Flags {
  readonly file: string | null;
  readonly values: Readonly<Record<string, string>>;
}

/** The process around a daemon. */
export interface Process extends Surroundings {
  readonly version: string;
  readonly exit: (status: number) => void;
  /** For tests; see TrustPace. */
  readonly pace?: TrustPace;
}

/** Why a daemon is closed, and what comes after it. */
type End =
  | { readonly kind: "stop"; readonly why: string; readonly farewell: Farewell }
  | { readonly kind: "anew"; readonly opening: Opening };

/** Runs a daemon until a signal ends it. @returns the exit status @throws Failure when it cannot start */
export async function runDaemon(flags: Flags, process_: Process): Promise<number> {
  const load = (): LoadedConfig =>
    loadConfig({ surroundings: process_, file: flags.file, flags: flags.values });
  const { config, changedAtMs: configChangedAtMs } = load();
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
  const { env, version, pace = {} } = process_;
  const given = { configChangedAtMs, env, version, socket: socketOf(config, process_), log, pace };
  const { stopping, onAnew } = ends;
  const onLeave = (): void => ends.stop("skein leave", "left");
  let running = config;
  for (let opening: Opening = { kind: "usual" }; ;) {
    const daemon = await openDaemon({ ...given, config: running, opening, stopping, onLeave, onAnew });
    if (daemon === null) break;
    reload = () => {
      try {
        const next = load().config;
        daemon.reload(next);
        // What counts only from an opening on stays as it was: a port that moved would surprise.
        running = { ...running, services: next.services, health: next.health, log: next.log };
        log.info("configuration reloaded: services, health and log level");
      } catch (thrown) {
        log.error(`configuration not reloaded, the running one stays: ${textOf(thrown)}`);
      }
    };
    const end = await ends.next();
    const isLast = end.kind === "stop";
    log.info(isLast ? `${end.why}: draining, then stopping` : "opening anew: draining, then closing");
    await daemon.close(isLast ? end.farewell : "away");
    if (isLast) break;
    opening = end.opening;
  }
  log.info("stopped");
  // A probe that waits for its answer must not hold up the end: all that matters is closed.
  process_.exit(0);
  return 0;
}

/** Why daemons of this process end, one after the other. A stop outranks an opening anew, and is never forgotten. */
function openEnds(): {
  readonly stop: (why: string, farewell: Farewell) => void;
  readonly onAnew: (opening: Opening) => void;
  readonly next: () => Promise<End>;
  /** Aborted with the stop. */
  readonly stopping: AbortSignal;
} {
  const stopped = Promise.withResolvers<End>();
  const stopping = new AbortController();
  let anew = Promise.withResolvers<End>();
  return {
    stop(why, farewell) {
      stopped.resolve({ kind: "stop", why, farewell });
      stopping.abort();
    },
    onAnew: (opening) => anew.resolve({ kind: "anew", opening }),
    async next() {
      const end = await Promise.race([stopped.promise, anew.promise]);
      anew = Promise.withResolvers<End>();
      return end;
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
