/**
 * Answer: what a question deserves, given the zone and who asks.
 *
 * Three rules stand against each other, and this file is where they meet. People type short names, in any of their
 * forms. Names of networks that the asker is not on must not show, and own names must not leave for an upstream. And a
 * foreign name must never be captured: service and network names are chosen by users, and `app` and `dev` are also
 * top-level domains. Hence:
 *
 * - Below the domain everything is ours: found, or NXDOMAIN, never forwarded.
 * - Elsewhere a name of several labels is ours only if the asker sees exactly it; `x.app` is not ours because there
 *   is a service `app`.
 * - A single label is ours, too, when any network of the cluster has it: NXDOMAIN to those who may not see it.
 *
 * Pure. The server forwards where the answer says so, packet.ts makes bytes of the rest.
 */

import { failed, success, type Result } from "../base/failure.ts";
import { isIpv6 } from "../base/ip.ts";
import { seededRandom, shuffled, type Random } from "../base/random.ts";
import { DEFAULT_NETWORK } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";

import { CLASS_IN, isMetaType, TYPE, typeCodeOf, typeNameOf, type RcodeName } from "./codes.ts";
import { contentText, type DnsRecord } from "./records.ts";
import { NODE_LABEL, type AddressSet, type Zone, type ZoneService } from "./zone.ts";

/** Who asks: a process on a host sees all networks, a container those it is on, its own first. */
export type Asker =
  | { readonly kind: "host" }
  | { readonly kind: "container"; readonly networks: readonly string[] };

/** A question as it was asked: `name` in its own case, without a dot at the end, odd bytes as `\DDD`. */
export interface Question {
  readonly name: string;
  readonly typeCode: number;
  readonly classCode: number;
}

/** Our answer. An error or an empty answer about our names has the zone's SOA in `authority` (RFC 2308 2). */
export interface OwnAnswer {
  readonly kind: "own";
  readonly rcode: RcodeName;
  readonly authoritative: boolean;
  readonly records: readonly DnsRecord[];
  readonly authority: readonly DnsRecord[];
  /** Addresses of names in `records`, as far as there is room for them (RFC 2181 9: never a reason to truncate). */
  readonly additional: readonly DnsRecord[];
  /**
   * What of the zone the answer was made from: while a newer zone leads the same question to the same object, the
   * answer holds as it is. Null where it depends on the zone as a whole (anything with an SOA).
   */
  readonly basis: object | null;
}

/** What becomes of a question: we answer it, or somebody upstream does. */
export type Answer = OwnAnswer | { readonly kind: "forward" };

/** For secondaries, of which we have none (transfers are refused); checkers want them plausible (RFC 1912 2.2). */
const SOA_TIMES = { refreshSeconds: 3600, retrySeconds: 600, expireSeconds: 86_400 };

const REFUSED: OwnAnswer = {
  kind: "own",
  rcode: "REFUSED",
  authoritative: false,
  records: [],
  authority: [],
  additional: [],
  basis: null,
};

/**
 * Answers one question.
 *
 * Several addresses come shuffled, and at most `LIMITS.dnsRecordsMax` of them. ANY gets one record set (RFC 8482 4.1).
 * Other classes than IN and transfers are refused, whoever's name it is.
 */
export function answer(zone: Zone, question: Question, asker: Asker, random: Random): Answer {
  if (question.classCode !== CLASS_IN || isMetaType(question.typeCode)) return REFUSED;
  const name = question.name.toLowerCase();
  if (name === zone.domain) return answerApex(zone, question);
  const below = name.endsWith(`.${zone.domain}`);
  const relative = below ? name.slice(0, -zone.domain.length - 1) : name;
  const found = (below ? findNode(zone, relative) : null) ?? findService(zone, relative, asker);
  if (found !== null) return answerFound(zone, question, found, random);
  if (below) return hasNamesBelow(zone, relative, asker) ? noRecords(zone) : noSuchName(zone);
  const isOwnLabel = !relative.includes(".") && zone.servicesByName.has(relative);
  return isOwnLabel ? noSuchName(zone) : { kind: "forward" };
}

/** What `skein resolve` shows; `rcode` is `FORWARD` for a name that is answered upstream. */
export interface Explanation {
  readonly name: string;
  readonly type: string;
  readonly rcode: RcodeName | "FORWARD";
  readonly answers: readonly { readonly type: string; readonly ttl: number; readonly data: string }[];
}

/**
 * Explains what DNS would answer, and to whom; by the same `answer` that DNS uses.
 *
 * @param type  `A`, `aaaa`, `TYPE64`; other text is a failure with code `usage`
 */
export function explainAnswer(zone: Zone, name: string, type: string, asker: Asker): Result<Explanation> {
  const typeCode = typeCodeOf(type);
  if (typeCode === null)
    return failed("usage", `record type is "${type}"; expected one such as A, AAAA, SOA`);
  const asked = name.replace(/\.$/, "");
  if (asked.length > LIMITS.nameBytes || asked.split(".").some((label) => label.length > LIMITS.labelBytes)) {
    const expected = `expected labels of at most ${LIMITS.labelBytes} bytes, ${LIMITS.nameBytes} in all`;
    return failed("usage", `name is "${name.slice(0, LIMITS.nameBytes)}"; ${expected}`);
  }
  // One seed for all: people compare, so the order is the same each time.
  const given = answer(zone, { name: asked, typeCode, classCode: CLASS_IN }, asker, seededRandom(0));
  const named = { name: asked, type: typeNameOf(typeCode) };
  if (given.kind === "forward") return success({ ...named, rcode: "FORWARD", answers: [] });
  const answers = given.records.map((record) => {
    return { type: record.type, ttl: record.ttlSeconds, data: contentText(record) };
  });
  return success({ ...named, rcode: given.rcode, answers });
}

/** Addresses that a name leads to, or the reason why it leads nowhere although somebody has it. */
type Found =
  | { readonly kind: "addresses"; readonly set: AddressSet; readonly ttlSeconds: number }
  | { readonly kind: "ambiguous" };

/** `<node>.node`; it outranks a service of that name in a network called `node`. */
function findNode(zone: Zone, relative: string): Found | null {
  const [node = "", below, ...rest] = relative.split(".");
  if (below !== NODE_LABEL || rest.length > 0) return null;
  const set = zone.addressesByNode.get(node);
  return set === undefined ? null : { kind: "addresses", set, ttlSeconds: zone.ttlSeconds };
}

/** A service's name in any form, `<name>.<network>` before `<name>` in whatever network the asker means by it. */
function findService(zone: Zone, relative: string, asker: Asker): Found | null {
  const dot = relative.lastIndexOf(".");
  const network = relative.slice(dot + 1);
  const qualified =
    dot > 0 && sees(asker, network) ? findNamed(zone, relative.slice(0, dot), inNetwork(network)) : null;
  return qualified ?? findNamed(zone, relative, inSight(asker));
}

/** Which of the services that share a name is meant; undefined when none is. */
type Choose = (holders: readonly ZoneService[]) => ZoneService | "ambiguous" | undefined;

function inNetwork(network: string): Choose {
  return (holders) => holders.find((holder) => holder.network === network);
}

/** The asker's own network first; then the only other one it sees that has the name. */
function inSight(asker: Asker): Choose {
  const own = asker.kind === "host" ? DEFAULT_NETWORK : asker.networks[0];
  return (holders) => {
    const seen = holders.filter((holder) => sees(asker, holder.network));
    return seen.find((holder) => holder.network === own) ?? (seen.length > 1 ? "ambiguous" : seen[0]);
  };
}

function sees(asker: Asker, network: string): boolean {
  return asker.kind === "host" || asker.networks.includes(network);
}

/** `tasks.<name>`, `<name>`, `<replica>.<name>`, `<slot>.<name>`, in this order where several could be meant. */
function findNamed(zone: Zone, name: string, choose: Choose): Found | null {
  const holder = (key: string): ReturnType<Choose> => choose(zone.servicesByName.get(key) ?? []);
  const dot = name.indexOf(".");
  const head = dot === -1 ? "" : name.slice(0, dot);
  const parent = dot === -1 ? undefined : holder(name.slice(dot + 1));
  if (head === "tasks" && parent !== undefined) {
    if (parent === "ambiguous") return { kind: "ambiguous" };
    return { kind: "addresses", set: parent.tasks, ttlSeconds: zone.ttlSeconds };
  }
  const whole = holder(name);
  if (whole === "ambiguous") return { kind: "ambiguous" };
  if (whole !== undefined) return { kind: "addresses", set: whole.addresses, ttlSeconds: whole.ttlSeconds };
  // Not "ambiguous" here: whether such a copy exists at all would depend on which service is meant.
  if (parent === undefined || parent === "ambiguous") return null;
  const set = instancesOf(parent, head);
  return set === null ? null : { kind: "addresses", set, ttlSeconds: zone.ttlSeconds };
}

/** Copies called `label`; null when there is none. Names outrank slots: a container may be called `2`. */
function instancesOf(service: ZoneService, label: string): AddressSet | null {
  const named = service.instances.filter((instance) => instance.name === label);
  const bySlot = service.instances.filter(({ slot }) => slot !== null && String(slot) === label);
  const chosen = named.length > 0 ? named : bySlot;
  if (chosen.length === 0) return null;
  const addresses = [...new Set(chosen.map((instance) => instance.address))];
  return { v4: addresses.filter((address) => !isIpv6(address)), v6: addresses.filter(isIpv6) };
}

/**
 * True for a name without records of its own and with names below it: `<network>`, `<stack>`, `<stack>.<network>`,
 * `node`. It exists (RFC 8020 2): with NXDOMAIN a resolver may give up all that is below.
 */
function hasNamesBelow(zone: Zone, relative: string, asker: Asker): boolean {
  if (relative === NODE_LABEL || (zone.networks.has(relative) && sees(asker, relative))) return true;
  const [stack = "", network, ...rest] = relative.split(".");
  const networks = zone.networksByStack.get(stack);
  if (networks === undefined || rest.length > 0) return false;
  if (network !== undefined) return networks.has(network) && sees(asker, network);
  return [...networks].some((one) => sees(asker, one));
}

function answerApex(zone: Zone, question: Question): OwnAnswer {
  const { typeCode, name } = question;
  if (typeCode === TYPE.SOA || typeCode === TYPE.ANY) return records([soaOf(zone, name, zone.ttlSeconds)]);
  if (typeCode !== TYPE.NS) return noRecords(zone);
  return records([{ name, ttlSeconds: zone.ttlSeconds, type: "NS", target: zone.primary }]);
}

function answerFound(zone: Zone, question: Question, found: Found, random: Random): OwnAnswer {
  if (found.kind === "ambiguous") return noSuchName(zone);
  const { v4, v6 } = found.set;
  const type = familyAsked(question.typeCode, found.set);
  const addresses = type === "A" ? v4 : type === "AAAA" ? v6 : [];
  const { ttlSeconds } = found;
  // What is not to be kept when there is an answer (a service that awaits its VIP) is not when there is none either.
  if (type === null || addresses.length === 0)
    return noRecords(zone, Math.min(ttlSeconds, zone.negativeTtlSeconds));
  const { name } = question;
  const order = addresses.length === 1 ? addresses : shuffled(random, addresses);
  const told = order.slice(0, LIMITS.dnsRecordsMax);
  return records(
    told.map((address) => ({ name, ttlSeconds, type, address })),
    found.set,
  );
}

function familyAsked(typeCode: number, set: AddressSet): "A" | "AAAA" | null {
  if (typeCode === TYPE.A) return "A";
  if (typeCode === TYPE.AAAA) return "AAAA";
  if (typeCode !== TYPE.ANY) return null;
  return set.v4.length > 0 ? "A" : "AAAA";
}

function records(list: readonly DnsRecord[], basis: object | null = null): OwnAnswer {
  return {
    kind: "own",
    rcode: "NOERROR",
    authoritative: true,
    records: list,
    authority: [],
    additional: [],
    basis,
  };
}

/** The name is there, records of that type are not: NOERROR (musl takes NXDOMAIN to AAAA for "no A either"). */
function noRecords(zone: Zone, ttlSeconds: number = zone.negativeTtlSeconds): OwnAnswer {
  return { ...records([]), authority: [soaOf(zone, zone.domain, ttlSeconds)] };
}

/**
 * There is no such name; or it is not known yet: a daemon that has just started must not say "no" for a service that
 * its peers are about to tell of, since clients take NXDOMAIN for final and try another server after SERVFAIL.
 */
function noSuchName(zone: Zone): OwnAnswer {
  return { ...noRecords(zone), rcode: zone.complete ? "NXDOMAIN" : "SERVFAIL" };
}

function soaOf(zone: Zone, name: string, ttlSeconds: number): DnsRecord {
  const { primary, serial, negativeTtlSeconds } = zone;
  const contact = `hostmaster.${zone.domain}`;
  const minimumSeconds = negativeTtlSeconds;
  return { name, ttlSeconds, type: "SOA", primary, contact, serial, ...SOA_TIMES, minimumSeconds };
}
