// Outside judges: dig and kdig read every kind of answer, asked in every way they know, without a warning.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test, type TestContext } from "node:test";

import type { HostPort } from "../../src/base/ip.ts";
import { seededRandom } from "../../src/base/random.ts";
import { openDnsServer } from "../../src/dns/server.ts";
import { planZone } from "../../src/dns/names/zone.ts";
import type { Log } from "../../src/runtime/log.ts";
import { openMetrics } from "../../src/runtime/metrics.ts";
import { member, openUpstream, OPTIONS, replica, replicas, reply, service, view } from "./fixture.ts";

const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {}, setLevel() {} };

const ZONE = planZone(
  view(
    [
      service("default", "web", { vip: "10.96.0.1", stack: "shop", replicas: replicas("web", 3, 1) }),
      service("default", "fifty", { replicas: replicas("fifty", 50, 2) }),
      service("default", "many", { replicas: replicas("many", 5000, 16) }),
      service("default", "six", { replicas: [replica("six-1", "fd00::1")] }),
    ],
    { members: [member("host-1", { self: true, zone: "a" })] },
  ),
  OPTIONS,
);

type Tool = "dig" | "kdig";

/** What a tool writes, errors and all. */
async function run(tool: Tool, args: readonly string[]): Promise<string> {
  return await new Promise((resolve, reject) => {
    execFile(tool, args, { timeout: 30_000, maxBuffer: 16 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error === null) resolve(`${stdout}${stderr}`);
      else reject(new Error(`${tool} ${args.join(" ")}: ${stdout}${stderr}`, { cause: error }));
    });
  });
}

/** Asks by a tool; whatever it has to complain about is an error. */
async function judged(tool: Tool, server: HostPort, args: readonly string[]): Promise<string> {
  const tries = tool === "dig" ? "+tries=1" : "+retry=0";
  const out = await run(tool, [`@${server.host}`, "-p", String(server.port), "+timeout=10", tries, ...args]);
  // That kdig comes back over TCP is what a truncated answer is for.
  const lines = out.split("\n").filter((line) => !/truncated reply from .*, retrying over TCP/.test(line));
  const complaints = /warning|malformed|bad packet|mismatch|extra bytes|trailing|timed out|error:/i;
  assert.deepEqual(
    lines.filter((line) => complaints.test(line)),
    [],
    `${tool} ${args.join(" ")}\n${out}`,
  );
  return out;
}

async function isThere(tool: Tool): Promise<boolean> {
  return await run(tool, [tool === "dig" ? "-v" : "--version"]).then(
    () => true,
    () => false,
  );
}

/** A server with an upstream, so that it offers recursion: a tool that asks for it warns when it is not there. */
async function open(t: TestContext): Promise<HostPort> {
  const upstream = await openUpstream((bytes) => [reply(bytes, { address: "203.0.113.9" })]);
  const server = await openDnsServer({
    listen: [{ host: "127.0.0.1", port: 0 }],
    zone: ZONE,
    askerOf: () => ({ kind: "host" }),
    isAllowed: () => true,
    upstreams: [upstream],
    log: SILENT,
    metrics: openMetrics(),
    random: seededRandom(1),
  });
  t.after(async () => {
    await server.close();
    await upstream.close();
  });
  const [first] = server.addresses;
  assert.ok(first !== undefined);
  return first;
}

/** What is asked, and what the output must say. */
type Case = readonly [asked: string, ...expected: readonly RegExp[]];

const counts = (answers: number, authority: number): RegExp =>
  new RegExp(`ANSWER: ${answers}[;,] AUTHORITY: ${authority}`);

const full = "web.default.skein.internal";

/** Every type, found and not found. */
const RECORDS: readonly Case[] = [
  [`${full} A`, /status: NOERROR/, counts(1, 0), /\sIN\s+A\s+10\.96\.0\.1$/m],
  [`${full} AAAA`, /status: NOERROR/, counts(0, 1), /^skein\.internal\.\s+\d+\s+IN\s+SOA\s/m],
  ["six AAAA", counts(1, 0), /\sIN\s+AAAA\s+fd00::1$/m],
  ["tasks.web A", counts(3, 0)],
  [
    `_web._tcp.${full} SRV`,
    counts(3, 0),
    /\sIN\s+SRV\s+0 1 80 web-1\.web\.default\.skein\.internal\.$/m,
    /^web-1\.web\.default\.skein\.internal\.\s+\d+\s+IN\s+A\s+10\.1\.0\.0$/m,
  ],
  ["_web._tcp.fifty SRV", counts(50, 0)],
  [`_tcp.${full} SRV`, /status: NOERROR/, counts(0, 1)],
  ["-x 10.96.0.1", counts(1, 0), /\sIN\s+PTR\s+web\.default\.skein\.internal\.$/m],
  ["-x 10.96.9.9", /status: NXDOMAIN/, counts(0, 1), /\sIN\s+SOA\s/],
  [`web-1.${full} TXT`, /\sIN\s+TXT\s.*"node=host-1"/],
  ["skein.internal SOA", counts(1, 0), /\sIN\s+SOA\s+host-1\.node\.skein\.internal\. hostmaster\.skein/],
  ["skein.internal NS", counts(1, 0), /\sIN\s+NS\s+host-1\.node\.skein\.internal\.$/m],
  ["host-1.node.skein.internal A", counts(1, 0), /\s192\.0\.2\.1$/m],
  [`${full} ANY`, /status: NOERROR/, counts(1, 0)],
  [`${full} DS`, /status: NOERROR/, counts(0, 1)],
  [`${full} DNSKEY`, /status: NOERROR/, counts(0, 1)],
  [`${full} TYPE65`, /status: NOERROR/, counts(0, 1)],
  ["nobody.skein.internal A", /status: NXDOMAIN/, counts(0, 1)],
  ["id.server CH TXT", counts(1, 0), /\sCH\s+TXT\s+"host-1"$/m],
  ["version.bind CH TXT", counts(1, 0), /\sCH\s+TXT\s+"skein test"$/m],
  ["example.org A", counts(1, 0), /\s203\.0\.113\.9$/m],
];

/** The ways to ask of https://ednscomp.isc.org, each answered as it says (RFC 6891 6.1.3, 6.1.4; RFC 3225). */
const WAYS: readonly Case[] = [
  ["+noedns", counts(1, 0), /ADDITIONAL: 0/],
  ["+edns=0", counts(1, 0), /ADDITIONAL: 1/],
  ["+ednsopt=100", counts(1, 0), /^(?!.*OPT=100)/s],
  ["+dnssec", counts(1, 0), /flags: do;/i],
  ["+bufsize=700", counts(1, 0)],
  ["+bufsize=512 +ignore", counts(1, 0)],
  ["+nsid", counts(1, 0)],
  ["+subnet=192.0.2.0/24", counts(1, 0)],
  ["+padding=128", counts(1, 0)],
  ["+tcp", counts(1, 0)],
  ["+norec", counts(1, 0)],
  ["+cdflag", counts(1, 0), /flags: qr aa rd ra cd;/i],
];

/** As WAYS, for what only dig can ask; or what kdig says otherwise. */
const DIG_WAYS: readonly Case[] = [
  ["+edns=1 +noednsnegotiation +norec", /status: BADVERS/, counts(0, 0), /EDNS: version: 0/],
  ["+edns=1 +noednsnegotiation +norec +ednsopt=100", /status: BADVERS/, counts(0, 0)],
  ["+edns=1", /status: NOERROR/, counts(1, 0)],
  ["+ednsflags=0x80", /status: NOERROR/, counts(1, 0), /EDNS: version: 0, flags:;/],
  ["+nocookie +dnssec +ednsopt=100:0102", counts(1, 0), /flags: do;/],
  ["+cookie", counts(1, 0)],
  ["+expire +keepalive +tcp", counts(1, 0)],
  ["+zflag +adflag +aaflag +tcflag", /flags: qr aa rd ra;/, counts(1, 0)],
  ["+opcode=15 +noedns +norec", /opcode: RESERVED15, status: NOTIMP/],
  ["+opcode=4 +noedns +norec", /opcode: NOTIFY, status: NOTIMP/],
  ["+header-only +noedns +norec", /status: FORMERR/],
];

async function askEach(t: TestContext, tool: Tool, cases: readonly Case[]): Promise<void> {
  if (!(await isThere(tool))) return t.skip(`${tool} is not installed`);
  const server = await open(t);
  for (const [asked, ...expected] of cases) {
    const out = await judged(tool, server, asked.split(" "));
    for (const pattern of expected) assert.match(out, pattern, `${tool} ${asked}`);
  }
}

const asWays = (ways: readonly Case[]): readonly Case[] =>
  ways.map(([asked, ...expected]) => [`${full} A ${asked}`, ...expected] as const);

for (const tool of ["dig", "kdig"] as const) {
  test(`judges: ${tool} reads records of every type, and their absence`, async (t) => {
    await askEach(t, tool, RECORDS);
  });

  test(`judges: ${tool} gets the same answer in whatever way EDNS is used`, async (t) => {
    await askEach(t, tool, asWays(WAYS));
  });

  test(`judges: ${tool} reads the same records over TCP`, async (t) => {
    await askEach(
      t,
      tool,
      RECORDS.map(([asked, ...expected]) => [`${asked} +tcp`, ...expected] as const),
    );
  });

  test(`judges: ${tool} gets large answers: cut over UDP, whole over TCP, what fits of 5,000 addresses`, async (t) => {
    if (!(await isThere(tool))) return t.skip(`${tool} is not installed`);
    const server = await open(t);
    const name = "tasks.fifty.default.skein.internal";
    const cut = await judged(tool, server, [name, "A", "+ignore", "+noedns"]);
    assert.match(cut, /flags: qr aa tc rd ra;/i);
    assert.match(cut, counts(28, 0));
    for (const how of [["+noedns"], ["+bufsize=700"], ["+edns=0"], ["+tcp"]])
      assert.match(await judged(tool, server, [name, "A", ...how]), counts(50, 0), how.join(" "));
    const many = await judged(tool, server, ["tasks.many.default.skein.internal", "A"]);
    assert.match(many, counts(4000, 0));
    const services = await judged(tool, server, ["_web._tcp.many.default.skein.internal", "SRV"]);
    assert.match(services, /flags: qr aa rd ra;/i);
    assert.ok(Number(/ANSWER: (\d+)/.exec(services)?.[1]) > 500);
  });
}

test("judges: dig finds EDNS as RFC 6891 wants it, and errors for what it cannot mean", async (t) => {
  await askEach(t, "dig", asWays(DIG_WAYS));
});

test("judges: dig gets the name in the case in which it asked", async (t) => {
  const name = "WEB-1.wEb.default.Skein.Internal";
  await askEach(t, "dig", [[`${name} A`, counts(1, 0), /^WEB-1\.wEb\.default\.Skein\.Internal\.\s/m]]);
});

test("judges: kdig sees BADVERS for another version of EDNS", async (t) => {
  await askEach(t, "kdig", asWays([["+edns=1", /BADVERS/]]));
});
