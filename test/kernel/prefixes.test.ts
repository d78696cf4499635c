// A routing table becomes the prefixes that mean something on this host.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { ipv4ToNumber, parsePrefix, type Prefix } from "../../src/base/ip.ts";
import { prefixesFrom } from "../../src/kernel/prefixes.ts";
import { LIMITS } from "../../src/model/limits.ts";

const HEAD =
  "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT          \n";

/** A number as a little-endian machine prints it in network order. */
function hex(number: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(number);
  return bytes.toString("hex").toUpperCase();
}

function line(route: string, { device = "eth0", flags = "0001" } = {}): string {
  const { base, bits } = prefix(route);
  const mask = bits === 0 ? 0 : (0xffff_ffff << (32 - bits)) >>> 0;
  return `${device}\t${hex(base)}\t00000000\t${flags}\t0\t0\t0\t${hex(mask)}\t0\t0\t0      \n`;
}

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  assert.ok(parsed.ok, text);
  return parsed.value;
}

const POOL = prefix("10.96.0.0/12");

function read(...lines: readonly string[]): readonly string[] {
  return prefixesFrom(HEAD + lines.join(""), { ranges: [POOL], littleEndian: true });
}

test("prefixes: the networks of a host: its LAN, a VPN, Docker's bridges", () => {
  const told = read(
    line("0.0.0.0/0", { flags: "0003" }),
    line("192.168.1.0/24"),
    line("10.8.0.0/16", { device: "tun0", flags: "0003" }),
    line("172.17.0.0/16", { device: "docker0" }),
  );
  assert.deepEqual(told, ["10.8.0.0/16", "172.17.0.0/16", "192.168.1.0/24"]);
});

test("prefixes: the bridges and tunnels of our own networks are nobody else's", () => {
  const told = read(
    line("10.160.3.0/24", { device: "sk-app" }),
    line("10.160.4.0/24", { device: "sk-vx4711", flags: "0003" }),
    line("10.160.9.0/32", { device: "sk-wg" }),
    line("10.160.8.0/24", { device: "br-1234" }),
  );
  assert.deepEqual(told, ["10.160.8.0/24"]);
});

test("prefixes: the text that Linux prints is understood, on machines of either byte order", () => {
  const little = `${HEAD}eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n`;
  const big = `${HEAD}eth0\tC0000200\t00000000\t0001\t0\t0\t0\tFFFFFF00\t0\t0\t0\n`;
  const pool = prefix("192.0.2.0/24");
  assert.deepEqual(prefixesFrom(little, { ranges: [pool], littleEndian: true }), ["192.0.2.0/24"]);
  assert.deepEqual(prefixesFrom(big, { ranges: [pool], littleEndian: false }), ["192.0.2.0/24"]);
});

test("prefixes: what leads nowhere in particular does not count", () => {
  const halves = [line("0.0.0.0/1", { device: "tun0" }), line("128.0.0.0/1", { device: "tun0" })];
  const quarters = [line("64.0.0.0/2"), line("96.0.0.0/3")];
  const own = [line("127.0.0.0/8", { device: "lo" }), line("10.96.0.0/12", { device: "lo" })];
  // As Linux prints a route that drops in silence, one that says so, and one that is down.
  const refusing = [
    line("10.0.0.0/8", { device: "*", flags: "0001" }),
    line("10.2.0.0/16", { flags: "0201" }),
    line("10.1.0.0/16", { flags: "0000" }),
  ];
  assert.deepEqual(read(...halves, ...quarters, ...own, ...refusing), []);
});

test("prefixes: public routes matter only where they share addresses with the pool", () => {
  assert.deepEqual(read(line("8.8.8.0/24"), line("11.0.0.0/8")), []);
  const pool = prefix("8.8.0.0/16");
  const told = prefixesFrom(HEAD + line("8.8.8.0/24") + line("11.0.0.0/8"), {
    ranges: [pool],
    littleEndian: true,
  });
  assert.deepEqual(told, ["8.8.8.0/24"]);
});

test("prefixes: two routes to one prefix are told once", () => {
  assert.deepEqual(read(line("192.168.1.0/24"), line("192.168.1.0/24", { device: "wlan0" })), [
    "192.168.1.0/24",
  ]);
});

test("prefixes: of too many those that share addresses with the pool are kept, then the widest", () => {
  const narrow = Array.from({ length: LIMITS.prefixesPerNode + 50 }, (_, index) => {
    return line(`192.168.${index >> 3}.${(index & 7) * 32}/27`);
  });
  const told = read(...narrow, line("172.16.0.0/12"), line("10.111.255.255/32"));
  assert.equal(told.length, LIMITS.prefixesPerNode);
  assert.deepEqual(told.slice(0, 2), ["10.111.255.255/32", "172.16.0.0/12"]);
});

test("prefixes: what is in the way of a network, or may be, is kept before all else, as well", () => {
  const narrow = Array.from({ length: LIMITS.prefixesPerNode + 50 }, (_, index) => {
    return line(`172.16.${index}.0/24`);
  });
  const table = HEAD + [...narrow, line("192.168.7.8/32"), line("10.165.0.0/30")].join("");
  const ranges = [POOL, prefix("10.160.0.0/11"), prefix("192.168.0.0/16")];
  const told = prefixesFrom(table, { ranges, littleEndian: true });
  assert.ok(told.includes("10.165.0.0/30") && told.includes("192.168.7.8/32"));
});

test("prefixes: the order of the table does not matter, so that the same routes are not told as news", () => {
  const route = fc.tuple(
    fc.constantFrom("10.0.0.0", "172.16.0.0", "192.168.4.0"),
    fc.integer({ min: 22, max: 32 }),
  );
  const routes = fc.array(
    route.map(([base, bits]) => `${base}/${bits}`),
    { maxLength: 8 },
  );
  fc.assert(
    fc.property(
      routes.chain((list) =>
        fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })),
      ),
      ([list, shuffled]) => {
        const [one, other] = [list, shuffled].map((texts) => read(...texts.map((text) => line(text))));
        assert.deepEqual(one, other);
        assert.deepEqual(new Set(one), new Set(list));
      },
    ),
  );
});

test("prefixes: text that is no routing table is none, whatever it holds", () => {
  for (const text of [
    "",
    "\n\n",
    HEAD,
    "eth0",
    "eth0\tzz\t0\t1\t0\t0\t0\tff",
    line("10.0.0.0/8").slice(0, 40),
  ])
    assert.deepEqual(prefixesFrom(text, { ranges: [POOL], littleEndian: true }), []);
  // A mask with a gap, and host bits that its mask does not cover.
  const gap = `eth0\t${hex(ipv4ToNumber("10.0.0.0"))}\t0\t0001\t0\t0\t0\t${hex(0xff00_ff00)}\t0\n`;
  const rest = `eth0\t${hex(ipv4ToNumber("10.0.0.1"))}\t0\t0001\t0\t0\t0\t${hex(0xffff_ff00)}\t0\n`;
  assert.deepEqual(read(gap, rest), []);
  fc.assert(
    fc.property(fc.string(), (text) => void prefixesFrom(text, { ranges: [POOL], littleEndian: true })),
  );
});
