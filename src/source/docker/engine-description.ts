/**
 * Engine description: what Docker says of itself in `GET /version` and `GET /info`, checked field by field.
 *
 * For people only: `doctor` tells it, and nothing is decided by it. What an engine leaves out is empty or null here.
 *
 * Pure. client.ts fetches the replies.
 */

import { parsePrefix } from "../../base/ip.ts";
import type { EngineDescription } from "../../model/engine.ts";

import { fieldsOf, listFrom, textFrom } from "./fields.ts";

/** Longer is no version and no name of a system. */
const TEXT_MAX = 80;

/** Reads both replies. */
export function descriptionFrom(versionReply: unknown, infoReply: unknown): EngineDescription {
  const version = fieldsOf(versionReply);
  const told = fieldsOf(infoReply);
  const liveRestore = told["LiveRestoreEnabled"];
  const pools = listFrom(told["DefaultAddressPools"]).map((pool) => textFrom(fieldsOf(pool)["Base"]));
  return {
    version: short(version["Version"]),
    api: short(version["ApiVersion"]),
    operatingSystem: short(told["OperatingSystem"]),
    firewall: short(fieldsOf(told["FirewallBackend"])["Driver"]),
    liveRestore: typeof liveRestore === "boolean" ? liveRestore : null,
    isRootless: listFrom(told["SecurityOptions"]).some((option) => textFrom(option).includes("rootless")),
    inSwarm: textFrom(fieldsOf(told["Swarm"])["LocalNodeState"]) === "active",
    pools: pools.filter((base) => parsePrefix(base).ok).slice(0, 64),
  };
}

function short(value: unknown): string {
  return textFrom(value).slice(0, TEXT_MAX);
}
