/**
 * Schema: every key of the configuration, its default, and what it may be.
 *
 * Parts of the daemon are handed the few values they use, already checked. Unknown keys are errors: a typo must not run
 * with a default nobody chose. Texts of refusals come from the parsers that labels use as well, so one rule has one
 * wording.
 *
 * Pure. load.ts reads the sources and reports mistakes with their place.
 */

import * as v from "valibot";

import { failed, type Result } from "../base/failure.ts";
import { isIpv4, isIpv6, isLoopback, isPrivate, parseHostPort, parsePrefix } from "../base/ip.ts";
import { parsePrefix6, type Prefix6 } from "../base/ip6.ts";
import { DEFAULT_NETWORK, parseLabel } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import { MESH_PORT } from "../model/mesh-port.ts";
import * as service from "../model/service.ts";
import { POOL6_BITS } from "../model/vip6.ts";
import { parseDuration, parseDurationOrOff, type DurationRange } from "../base/duration.ts";
import { INTERVAL_RANGE, isProbePath, STREAK_MAX, TIMEOUT_RANGE } from "../source/probe-plan.ts";
import {
  DRAIN_RANGE,
  FIRST_BYTE_RANGE,
  oneOf,
  PREFERENCES,
  PROXY_PROTOCOLS,
  SLOW_START_RANGE,
  SOURCES,
  UDP_IDLE_RANGE,
  UDP_MODES,
  WEIGHT_MAX,
} from "../source/traffic.ts";

import { TRACING_DEFAULTS, TRACING_SCHEMA } from "./tracing.ts";

/** What some defaults depend on. */
export interface Ambience {
  /** A DNS label made of the host's name. */
  readonly hostName: string;
  readonly stateDir: string;
}

/** The defaults, in the form and order of the file. */
export function defaults({ hostName, stateDir }: Ambience) {
  return {
    node: {
      name: hostName,
      dataDir: stateDir,
      zone: "",
      labels: {} as Record<string, string>,
    },
    mesh: {
      listen: `0.0.0.0:${MESH_PORT}`,
      advertise: "auto",
      join: [] as string[],
      token: "",
      tokenFile: "",
    },
    docker: { socket: "auto", exposeByDefault: false },
    dns: {
      listen: ["127.0.0.1:5300"],
      domain: "skein.internal",
      ttl: "5s",
      upstream: ["auto"],
      allow: ["private"],
    },
    vip: { pool: "auto", pool6: "auto", listen: true },
    ingress: {
      address: "0.0.0.0",
      http: 8080,
      https: 8443,
      certificates: "",
      trustedProxies: [] as string[],
      proxyProtocol: "auto",
    },
    proxy: { connect: "500ms", firstByte: "1s", answer: "60s", idle: "5m", udpIdle: "30s" },
    overlay: { pool: "10.160.0.0/11", encryption: "auto" },
    dataplane: { mode: "auto" },
    health: { interval: "1s", timeout: "1s", rise: 1, fall: 2 },
    admin: { listen: "127.0.0.1:7651", socket: "auto", token: "", tokenFile: "" },
    log: {
      level: "info",
      format: "auto",
      access: "off",
      accessFormat: "json",
      accessSample: 100,
      accessFile: "",
    },
    tracing: TRACING_DEFAULTS,
    services: [] as unknown[],
  };
}

/** A checked scalar: the parser's failure text becomes the issue's, so all texts are written where the rule is. */
function parsed<T>(expected: string, parse: (thing: string, text: string) => Result<T>) {
  return v.pipe(
    v.string(expected),
    v.rawTransform<string, T>(({ dataset, addIssue, NEVER }) => {
      const result = parse("value", dataset.value);
      if (result.ok) return result.value;
      addIssue({ message: expectedOf(result.failure.message) });
      return NEVER;
    }),
  );
}

const address = (defaultPort?: number) =>
  parsed("host:port", (_thing, text) => parseHostPort(text, defaultPort));
const duration = (range: DurationRange, expected = "a duration such as 500ms or 1s") =>
  parsed(expected, (thing, text) => parseDuration(thing, text, range));
/** 0 stands for off. */
const durationOrOff = (range: DurationRange) =>
  parsed("a duration such as 1s, or off", (thing, text) => parseDurationOrOff(thing, text, range));
const choice = <const T extends string>(words: readonly T[]) => v.picklist(words, oneOf(words));
const label = parsed("a name of letters, digits and hyphens", parseLabel);
const flag = v.boolean("true or false");
const count = v.custom<number>(
  (value) => typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= STREAK_MAX,
  `a whole number in 1..${STREAK_MAX}`,
);
const weight = v.custom<number>(
  (value) => typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= WEIGHT_MAX,
  `a whole number in 0..${WEIGHT_MAX}`,
);
const port = v.custom<number>(
  (value) => typeof value === "number" && service.isPort(value),
  "a port in 1..65535",
);
const portOrOff = v.union([v.literal("off"), port], "off or a port in 1..65535");
const ip = v.custom<string>(
  (text) => typeof text === "string" && (isIpv4(text) || isIpv6(text)),
  "an IP address",
);
/** Names of addresses (RFC 1035 3.5), and what every resolver answers by itself (RFC 6761 6.3). */
const SPOKEN_FOR = /^(?:.*\.)?(?:arpa|localhost)$/;
/** Top-level names that are nobody's and remain so (ICANN's reservation of 2024, RFC 6761 6.2, RFC 9476). */
const NEVER_DELEGATED: readonly string[] = ["internal", "test", "alt"];
const domain = v.pipe(
  v.string("a domain such as skein.internal"),
  v.regex(/^[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*$/i, "a domain such as skein.internal"),
  v.maxLength(128, "a domain of at most 128 characters"),
  v.toLowerCase(),
  v.check((text) => !SPOKEN_FOR.test(text), "a domain that means nothing else, such as skein.internal"),
  v.check(
    (text) => text.includes(".") || NEVER_DELEGATED.includes(text) || SPOKEN_FOR.test(text),
    "a domain of two labels or more, such as skein.internal: all that is below it is asked of nobody else",
  ),
);
const isNetwork = (text: string): boolean =>
  isIpv4(text) || isIpv6(text) || parsePrefix(text).ok || parsePrefix6(text).ok;
const network = v.custom<string>(
  (text) => typeof text === "string" && (text === "private" || text === "any" || isNetwork(text)),
  "private, any, an address or a prefix such as 10.0.0.0/8 or fd00::/8",
);

/** A network takes a /16 of it by itself, so two of them have to fit; and it has to be nobody's in the world. */
const overlayPool = parsed("a prefix", (thing, given) => {
  const prefix = parsePrefix(given);
  if (!prefix.ok) return prefix;
  const expected = (what: string) => failed("invalid", `${thing} is "${given}"; expected ${what}`);
  const [address = ""] = given.split("/");
  if (!isPrivate(address) || isLoopback(address)) return expected("a private prefix, such as 10.160.0.0/11");
  return prefix.value.bits <= 15 ? prefix : expected("a prefix of at most 15 bits, such as 10.160.0.0/11");
});

const proxyAddress = v.custom<string>(
  (text) => typeof text === "string" && isNetwork(text),
  "an address or a prefix such as 10.0.0.0/8",
);

/** A list with a bound: what no record could carry is refused where it is written. */
function listOf<S extends v.GenericSchema>(schema: S, what: string, countMax: number) {
  const expected = `a list of at most ${countMax} ${what}`;
  return v.pipe(v.array(schema, expected), v.maxLength(countMax, expected));
}

const text = v.pipe(v.string("text"), v.maxLength(256, "text of at most 256 characters"));
const labels = v.pipe(
  v.record(v.string(), text, "a map of names to text"),
  v.maxEntries(LIMITS.namesPerService, `at most ${LIMITS.namesPerService} labels`),
);
const socketPath = v.pipe(v.string("auto, off or a path"), v.minLength(1, "auto, off or a path"));

/** The form that trust/token.ts gives join tokens; whether it is a good one only the cluster can tell. */
const joinToken = secret(/^(SKTKN-1-[0-9a-z]{50}-[0-9a-z]{25})?$/, "a token as skein token worker prints it");
/** What an admin token has to be: as an Authorization header may hold it (RFC 6750 2.1), and too long to be guessed. */
export const BEARER_TOKEN_FORM = "20 to 256 letters, digits or any of -._~+/";
const BEARER_TOKEN = /^[A-Za-z0-9._~+/-]{20,256}=*$/;
const bearerToken = secret(new RegExp(`^$|${BEARER_TOKEN.source}`), BEARER_TOKEN_FORM);
const filePath = v.pipe(v.string("a file"), v.maxLength(4096, "a path of at most 4096 characters"));
const folderPath = v.pipe(v.string("a folder"), v.maxLength(4096, "a path of at most 4096 characters"));
/** One in so many: beyond it nothing but failures would ever be seen. */
const ACCESS_SAMPLE_MAX = 1_000_000;

/** Whether text is of that form. */
export function isBearerToken(text: string): boolean {
  return BEARER_TOKEN.test(text);
}

/** A secret's form: the trailing line break that a file or a variable brought along is no part of it. */
function secret(form: RegExp, expected: string) {
  return v.pipe(v.string(expected), v.trim(), v.regex(form, expected));
}

/** An entry of `services:`. */
const STATIC_SERVICE_SCHEMA = v.strictObject({
  name: label,
  network: v.optional(label, DEFAULT_NETWORK),
  ports: v.optional(
    listOf(
      v.strictObject({
        name: v.optional(label),
        port,
        target: v.optional(port),
        protocol: v.optional(v.picklist(["tcp", "udp", "http"], "tcp, udp or http"), "tcp"),
      }),
      "ports",
      LIMITS.portsPerService,
    ),
    [],
  ),
  replicas: listOf(address(), "ip:port", LIMITS.replicasPerNode),
  publish: v.optional(
    listOf(parsed("published:port", service.parsePublishedPort), "ports", LIMITS.namesPerService),
    [],
  ),
  http: v.optional(
    listOf(
      v.strictObject({
        host: parsed("a host name", service.parseRouteHost),
        path: v.optional(parsed("a path", service.parseRoutePath), "/"),
      }),
      "routes",
      LIMITS.namesPerService,
    ),
    [],
  ),
  health: v.optional(
    v.strictObject({
      http: v.optional(v.custom<string>((path) => typeof path === "string" && isProbePath(path), "a path")),
      interval: v.optional(duration(INTERVAL_RANGE)),
      timeout: v.optional(duration(TIMEOUT_RANGE)),
      rise: v.optional(count),
      fall: v.optional(count),
    }),
  ),
  weight: v.optional(weight, 1),
  lb: v.optional(choice(service.BALANCES), "round-robin"),
  prefer: v.optional(choice(PREFERENCES), "any"),
  slowStart: v.optional(durationOrOff(SLOW_START_RANGE), "off"),
  firstByte: v.optional(durationOrOff(FIRST_BYTE_RANGE)),
  proxyProtocol: v.optional(choice(PROXY_PROTOCOLS), "off"),
  drain: v.optional(duration(DRAIN_RANGE), "10s"),
  udp: v.optional(
    v.strictObject({
      mode: v.optional(choice(UDP_MODES), "flow"),
      idle: v.optional(duration(UDP_IDLE_RANGE)),
    }),
    {},
  ),
  source: v.optional(choice(SOURCES), "keep"),
  passthrough: v.optional(
    listOf(parsed("a host name", service.parseRouteHost), "host names", LIMITS.namesPerService),
    [],
  ),
});

/** The checked shape of the file, all keys present. */
export const CONFIG_SCHEMA = v.strictObject({
  node: v.strictObject({
    name: label,
    dataDir: v.pipe(v.string("a folder"), v.minLength(1, "a folder")),
    zone: v.pipe(v.string("a name"), v.maxLength(LIMITS.labelBytes, "a name of at most 63 characters")),
    labels,
  }),
  mesh: v.strictObject({
    listen: address(MESH_PORT),
    advertise: v.union([v.literal("auto"), address(MESH_PORT)], "auto or host:port"),
    join: listOf(address(MESH_PORT), "host:port", 256),
    token: joinToken,
    tokenFile: filePath,
  }),
  docker: v.strictObject({
    socket: socketPath,
    exposeByDefault: flag,
  }),
  dns: v.strictObject({
    listen: listOf(address(53), "ip:port", 64),
    domain,
    ttl: duration({ leastMs: 0, mostMs: 3_600_000 }, "a duration such as 0s or 5s"),
    upstream: listOf(v.union([v.literal("auto"), address(53)], "auto or ip:port"), "ip:port, or auto", 16),
    allow: listOf(network, "networks", 256),
  }),
  vip: v.strictObject({
    pool: v.union(
      [v.literal("auto"), parsed("a prefix", (_thing, text) => parsePrefix(text))],
      "auto or a prefix",
    ),
    pool6: v.union(
      [v.literal("auto"), v.literal("off"), parsed("a prefix", parsePool6)],
      "auto, off or an IPv6 /64 such as fd12:3456:789a::/64",
    ),
    listen: flag,
  }),
  ingress: v.strictObject({
    address: ip,
    http: portOrOff,
    https: portOrOff,
    certificates: folderPath,
    trustedProxies: listOf(proxyAddress, "addresses or prefixes", 256),
    proxyProtocol: v.picklist(["auto", "required", "off"], "auto, required or off"),
  }),
  proxy: v.strictObject({
    connect: duration({ leastMs: 10, mostMs: 60_000 }),
    firstByte: durationOrOff(FIRST_BYTE_RANGE),
    answer: duration({ leastMs: 100, mostMs: LIMITS.policyMs }),
    idle: duration({ leastMs: 1000, mostMs: LIMITS.policyMs }),
    udpIdle: duration(UDP_IDLE_RANGE),
  }),
  overlay: v.strictObject({
    pool: overlayPool,
    encryption: v.picklist(["auto", "wireguard", "none"], "auto, wireguard or none"),
  }),
  dataplane: v.strictObject({ mode: v.picklist(["auto", "kernel", "proxy"], "auto, kernel or proxy") }),
  health: v.strictObject({
    interval: duration(INTERVAL_RANGE),
    timeout: duration(TIMEOUT_RANGE),
    rise: count,
    fall: count,
  }),
  admin: v.strictObject({
    listen: v.union([v.literal("off"), address(7651)], "off or host:port"),
    socket: socketPath,
    token: bearerToken,
    tokenFile: filePath,
  }),
  log: v.strictObject({
    level: v.picklist(["debug", "info", "warn", "error"], "debug, info, warn or error"),
    format: v.picklist(["auto", "text", "json"], "auto, text or json"),
    access: v.picklist(["off", "sampled", "full"], "off, sampled or full"),
    accessFormat: v.picklist(["json", "combined"], "json or combined"),
    accessSample: v.custom<number>(
      (value) =>
        typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= ACCESS_SAMPLE_MAX,
      `a whole number in 1..${ACCESS_SAMPLE_MAX}`,
    ),
    accessFile: filePath,
  }),
  tracing: TRACING_SCHEMA,
  services: listOf(STATIC_SERVICE_SCHEMA, "services", LIMITS.replicasPerNode),
});

/** The checked configuration. Durations are in milliseconds. */
export type Config = v.InferOutput<typeof CONFIG_SCHEMA>;

/** VIPs are told apart by 64 bits; hosts take shorter prefixes for networks, longer ones leave too few bits. */
function parsePool6(_thing: string, text: string): Result<Prefix6> {
  const prefix = parsePrefix6(text);
  if (!prefix.ok || prefix.value.bits === POOL6_BITS) return prefix;
  return failed("invalid", `prefix is "${text}"; expected a /${POOL6_BITS} such as fd12:3456:789a::/64`);
}

function expectedOf(failureText: string): string {
  return failureText.split("; expected ").at(-1) ?? failureText;
}
