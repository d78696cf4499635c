/**
 * Render: a command as a line for `ip -batch` or `bridge -batch`.
 *
 * A line of a batch is split at spaces, as a shell's would be, and what is in it came partly from other members. So
 * every word is checked here once more, whoever made the plan: an address is one, a device is one of ours. What does
 * not pass was a fault of ours further up, and stops the daemon's change before any line is written.
 *
 * Pure. iproute.ts runs the programs.
 */

import { isIP } from "node:net";

import { Failure } from "../../base/failure.ts";
import { ROUTE_PROTOCOL } from "../names.ts";

import { type LinkCommand, type LinkThing, type Route, type Rule, type VxlanDevice } from "./state.ts";

/** One line of a batch. */
export interface BatchLine {
  /** Which batch it is for: `ip -4`, `ip -6` or `bridge`. */
  readonly batch: "ip4" | "ip6" | "bridge";
  readonly text: string;
}

const DEVICE = /^sk-[a-z0-9-]{1,12}$/;
/** The device that a rule says for what this host itself sends (ip-rule(8)). */
const OWN_PACKETS = "lo";
const MAC = /^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/;

/** The lines of a command, in their order. @throws Failure `invalid` for what cannot be written safely */
export function renderCommand({ verb, thing }: LinkCommand): readonly BatchLine[] {
  const isRemoval = verb === "remove";
  switch (thing.kind) {
    case "device":
      return deviceLines(verb, thing).map((text) => ({ batch: "ip4", text }));
    case "address": {
      const words = ["addr", isRemoval ? "del" : "add", `${address(thing.address)}/32`];
      return [{ batch: "ip4", text: [...words, "dev", device(thing.device)].join(" ") }];
    }
    case "entry": {
      const words = ["fdb", isRemoval ? "del" : "replace", mac(thing.mac), "dev", device(thing.device)];
      return [{ batch: "bridge", text: [...words, "dst", address(thing.to), "self"].join(" ") }];
    }
    case "neighbour": {
      const key = [address(thing.address), "dev", device(thing.device)];
      const words = isRemoval
        ? ["neigh", "del", ...key]
        : ["neigh", "replace", ...key, "lladdr", mac(thing.mac), "nud", "permanent"];
      return [{ batch: familyOf(thing), text: words.join(" ") }];
    }
    case "route":
      return [{ batch: familyOf(thing), text: routeWords(verb, thing).join(" ") }];
    case "rule":
      return [{ batch: familyOf(thing), text: ruleWords(isRemoval ? "del" : "add", thing).join(" ") }];
  }
}

function deviceLines(verb: LinkCommand["verb"], thing: VxlanDevice): readonly string[] {
  const name = device(thing.name);
  if (verb === "remove") return [`link del dev ${name}`];
  const mtu = ["mtu", number(thing.mtu)];
  // Not the address, though it is the same: being told it makes the kernel forget the device's neighbours.
  if (verb === "replace") return [["link set dev", name, ...mtu, "up"].join(" ")];
  const kind = ["type vxlan id", number(thing.vni), "dstport", number(thing.port), "nolearning"];
  const local = thing.local === null ? [] : ["local", address(thing.local)];
  const lower = thing.lower === null ? [] : ["dev", device(thing.lower)];
  return [
    ["link add", name, "address", mac(thing.mac), ...mtu, ...kind, ...local, ...lower].join(" "),
    ["link set dev", name, "up"].join(" "),
  ];
}

/** A new route is added, not put: one in its place that is not ours must not be lost. */
function routeWords(verb: LinkCommand["verb"], thing: Route): readonly string[] {
  const action = { add: "add", replace: "replace", remove: "del" }[verb];
  const words = ["route", action, ...(thing.leads ? [] : ["unreachable"]), prefix(thing.to)];
  if (thing.via !== null) words.push("via", address(thing.via));
  if (thing.device !== null) words.push("dev", device(thing.device));
  // The far end of a tunnel lies in no network of the device; in IPv6 it is a link-local address, which always does.
  if (thing.via !== null && isIP(thing.via) === 4) words.push("onlink");
  if (thing.source !== null) words.push("src", address(thing.source));
  if (thing.table !== null) words.push("table", number(thing.table));
  if (thing.metric !== 0) words.push("metric", number(thing.metric));
  if (thing.mtu !== null) words.push("mtu", number(thing.mtu));
  return [...words, "proto", String(ROUTE_PROTOCOL)];
}

function ruleWords(action: "add" | "del", thing: Rule): readonly string[] {
  const words = ["rule", action, "pref", number(thing.preference)];
  if (thing.inverts) words.push("not");
  if (thing.device !== null)
    words.push("iif", thing.device === OWN_PACKETS ? OWN_PACKETS : device(thing.device));
  if (thing.mark !== null) words.push("fwmark", `${hex(thing.mark.value)}/${hex(thing.mark.mask)}`);
  return [...words, ...actionWords(thing), "protocol", String(ROUTE_PROTOCOL)];
}

function actionWords({ action }: Rule): readonly string[] {
  switch (action.kind) {
    case "goto":
      return ["goto", number(action.preference)];
    case "table":
      return ["table", number(action.table)];
    case "nop":
      return ["nop"];
  }
}

/** The family of a thing that has one: of its address, or said. */
export function familyOf(thing: Extract<LinkThing, { kind: "neighbour" | "route" | "rule" }>): "ip4" | "ip6" {
  if (thing.kind === "rule") return thing.family === 4 ? "ip4" : "ip6";
  return (thing.kind === "route" ? thing.to : thing.address).includes(":") ? "ip6" : "ip4";
}

function device(text: string): string {
  return checked(text, DEVICE.test(text), "a device of ours, sk-...");
}

function mac(text: string): string {
  return checked(text, MAC.test(text), "an Ethernet address");
}

function address(text: string): string {
  return checked(text, isIP(text) !== 0 && !text.includes("%"), "an address");
}

function prefix(text: string): string {
  const [first = "", bits = "", ...rest] = text.split("/");
  const family = isIP(first);
  const isLength = /^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128);
  return checked(text, family !== 0 && !first.includes("%") && isLength && rest.length === 0, "a prefix");
}

function number(value: number): string {
  return checked(
    String(value),
    Number.isInteger(value) && value >= 0 && value < 2 ** 32,
    "a number of 32 bits",
  );
}

function hex(value: number): string {
  return `0x${Number(number(value)).toString(16)}`;
}

function checked(text: string, isRight: boolean, expected: string): string {
  if (!isRight) throw new Failure("invalid", `a link has "${text.slice(0, 64)}"; expected ${expected}`);
  return text;
}
