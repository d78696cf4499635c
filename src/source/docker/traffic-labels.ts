/**
 * Traffic labels: how a service's traffic is to be spread among its copies, and how this copy takes its own.
 *
 * What is said of the service the newest copy says for all; what is said of a copy (the header it expects, how long it
 * may drain) each says for itself. A label that can have no effect with the ports that there are is told, and counts
 * all the same: it does no harm, and another version of the service may have such a port.
 *
 * Pure. ../traffic.ts has the words and ranges, which the config file shares.
 */

import { parseDuration, parseDurationOrOff, type DurationRange } from "../../base/duration.ts";
import { failed, success } from "../../base/failure.ts";
import {
  BALANCES,
  DEFAULT_DELIVERY,
  DEFAULT_TRAFFIC,
  type Delivery,
  type ServicePort,
  type TrafficPolicy,
} from "../../model/service.ts";
import { firstTcpPort } from "../probe-plan.ts";
import {
  DRAIN_RANGE,
  FIRST_BYTE_RANGE,
  oneOf,
  orUsual,
  PREFERENCES,
  PROXY_PROTOCOLS,
  SLOW_START_RANGE,
  SOURCES,
  UDP_IDLE_RANGE,
  UDP_MODES,
} from "../traffic.ts";

import type { LabelParser, LabelReader } from "./label-reader.ts";

/** The labels read here. */
export const TRAFFIC_LABELS: readonly string[] = [
  "skein.lb",
  "skein.prefer",
  "skein.slow-start",
  "skein.first-byte",
  "skein.proxy-protocol",
  "skein.drain",
  "skein.udp.mode",
  "skein.udp.idle",
  "skein.source",
];

/** Reads what the service asks for; a bad label is reported and its default holds. */
export function readTraffic(reader: LabelReader, ports: readonly ServicePort[]): TrafficPolicy {
  const said: TrafficPolicy = {
    balance: reader.read("skein.lb", word(BALANCES), DEFAULT_TRAFFIC.balance),
    prefer: reader.read("skein.prefer", word(PREFERENCES), DEFAULT_TRAFFIC.prefer),
    slowStartMs: reader.read("skein.slow-start", spanOrOff(SLOW_START_RANGE), DEFAULT_TRAFFIC.slowStartMs),
    firstByteMs: reader.read("skein.first-byte", spanOrOff(FIRST_BYTE_RANGE), DEFAULT_TRAFFIC.firstByteMs),
    udpMode: reader.read("skein.udp.mode", word(UDP_MODES), DEFAULT_TRAFFIC.udpMode),
    udpIdleMs: reader.read("skein.udp.idle", span(UDP_IDLE_RANGE), DEFAULT_TRAFFIC.udpIdleMs),
    source: reader.read("skein.source", word(SOURCES), DEFAULT_TRAFFIC.source),
  };
  const hasUdp = ports.some(({ protocol }) => protocol === "udp");
  for (const name of ["skein.udp.mode", "skein.udp.idle"]) {
    if (hasUdp || !reader.labels.has(name)) continue;
    reader.report(`label "${name}" has no effect; expected a UDP port of the service`);
  }
  if (hasUdp && said.udpMode === "datagram" && said.udpIdleMs !== null) {
    reader.report(
      'label "skein.udp.idle" has no effect beside "skein.udp.mode" datagram, which keeps no flows',
    );
  }
  return orUsual(said, DEFAULT_TRAFFIC);
}

/** Reads what this copy asks for; as readTraffic. */
export function readDelivery(reader: LabelReader, ports: readonly ServicePort[]): Delivery {
  const said: Delivery = {
    proxyProtocol: reader.read("skein.proxy-protocol", word(PROXY_PROTOCOLS), DEFAULT_DELIVERY.proxyProtocol),
    drainMs: reader.read("skein.drain", span(DRAIN_RANGE), DEFAULT_DELIVERY.drainMs),
  };
  // Version 1 has no words for UDP (PROXY protocol 2.1).
  if (said.proxyProtocol === "v1" && firstTcpPort(ports) === null) {
    reader.report('label "skein.proxy-protocol" is "v1", which is for TCP only; expected v2 or a TCP port');
  }
  return orUsual(said, DEFAULT_DELIVERY);
}

function word<T extends string>(words: readonly T[]): LabelParser<T> {
  return (thing, text) => {
    const lowered = text.trim().toLowerCase();
    const found = words.find((known) => known === lowered);
    if (found !== undefined) return success(found);
    return failed("invalid", `${thing} is "${text}"; expected ${oneOf(words)}`);
  };
}

function span(range: DurationRange): LabelParser<number> {
  return (thing, text) => parseDuration(thing, text, range);
}

function spanOrOff(range: DurationRange): LabelParser<number> {
  return (thing, text) => parseDurationOrOff(thing, text, range);
}
