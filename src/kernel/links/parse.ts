/**
 * Parse: what `ip -j` and `bridge -j` tell, as the things of ours that are among it.
 *
 * These programs print every address and route of the host, in a form that grew: a length is left out where it is
 * whole, a default has a word of its own, and numbers are texts. Here it becomes the same values that a plan has, and
 * what is not ours is left out, so that a difference is one.
 *
 * Pure. iproute.ts asks.
 */

import { failed, success, type Result } from "../../base/failure.ts";
import { ROUTE_PROTOCOL, VXLAN_PORT } from "../names.ts";

import { REFUSING_METRIC, MAIN_TABLE, RULES_FIRST, RULES_LAST, TABLES_FIRST, TABLES_LAST } from "./state.ts";
import { type DeviceAddress, type ForwardEntry, type Neighbour, type Route, type Rule } from "./state.ts";
import type { RuleAction, VxlanDevice } from "./state.ts";

/** One object of such a listing. */
type Line = Readonly<Record<string, unknown>>;

const VXLAN_NAME = /^sk-vx\d{1,8}$/;
const OURS = /^sk-[a-z0-9-]{1,12}$/;

/** Parses a listing: an array of objects; nothing at all where there is nothing to tell. */
function linesOf(text: string): Result<readonly Line[]> {
  if (text.trim() === "") return success([]);
  try {
    const parsed: unknown = JSON.parse(text);
    if (Array.isArray(parsed)) return success(parsed.filter(isLine));
  } catch {
    // Told below: what it was does not matter.
  }
  return failed("invalid", `a listing begins with "${text.slice(0, 40)}"; expected a JSON array`);
}

/** Our VXLAN devices of `ip -j -d link show type vxlan`. */
export function parseDevices(text: string): Result<readonly VxlanDevice[]> {
  return each(text, (line) => {
    const name = textIn(line, "ifname");
    if (!VXLAN_NAME.test(name)) return [];
    const about = lineIn(lineIn(line, "linkinfo"), "info_data");
    const flags = line["flags"];
    const device: VxlanDevice = {
      kind: "device",
      name,
      vni: numberIn(about, "id") ?? 0,
      mac: textIn(line, "address"),
      local: textOrNull(about, "local"),
      lower: textOrNull(about, "link"),
      port: numberIn(about, "port") ?? VXLAN_PORT,
      mtu: numberIn(line, "mtu") ?? 0,
      learning: about["learning"] !== false,
      hasDefault: "group" in about || "remote" in about || "group6" in about || "remote6" in about,
      isUp: Array.isArray(flags) && flags.includes("UP"),
    };
    return [device];
  });
}

/** IPv4 addresses of our VXLAN devices of `ip -4 -j addr show type vxlan`. */
export function parseAddresses(text: string): Result<readonly DeviceAddress[]> {
  return each(text, (line) => {
    const device = textIn(line, "ifname");
    const addresses: unknown = line["addr_info"];
    if (!VXLAN_NAME.test(device) || !Array.isArray(addresses)) return [];
    return addresses
      .filter(isLine)
      .map((one) => ({ kind: "address", device, address: textIn(one, "local") }));
  });
}

/** Entries of our VXLAN devices of `bridge -j fdb show`. */
export function parseEntries(text: string): Result<readonly ForwardEntry[]> {
  return each(text, (line) => {
    const device = textIn(line, "ifname");
    const to = textIn(line, "dst");
    if (!VXLAN_NAME.test(device) || to === "") return [];
    return [{ kind: "entry", device, mac: textIn(line, "mac"), to }];
  });
}

/** Permanent neighbours on our VXLAN devices of `ip -j neigh show nud permanent`. */
export function parseNeighbours(text: string): Result<readonly Neighbour[]> {
  return each(text, (line) => {
    const device = textIn(line, "dev");
    if (!VXLAN_NAME.test(device)) return [];
    return [{ kind: "neighbour", device, address: textIn(line, "dst"), mac: textIn(line, "lladdr") }];
  });
}

/** Our routes of `ip -j route show table all proto ...` of one family. */
export function parseRoutes(text: string, family: 4 | 6): Result<readonly Route[]> {
  return each(text, (line) => {
    const table = tableIn(line);
    const metric = numberIn(line, "metric") ?? 0;
    const leads = !["unreachable", "7"].includes(textIn(line, "type"));
    const device = textOrNull(line, "dev");
    // Somebody else may have chosen our number.
    const isOurs = leads ? OURS.test(device ?? "") : metric === REFUSING_METRIC;
    if (table === undefined || !isOurTable(table) || !isOurs) return [];
    const route: Route = {
      kind: "route",
      to: wholePrefix(textIn(line, "dst"), family),
      table,
      metric,
      leads,
      via: textOrNull(line, "gateway"),
      device: leads ? device : null,
      source: textOrNull(line, "prefsrc"),
      mtu: mtuIn(line),
    };
    return [route];
  });
}

/** Our rules of `ip -j -N rule show` of one family. */
export function parseRules(text: string, family: 4 | 6): Result<readonly Rule[]> {
  return each(text, (line) => {
    const preference = numberIn(line, "priority") ?? 0;
    const action = actionOf(line);
    const isOurs = textIn(line, "protocol") === String(ROUTE_PROTOCOL);
    if (!isOurs || preference < RULES_FIRST || preference > RULES_LAST || action === null) return [];
    const value = hexIn(line, "fwmark");
    const mark = value === null ? null : { value, mask: hexIn(line, "fwmask") ?? 0xffff_ffff };
    const device = textOrNull(line, "iif");
    return [{ kind: "rule", family, preference, inverts: "not" in line, mark, device, action }];
  });
}

function actionOf(line: Line): RuleAction | null {
  if ("nop" in line) return { kind: "nop" };
  const preference = numberIn(line, "goto");
  if (preference !== null) return { kind: "goto", preference };
  const table = tableIn(line);
  return table === undefined ? null : { kind: "table", table: table ?? MAIN_TABLE };
}

/** The number of a table; null for the main one; undefined for one with a name, which is not ours. */
function tableIn(line: Line): number | null | undefined {
  const table = textIn(line, "table");
  if (table === "" || table === "main" || table === "254") return null;
  return /^\d{1,10}$/.test(table) ? Number(table) : undefined;
}

function isOurTable(table: number | null): boolean {
  return table === null || (table >= TABLES_FIRST && table <= TABLES_LAST);
}

function wholePrefix(text: string, family: 4 | 6): string {
  if (text === "default") return family === 4 ? "0.0.0.0/0" : "::/0";
  if (text.includes("/")) return text;
  return `${text}/${family === 4 ? 32 : 128}`;
}

/** Metrics are a list of one object, or of one for each. */
function mtuIn(line: Line): number | null {
  const metrics: unknown = line["metrics"];
  if (!Array.isArray(metrics)) return null;
  const found = metrics.filter(isLine).map((metric) => numberIn(metric, "mtu"));
  return found.find((mtu) => mtu !== null) ?? null;
}

function each<T>(text: string, read: (line: Line) => readonly T[]): Result<readonly T[]> {
  const lines = linesOf(text);
  return lines.ok ? success(lines.value.flatMap(read)) : lines;
}

function isLine(value: unknown): value is Line {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function lineIn(line: Line, key: string): Line {
  const value = line[key];
  return isLine(value) ? value : {};
}

function textIn(line: Line, key: string): string {
  const value = line[key];
  return typeof value === "string" ? value : typeof value === "number" ? String(value) : "";
}

function textOrNull(line: Line, key: string): string | null {
  const text = textIn(line, key);
  return text === "" ? null : text;
}

function numberIn(line: Line, key: string): number | null {
  const value = line[key];
  return typeof value === "number" ? value : null;
}

function hexIn(line: Line, key: string): number | null {
  const text = textIn(line, key);
  return /^0x[0-9a-f]{1,8}$/.test(text) ? Number.parseInt(text, 16) : null;
}
