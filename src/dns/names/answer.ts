/**
 * Answer: the records that a question deserves, given the zone and who asks.
 *
 * Every answer is one record set of the name that was asked for, or none: then the zone's SOA tells how long that may
 * be remembered (RFC 2308). What a name means is decided elsewhere; here it is only said in records, so that a name has
 * all the types that make sense for it and any other type is an empty answer, never an error.
 *
 * An answer knows what of the zone it was made from, its basis. The same steps lead to the basis without making the
 * records: that is how the cache learns, after a change elsewhere, that its answer still holds.
 *
 * Pure. lookup.ts and reverse.ts find meanings; the server forwards where the answer says so, encode.ts makes bytes.
 */

import { sampled, type Random } from "../../base/random.ts";
import { LIMITS } from "../../model/limits.ts";

import { CLASS_CH, CLASS_IN, isMetaType, TYPE, type RcodeName } from "../codes.ts";

import { addressesOfCopy, addressSet, type AddressSet, type Instance, type Listening } from "./entry.ts";
import {
  copyNames,
  hasLongNames,
  isStackToo,
  isTellable,
  lookUp,
  type Asker,
  type Meaning,
  type ServiceMeaning,
} from "./lookup.ts";
import type { DnsRecord, RecordContent } from "./records.ts";
import { lookUpReverse, type ReverseMeaning } from "./reverse.ts";
import type { Absence, Zone } from "./zone.ts";

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
   * answer holds as it is, but for the serial of an SOA in its authority. Null where it depends on the zone as a whole.
   */
  readonly basis: object | null;
  /** True where these are some of the records, drawn at random: another time they should be others. */
  readonly isSample: boolean;
}

/** How an answer is put together. */
export interface Draw {
  readonly random: Random;
  /** What fits; records that could not are not made. */
  readonly sizeBytesMax: number;
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
  isSample: false,
};

/**
 * Answers one question.
 *
 * Records come shuffled; where there are more than fit, hardly more than fit are made. ANY gets one record set (RFC
 * 8482 4.1). In the class CH this server tells of itself (RFC 4892). Other classes and transfers are refused, whoever's
 * name it is.
 */
export function answer(zone: Zone, question: Question, asker: Asker, draw: Draw): Answer {
  const { name, typeCode, classCode } = question;
  if (isMetaType(typeCode)) return REFUSED;
  if (classCode === CLASS_CH) return aboutServer(zone, question);
  if (classCode !== CLASS_IN) return REFUSED;
  const meaning = meaningOf(zone, name, asker);
  if (meaning.kind === "foreign") return { kind: "forward" };
  const set = recordSetOf(zone, meaning, typeCode);
  if (set === null) {
    // Who has an address is found by looking through the zone, which costs as much as the answer.
    const basis = meaning.kind === "reverse" ? null : absenceOf(zone, meaning);
    return { ...withoutRecords(zone, meaning, name), basis };
  }
  return { ...written(zone, set, { ...draw, name }), basis: set.basis };
}

/**
 * The basis that an answer to this question would have, without making it; null also where nothing is answered.
 */
export function basisOf(zone: Zone, question: Question, asker: Asker): object | null {
  const { name, typeCode, classCode } = question;
  if (classCode !== CLASS_IN || isMetaType(typeCode)) return null;
  // Their answers are made from the zone as a whole, and looking them up costs more than all else.
  if (name.toLowerCase().endsWith(".arpa")) return null;
  const meaning = meaningOf(zone, name, asker);
  if (meaning.kind === "foreign") return null;
  const set = recordSetOf(zone, meaning, typeCode);
  return set === null ? absenceOf(zone, meaning) : set.basis;
}

/** Whether a question goes elsewhere whoever asks: it is foreign to a process of the host, who sees all names. */
export function isForeign(zone: Zone, { name, typeCode, classCode }: Question): boolean {
  if (classCode !== CLASS_IN || isMetaType(typeCode) || !zone.complete) return false;
  return meaningOf(zone, name, { kind: "host" }).kind === "foreign";
}

/** What a name means in the class IN, by whichever of the two kinds of name it is. */
export function meaningOf(zone: Zone, name: string, asker: Asker): Meaning | ReverseMeaning {
  const lower = name.toLowerCase();
  return lookUpReverse(zone, lower, asker) ?? lookUp(zone, lower, asker);
}

/**
 * A record set before it is written out: thousands of elements are chosen from before records are made of them.
 * Never empty.
 */
type RecordSet = { readonly ttlSeconds: number; readonly basis: object | null } & Elements;

type Elements =
  | { readonly kind: "A" | "AAAA"; readonly elements: readonly string[] }
  /** Names are made of those that are told: `nameOf`. */
  | {
      readonly kind: "SRV";
      readonly elements: readonly Listening[];
      readonly nameOf: (copy: Instance) => string;
    }
  | { readonly kind: "plain"; readonly elements: readonly RecordContent[] };

/** The records of a type that a meaning has; null when it has none. */
function recordSetOf(zone: Zone, meaning: Meaning | ReverseMeaning, typeCode: number): RecordSet | null {
  switch (meaning.kind) {
    case "node":
      return ofAddresses(meaning.addresses, typeCode);
    case "apex":
      return ofApex(zone, typeCode);
    case "reverse":
      return ofReverse(zone, meaning, typeCode);
    case "service":
    case "tasks":
    case "copies":
    case "port":
      return ofService(zone, meaning, typeCode);
    case "between":
    case "ambiguous":
    case "missing":
    case "foreign":
      return null;
  }
}

function ofService(zone: Zone, meaning: ServiceMeaning, typeCode: number): RecordSet | null {
  const { service } = meaning;
  const { ttlSeconds } = zone;
  switch (meaning.kind) {
    case "tasks":
      return ofAddresses(service.tasks, typeCode);
    case "port":
      return isAsked(typeCode, TYPE.SRV) ? ofPort(zone, meaning) : null;
    case "service": {
      const set = ofAddresses(service.addresses, typeCode);
      if (set !== null || !isAsked(typeCode, TYPE.TXT)) return set;
      const { texts } = service;
      return { kind: "plain", ttlSeconds, basis: texts, elements: [{ type: "TXT", texts }] };
    }
    case "copies": {
      const { copies } = meaning;
      const [first] = copies;
      // Several of one name are one answer: it holds while none of the service's copies changes.
      const basis = copies.length === 1 && first !== undefined ? first : service.instances;
      const set = ofAddresses(addressSet(copies.flatMap(addressesOfCopy), ttlSeconds), typeCode);
      if (set !== null) return { ...set, basis };
      if (!isAsked(typeCode, TYPE.TXT)) return null;
      return { kind: "plain", ttlSeconds, basis, elements: textsOf(copies) };
    }
  }
}

/** One TXT record a copy, each once. */
function textsOf(copies: readonly Instance[]): readonly RecordContent[] {
  const contentByText = new Map<string, RecordContent>();
  for (const { nodeName, zone, slot } of copies) {
    const texts = [`node=${nodeName}`];
    if (zone !== "") texts.push(`zone=${zone}`);
    if (slot !== null) texts.push(`slot=${slot}`);
    contentByText.set(texts.join(" "), { type: "TXT", texts });
  }
  return [...contentByText.values()];
}

/** SRV (RFC 2782): every copy that takes traffic and has the port, by its weight. */
function ofPort(zone: Zone, meaning: ServiceMeaning & { readonly kind: "port" }): RecordSet | null {
  const { service, port, transport } = meaning;
  const all = service.copies.listening(port, transport);
  const nameOf = copyNames(zone, service);
  const elements = hasLongNames(zone, service) ? all.filter(({ copy }) => isTellable(nameOf(copy))) : all;
  if (elements.length === 0) return null;
  // The copies say all that is told, but for names that lead elsewhere while a stack is called like the service.
  const basis = isStackToo(zone, service) ? null : service.instances;
  const { ttlSeconds } = zone;
  return { kind: "SRV", ttlSeconds, basis, elements, nameOf };
}

/** SOA and NS, of the zone itself and of those of reverse names. */
function ofApex(zone: Zone, typeCode: number): RecordSet | null {
  const { ttlSeconds, primary } = zone;
  const contents: RecordContent[] = [];
  if (isAsked(typeCode, TYPE.SOA)) contents.push(soaContent(zone));
  else if (typeCode === TYPE.NS) contents.push({ type: "NS", target: primary });
  return contents.length === 0 ? null : { kind: "plain", ttlSeconds, basis: null, elements: contents };
}

function ofReverse(zone: Zone, meaning: ReverseMeaning, typeCode: number): RecordSet | null {
  const { names, ttlSeconds, isApex } = meaning;
  if (names.length > 0 && isAsked(typeCode, TYPE.PTR)) {
    const elements = names.map((target): RecordContent => ({ type: "PTR", target }));
    return { kind: "plain", ttlSeconds, basis: null, elements };
  }
  return isApex ? ofApex(zone, typeCode) : null;
}

function ofAddresses(set: AddressSet, typeCode: number): RecordSet | null {
  const { ttlSeconds, v4, v6 } = set;
  if (v4.length > 0 && isAsked(typeCode, TYPE.A)) return { kind: "A", ttlSeconds, basis: set, elements: v4 };
  if (v6.length === 0 || !isAsked(typeCode, TYPE.AAAA)) return null;
  return { kind: "AAAA", ttlSeconds, basis: set, elements: v6 };
}

function isAsked(typeCode: number, type: number): boolean {
  return typeCode === type || typeCode === TYPE.ANY;
}

/** The answer of a record set: its records in random order, and the addresses of names in them. */
function written(zone: Zone, set: RecordSet, { name, ...draw }: Draw & { readonly name: string }): OwnAnswer {
  const { ttlSeconds } = set;
  const isSample = set.elements.length > countMax(zone, set, draw);
  switch (set.kind) {
    case "A":
    case "AAAA": {
      const type = set.kind;
      const addresses = drawn(set.elements, countMax(zone, set, draw), draw);
      return { ...own(addresses.map((address) => ({ name, ttlSeconds, type, address }))), isSample };
    }
    case "SRV": {
      const records: DnsRecord[] = [];
      const additional: DnsRecord[] = [];
      for (const { copy, port } of drawn(set.elements, countMax(zone, set, draw), draw)) {
        const target = set.nameOf(copy);
        records.push({ name, ttlSeconds, type: "SRV", priority: 0, weight: copy.weight, port, target });
        // There is no room for them beside records of which not all fit.
        if (isSample) continue;
        for (const address of addressesOfCopy(copy))
          additional.push({ name: target, ttlSeconds, type: address.includes(":") ? "AAAA" : "A", address });
      }
      return { ...own(records, additional), isSample };
    }
    case "plain": {
      const contents = drawn(set.elements, countMax(zone, set, draw), draw);
      const records = contents.map((content): DnsRecord => ({ name, ttlSeconds, ...content }));
      return { ...own(records, records[0]?.type === "NS" ? primaryAddresses(zone) : []), isSample };
    }
  }
}

/** Every record has its owner as a pointer, type, class, TTL and length (RFC 1035 4.1). */
const RECORD_BYTES = 2 + 10;

/** How many records of a set to make: all, or more than fit, by the least that one can take. */
function countMax({ domain }: Zone, { kind }: RecordSet, { sizeBytesMax }: Draw): number {
  // Of a target, whose name is not compressed: weight and such, its first letter, the domain and the lengths.
  const leastBytes = { A: 4, AAAA: 16, SRV: 6 + 2 + domain.length + 2, plain: 1 }[kind];
  return Math.min(LIMITS.dnsRecordsMax, Math.floor(sizeBytesMax / (RECORD_BYTES + leastBytes)) + 1);
}

function drawn<T>(elements: readonly T[], count: number, { random }: Pick<Draw, "random">): readonly T[] {
  return elements.length === 1 ? elements : sampled(random, elements, count);
}

/** The addresses of the zone's name server. */
function primaryAddresses({ nodes, nodeName, primary, ttlSeconds }: Zone): readonly DnsRecord[] {
  const set = nodes.addressesByName.get(nodeName);
  if (set === undefined) return [];
  const of = (type: "A" | "AAAA", addresses: readonly string[]): readonly DnsRecord[] =>
    addresses.map((address) => ({ name: primary, ttlSeconds, type, address }));
  return [...of("A", set.v4), ...of("AAAA", set.v6)];
}

function own(records: readonly DnsRecord[], additional: readonly DnsRecord[] = []): OwnAnswer {
  return {
    kind: "own",
    rcode: "NOERROR",
    authoritative: true,
    records,
    authority: [],
    additional,
    basis: null,
    isSample: false,
  };
}

/**
 * A name without records of that type: NOERROR (musl takes NXDOMAIN to AAAA for "no A either"), with the SOA of the
 * zone that it is in. Or there is no such name.
 */
function withoutRecords(zone: Zone, meaning: Meaning | ReverseMeaning, name: string): OwnAnswer {
  const { rcode, ttlSeconds } = absenceOf(zone, meaning);
  // A resolver between remembers it only when the SOA encloses the name: a short one is a zone by itself.
  const apex = meaning.kind === "reverse" ? meaning.apex : isInDomain(zone, name) ? zone.domain : name;
  return { ...own([]), rcode, authority: [{ name: apex, ttlSeconds, ...soaContent(zone) }] };
}

/**
 * What is missing where a meaning has no such records. What is not to be kept when there is an answer (a service that
 * awaits its VIP) is not when there is none either.
 */
function absenceOf({ absences }: Zone, meaning: Meaning | ReverseMeaning): Absence {
  switch (meaning.kind) {
    case "missing":
    case "ambiguous":
      return absences.name;
    case "reverse":
      return meaning.exists ? absences.records : absences.name;
    case "service":
      return meaning.service.addresses.ttlSeconds === 0 ? absences.recordsYet : absences.records;
    case "tasks":
    case "copies":
    case "port":
    case "node":
    case "apex":
    case "between":
    case "foreign":
      return absences.records;
  }
}

function isInDomain({ domain }: Zone, name: string): boolean {
  return `.${name}`.toLowerCase().endsWith(`.${domain}`);
}

function soaContent({ primary, serial, negativeTtlSeconds, domain }: Zone): RecordContent {
  const contact = `hostmaster.${domain}`;
  return { type: "SOA", primary, contact, serial, ...SOA_TIMES, minimumSeconds: negativeTtlSeconds };
}

const NODE_QUESTIONS: readonly string[] = ["id.server", "hostname.bind"];
const SOFTWARE_QUESTIONS: readonly string[] = ["version.server", "version.bind"];

/** What this server tells of itself: who among several answers, and what it runs. Nobody is to keep it. */
function aboutServer(zone: Zone, { name, typeCode }: Question): OwnAnswer {
  const lower = name.toLowerCase();
  const isNode = NODE_QUESTIONS.includes(lower);
  if (!isNode && !SOFTWARE_QUESTIONS.includes(lower)) return REFUSED;
  if (!isAsked(typeCode, TYPE.TXT)) return own([]);
  return own([{ name, ttlSeconds: 0, type: "TXT", texts: [isNode ? zone.nodeName : zone.software] }]);
}
