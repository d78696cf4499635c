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

import { sampled, type Random } from "../base/random.ts";
import { LIMITS } from "../model/limits.ts";
import { transportOf } from "../model/service.ts";

import { CLASS_CH, CLASS_IN, isMetaType, TYPE, type RcodeName } from "./codes.ts";
import type { AddressSet, Instance } from "./entry.ts";
import {
  copyNames,
  isStackToo,
  isTellable,
  lookUp,
  type Asker,
  type Meaning,
  type ServiceMeaning,
} from "./lookup.ts";
import type { DnsRecord, RecordContent } from "./records.ts";
import { lookUpReverse, type ReverseMeaning } from "./reverse.ts";
import type { Zone } from "./zone.ts";

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
 * Records come shuffled, and at most `LIMITS.dnsRecordsMax` of them. ANY gets one record set (RFC 8482 4.1). In the
 * class CH this server tells of itself (RFC 4892). Other classes and transfers are refused, whoever's name it is.
 */
export function answer(zone: Zone, question: Question, asker: Asker, random: Random): Answer {
  const { name, typeCode, classCode } = question;
  if (isMetaType(typeCode)) return REFUSED;
  if (classCode === CLASS_CH) return aboutServer(zone, question);
  if (classCode !== CLASS_IN) return REFUSED;
  const meaning = meaningOf(zone, name, asker);
  if (meaning.kind === "foreign") return { kind: "forward" };
  const set = recordSetOf(zone, meaning, typeCode);
  if (set === null) return withoutRecords(zone, meaning, name);
  return { ...written(zone, set, { name, random }), basis: set.basis };
}

/**
 * The basis that an answer to this question would have, without making it; null also where nothing is answered.
 */
export function basisOf(zone: Zone, question: Question, asker: Asker): object | null {
  const { name, typeCode, classCode } = question;
  if (classCode !== CLASS_IN || isMetaType(typeCode)) return null;
  // Their answers are made from the zone as a whole, and looking them up costs more than all else.
  if (name.toLowerCase().endsWith(".arpa")) return null;
  return recordSetOf(zone, meaningOf(zone, name, asker), typeCode)?.basis ?? null;
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
  | { readonly kind: "SRV"; readonly elements: readonly Target[] }
  | { readonly kind: "plain"; readonly elements: readonly RecordContent[] };

/** Where a copy listens for a port. */
interface Target {
  readonly copy: Instance;
  /** Its full name. */
  readonly target: string;
  readonly port: number;
}

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
      const addresses = [...new Set(copies.map(({ address }) => address))];
      const v4 = addresses.filter((address) => !address.includes(":"));
      const v6 = addresses.filter((address) => address.includes(":"));
      const set = ofAddresses({ ttlSeconds, v4, v6 }, typeCode);
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
  const nameOf = copyNames(zone, service);
  const elements = service.instances.flatMap((copy): readonly Target[] => {
    if (!copy.eligible) return [];
    const target = nameOf(copy);
    const ports = copy.ports.filter(
      ({ name, protocol }) => name === port && transportOf(protocol) === transport,
    );
    return isTellable(target) ? ports.map((own) => ({ copy, target, port: own.target })) : [];
  });
  if (elements.length === 0) return null;
  // The copies say all that is told, but for names that lead elsewhere while a stack is called like the service.
  const basis = isStackToo(zone, service) ? null : service.instances;
  const { ttlSeconds } = zone;
  return { kind: "SRV", ttlSeconds, basis, elements };
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
function written(
  zone: Zone,
  set: RecordSet,
  { name, random }: { readonly name: string; readonly random: Random },
): OwnAnswer {
  const { ttlSeconds } = set;
  switch (set.kind) {
    case "A":
    case "AAAA": {
      const type = set.kind;
      return own(
        drawn(set.elements, random).map((address): DnsRecord => ({ name, ttlSeconds, type, address })),
      );
    }
    case "SRV": {
      const records: DnsRecord[] = [];
      const additional: DnsRecord[] = [];
      for (const { copy, target, port } of drawn(set.elements, random)) {
        records.push({ name, ttlSeconds, type: "SRV", priority: 0, weight: copy.weight, port, target });
        const { address } = copy;
        additional.push({ name: target, ttlSeconds, type: address.includes(":") ? "AAAA" : "A", address });
      }
      return own(records, additional);
    }
    case "plain": {
      const records = drawn(set.elements, random).map((content): DnsRecord => ({
        name,
        ttlSeconds,
        ...content,
      }));
      return own(records, records[0]?.type === "NS" ? primaryAddresses(zone) : []);
    }
  }
}

function drawn<T>(elements: readonly T[], random: Random): readonly T[] {
  return elements.length === 1 ? elements : sampled(random, elements, LIMITS.dnsRecordsMax);
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
  };
}

/**
 * A name without records of that type: NOERROR (musl takes NXDOMAIN to AAAA for "no A either"), with the SOA of the
 * zone that it is in. What is not to be kept when there is an answer (a service that awaits its VIP) is not when there
 * is none either.
 *
 * Or there is no such name; or it is not known yet: a daemon that has just started must not say "no" for a service that
 * its peers are about to tell of, since clients take NXDOMAIN for final and try another server after SERVFAIL.
 */
function withoutRecords(zone: Zone, meaning: Meaning | ReverseMeaning, name: string): OwnAnswer {
  const isReverse = meaning.kind === "reverse";
  const exists = isReverse ? meaning.exists : meaning.kind !== "missing" && meaning.kind !== "ambiguous";
  const told = meaning.kind === "service" ? meaning.service.addresses.ttlSeconds : zone.negativeTtlSeconds;
  const soa: DnsRecord = {
    // A resolver between remembers it only when the SOA encloses the name: a short one is a zone by itself.
    name: isReverse ? meaning.apex : isInDomain(zone, name) ? zone.domain : name,
    ttlSeconds: Math.min(told, zone.negativeTtlSeconds),
    ...soaContent(zone),
  };
  const rcode = exists ? "NOERROR" : zone.complete ? "NXDOMAIN" : "SERVFAIL";
  return { ...own([]), rcode, authority: [soa] };
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
