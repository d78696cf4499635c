/**
 * Doctor without a daemon: looks at what a start would need, in the process of the command.
 *
 * Nothing is opened, made or locked: whoever asks may do so while a daemon is on its way up. Ports are looked up, not
 * tried, for a trial could take somebody's connections (runtime/sharing.ts).
 *
 * Touches: the configuration's sources; /proc; what doctor-host.ts touches.
 */

import { DEFAULT_ENGINE_POOLS } from "../admin/checks/engine.ts";
import { judgeStart, type Absence, type PlaceFacts, type StartFacts } from "../admin/checks/start.ts";
import type { RangeFacts } from "../admin/checks/ranges.ts";
import type { DoctorReport } from "../admin/contract-doctor.ts";
import { textOf } from "../base/failure.ts";
import { overlaps, parsePrefix, renderHostPort, type Prefix } from "../base/ip.ts";
import { loadConfig, type LoadedConfig, type Surroundings } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { detectKernel } from "../kernel/detect.ts";
import { observeOwnDevices, observePrefixes } from "../kernel/observe.ts";
import { chooseVipPool } from "../kernel/pool.ts";
import { survey } from "../runtime/sharing.ts";

import type { Flags } from "./command.ts";
import { engineFacts, hostFacts, needsOf, placesOf } from "./doctor-host.ts";

/** A command does not wait as long for programs as a start does. */
const DETECT_MS = 2000;

/** Looks at a host on which no daemon answers. Never rejects. */
export async function examineHost(
  { file, values }: Flags,
  surroundings: Surroundings,
  absence: Absence,
): Promise<DoctorReport> {
  // The socket that was asked in vain is no matter of the configuration's.
  const { "admin.socket": _, ...flags } = values;
  let loaded: LoadedConfig;
  try {
    loaded = loadConfig({ surroundings, file, flags });
  } catch (thrown) {
    return judgeStart({ absence, file, mistakes: textOf(thrown), start: null });
  }
  const start = await startFacts(loaded.config, surroundings.env);
  return judgeStart({ absence, file: loaded.file, mistakes: null, start });
}

async function startFacts(config: Config, env: NodeJS.ProcessEnv): Promise<StartFacts> {
  const [host, engine, places, { pool }] = await Promise.all([
    hostFacts(config, null),
    engineFacts(config, env),
    placeFacts(config),
    chooseVipPool(config.vip.pool === "auto" ? null : config.vip.pool),
  ]);
  const overlayPool = config.overlay.pool;
  const told = engine.kind === "there" ? engine.description.pools : [];
  const ranges: RangeFacts = {
    vipPool: pool,
    overlayPool,
    enginePools: engine.kind === "there" && told.length === 0 ? DEFAULT_ENGINE_POOLS : told,
    members: [{ name: config.node.name, state: "alive", prefixes: await foreignPrefixes(pool, overlayPool) }],
    networks: [],
    tellsVips: true,
  };
  return { host, needs: needsOf(config), engine, dataPlane: await planeOf(config, pool), places, ranges };
}

/** What a daemon would decide (kernel-ground.ts), by the same look. */
async function planeOf({ dataplane, vip }: Config, pool: Prefix): Promise<StartFacts["dataPlane"]> {
  if (dataplane.mode === "proxy") return { mode: "proxy", reason: "configured" };
  const deadlinesMs = [DETECT_MS];
  const { isPossible, reason } = await detectKernel({ pool, listensOnVips: vip.listen, deadlinesMs });
  return { mode: isPossible ? "kernel" : "proxy", reason };
}

/** What this host has routes to, but for those that a daemon left here on purpose when it stopped. */
async function foreignPrefixes(pool: Prefix, overlayPool: Prefix): Promise<readonly string[]> {
  const [prefixes, own] = await Promise.all([
    observePrefixes([pool, overlayPool]).catch(() => []),
    observeOwnDevices(),
  ]);
  if (own.size === 0) return prefixes;
  return prefixes.filter((text) => {
    const parsed = parsePrefix(text);
    return parsed.ok && !overlaps(parsed.value, overlayPool);
  });
}

async function placeFacts(config: Config): Promise<readonly PlaceFacts[]> {
  const seen = await survey();
  const places = placesOf(config).map(async ({ key, at, transport, isVital }) => {
    const holder = await seen.holderOf(at, transport);
    return { key, place: `${renderHostPort(at)}/${transport}`, holder, isVital };
  });
  return await Promise.all(places);
}
