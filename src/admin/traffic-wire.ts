/**
 * Traffic wire: what one host tells another of its traffic, as JSON.
 *
 * Numbers stand in lists in the order of Rates, since a host of a thousand services tells as many of them each second.
 * What comes in is a peer's word: every list has a bound, every number is finite and not negative, every name has a
 * form. A report that is otherwise counts for nothing; what the names in it mean is for traffic-report.ts to judge.
 * Buckets go with their bounds: those of a release that has others cannot be added to ours, and are left out.
 *
 * Pure.
 */

import { isObject } from "../model/fields.ts";
import { isNodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";

import type { Rates } from "./contract-live.ts";
import { RATE_NAMES, type BucketBounds, type HostTraffic, type LinkSight } from "./rates.ts";

/** Above all that a host can do in a second, and whatever is open at one: who tells of more is not believed. */
const COUNT_MAX = 1e8;
/** The same of bytes: eight networks of 1 Tbit/s. */
const BYTES_MAX = 1e12;
/** A window is a second or so; longer where a host hardly gets to run. */
const WINDOW_MAX_MS = 60_000;
/** In a bucket: as many as may come in the longest window. */
const BUCKET_MAX = COUNT_MAX * 60;
/** More buckets than any histogram of ours has. */
const BUCKETS_MAX = 64;
/** More codes and sources than DNS has. */
const NAMES_MAX = 32;
/** Response codes as DNS writes them, and numbers for those without a name; sources are ours (dns/responder.ts). */
const CODE_FORM = /^(?:[A-Z]{3,10}|RCODE\d{1,4}|\d{1,4}|other)$/;
const SOURCE_FORM = /^(?:cache|zone|remembered|upstream|edge)$/;
/** A day: a round trip of that is none. */
const RTT_MAX_MS = 86_400_000;

const STATES: readonly LinkSight["state"][] = ["open", "via", "broken", "none"];

/** What a host answers while it has not looked for long enough. */
export const NOT_YET = { notYet: true };

/** As it is sent. */
export function trafficWords(traffic: HostTraffic, bounds: BucketBounds): unknown {
  const { windowMs, total, buckets, services, replicas, ejected, dns, links } = traffic;
  return {
    bounds: [bounds.requests, bounds.dns],
    windowMs: rounded(windowMs),
    total: numbersOf(total),
    buckets: trimmed(buckets),
    services: services.map((one) => [one.key, numbersOf(one.rates), trimmed(one.buckets)]),
    replicas: replicas.map(({ id, rates }) => [id, numbersOf(rates)]),
    ejected,
    dns: {
      byCode: roundedAll(dns.byCode),
      bySource: roundedAll(dns.bySource),
      buckets: trimmed(dns.buckets),
    },
    links: links.map(({ to, state, rttMs }) => [to, state, rttMs === null ? null : rounded(rttMs)]),
  };
}

/** True for the answer of one that begins to look only now. */
export function isNotYet(answer: unknown): boolean {
  return isObject(answer) && answer["notYet"] === true;
}

/**
 * What a host told; null for anything but a report.
 *
 * @param atMs  when it came
 * @param bounds  of this host's own buckets
 */
export function readTraffic(answer: unknown, atMs: number, bounds: BucketBounds): HostTraffic | null {
  const read = hostIn(answer, atMs);
  if (read === null || !isObject(answer)) return null;
  const told: unknown = answer["bounds"];
  const isSame = JSON.stringify(told) === JSON.stringify([bounds.requests, bounds.dns]);
  return isSame ? read : withoutBuckets(read);
}

function withoutBuckets(traffic: HostTraffic): HostTraffic {
  const services = traffic.services.map((one) => ({ ...one, buckets: [] }));
  return { ...traffic, buckets: [], services, dns: { ...traffic.dns, buckets: [] } };
}

function hostIn(answer: unknown, atMs: number): HostTraffic | null {
  if (!isObject(answer) || !isObject(answer["dns"])) return null;
  const { dns } = answer;
  const windowMs = numberIn(answer["windowMs"], WINDOW_MAX_MS);
  const total = ratesIn(answer["total"]);
  const buckets = bucketsIn(answer["buckets"]);
  const services = listIn(answer["services"], LIMITS.servicesTold, serviceIn);
  const replicas = listIn(answer["replicas"], LIMITS.replicasTold, replicaIn);
  const ejected = listIn(answer["ejected"], LIMITS.replicasTold, idIn);
  const links = listIn(answer["links"], LIMITS.linksTold, linkIn);
  const byCode = namedIn(dns["byCode"], CODE_FORM);
  const bySource = namedIn(dns["bySource"], SOURCE_FORM);
  const dnsBuckets = bucketsIn(dns["buckets"]);
  if (windowMs === null || total === null || buckets === null || services === null) return null;
  if (replicas === null || ejected === null || links === null) return null;
  if (byCode === null || bySource === null || dnsBuckets === null) return null;
  const named = { byCode, bySource, buckets: dnsBuckets };
  return { atMs, windowMs, total, buckets, services, replicas, ejected, dns: named, links };
}

function numbersOf(rates: Rates): readonly number[] {
  return RATE_NAMES.map((name) => rounded(rates[name]));
}

function ratesIn(value: unknown): Rates | null {
  const numbers = listIn(value, RATE_NAMES.length, (one) => numberIn(one, BYTES_MAX));
  if (numbers === null || numbers.length !== RATE_NAMES.length) return null;
  const at = (name: keyof Rates): number => numbers[RATE_NAMES.indexOf(name)] ?? 0;
  const isPlausible = RATE_NAMES.every((name) => name.endsWith("Bytes") || at(name) <= COUNT_MAX);
  if (!isPlausible) return null;
  return {
    requests: at("requests"),
    connections: at("connections"),
    kernelConnections: at("kernelConnections"),
    errors: at("errors"),
    retries: at("retries"),
    receivedBytes: at("receivedBytes"),
    sentBytes: at("sentBytes"),
    open: at("open"),
  };
}

function serviceIn(value: unknown): HostTraffic["services"][number] | null {
  if (!Array.isArray(value)) return null;
  const [key, rates, buckets] = [idIn(value[0]), ratesIn(value[1]), bucketsIn(value[2])];
  return key === null || rates === null || buckets === null ? null : { key, rates, buckets };
}

function replicaIn(value: unknown): HostTraffic["replicas"][number] | null {
  if (!Array.isArray(value)) return null;
  const [id, rates] = [idIn(value[0]), ratesIn(value[1])];
  return id === null || rates === null ? null : { id, rates };
}

function linkIn(value: unknown): LinkSight | null {
  if (!Array.isArray(value)) return null;
  const [to, told, rtt]: readonly unknown[] = value;
  const state = STATES.find((one) => one === told);
  const rttMs = rtt === null ? null : numberIn(rtt, RTT_MAX_MS);
  if (typeof to !== "string" || !isNodeId(to) || state === undefined) return null;
  return rtt !== null && rttMs === null ? null : { to, state, rttMs };
}

/** The key of a service or the id of a replica. */
function idIn(value: unknown): string | null {
  return typeof value === "string" && /^[a-z0-9_./-]{1,140}$/.test(value) ? value : null;
}

function bucketsIn(value: unknown): readonly number[] | null {
  return listIn(value, BUCKETS_MAX, (one) => numberIn(one, BUCKET_MAX));
}

function namedIn(value: unknown, form: RegExp): Readonly<Record<string, number>> | null {
  if (!isObject(value)) return null;
  const entries = Object.entries(value);
  const isSound = ([name, count]: readonly [string, unknown]): boolean =>
    form.test(name) && numberIn(count, COUNT_MAX) !== null;
  if (entries.length > NAMES_MAX || !entries.every(isSound)) return null;
  return Object.fromEntries(entries.map(([name, count]) => [name, Number(count)]));
}

/** A list of at most `max`, each read; null when any cannot be. */
function listIn<T>(value: unknown, max: number, read: (one: unknown) => T | null): readonly T[] | null {
  if (!Array.isArray(value) || value.length > max) return null;
  const items: T[] = [];
  for (const one of value) {
    const item = read(one);
    if (item === null) return null;
    items.push(item);
  }
  return items;
}

function numberIn(value: unknown, max: number): number | null {
  return typeof value === "number" && value >= 0 && value <= max ? value : null;
}

/** Zeros at the end of buckets tell nothing. */
function trimmed(buckets: readonly number[]): readonly number[] {
  return buckets.slice(0, buckets.findLastIndex((count) => count > 0) + 1);
}

function roundedAll(named: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  return Object.fromEntries(Object.entries(named).map(([name, count]) => [name, rounded(count)]));
}

function rounded(number: number): number {
  return Math.round(number * 1000) / 1000;
}
