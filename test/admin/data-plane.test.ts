// Doctor on the data plane: the mode and its price, each network in one row, the ways between hosts.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { DoctorCheck } from "../../src/admin/contract-doctor.ts";
import type { ProblemLine } from "../../src/admin/contract.ts";
import { judgePlane, type PathFacts, type PlaneFacts } from "../../src/admin/data-plane.ts";
import { diagnose } from "../../src/admin/doctor.ts";
import type { Snapshot } from "../../src/admin/handlers.ts";
import type { Network, Slice } from "../../src/model/network.ts";
import { NOTHING } from "./facts.ts";
import { OTHER, SELF, snapshot, view } from "./picture.ts";

const KERNEL = { mode: "kernel", reason: "NET_ADMIN and nftables are there" } as const;
const WORKS: PlaneFacts = {
  overlay: { address: "192.0.2.1", device: "eth0", mtu: 1500, encrypts: true },
  carried: new Set(["app"]),
  bridges: [{ network: "app", device: "sk-app", prefix: "10.160.1.0/24" }],
  encryption: "WireGuard of the kernel",
  forwards: true,
  paths: [],
};

function slice(node: string, index: number, over: Partial<Slice> = {}): Slice {
  return { node, nodeName: node, index, prefix: `10.160.${index}.0/24`, tentative: false, ...over };
}

function network(over: Partial<Network> = {}): Network {
  const slices = [slice(SELF, 1), slice(OTHER, 2)];
  const range = { range: "10.160.0.0/16", sliceBits: 24, vni: 5000, encrypted: false };
  return { name: "app", ...range, slices, problems: [], isSound: true, ...over };
}

function rows(
  networks: readonly Network[],
  facts: PlaneFacts | null,
  given: Partial<Snapshot> = {},
): readonly DoctorCheck[] {
  return judgePlane(snapshot({ dataPlane: KERNEL, view: view({ networks }), ...given }), facts, []);
}

const rowOf = (checks: readonly DoctorCheck[], area: string, subject: string): DoctorCheck | undefined =>
  checks.find((check) => check.area === area && check.subject === subject);

test("doctor: at kernel speed is well, with the reason", () => {
  const check = rowOf(rows([], WORKS), "kernel", "data plane");
  assert.equal(check?.state, "ok");
  assert.match(check?.text ?? "", /NET_ADMIN and nftables are there/);
});

test("doctor: the proxy is a warning where something is missing for more, and well where it was asked for", () => {
  const judged = (reason: string): readonly unknown[] => {
    const check = rowOf(rows([], null, { dataPlane: { mode: "proxy", reason } }), "kernel", "data plane");
    return [check?.state, check?.remedy];
  };
  assert.deepEqual(judged("no NET_ADMIN"), [
    "warn",
    "give the daemon NET_ADMIN (in Docker: --cap-add NET_ADMIN)",
  ]);
  assert.deepEqual(judged('program "nft" is not installed, or not on the PATH'), [
    "warn",
    "install the package nftables",
  ]);
  assert.deepEqual(judged("configured"), ["ok", null]);
});

test("doctor: a host that forwards nothing fails, with the command that mends it", () => {
  assert.equal(rowOf(rows([], WORKS), "kernel", "net.ipv4.ip_forward")?.state, "ok");
  const check = rowOf(rows([], { ...WORKS, forwards: false }), "kernel", "net.ipv4.ip_forward");
  assert.deepEqual([check?.state, check?.remedy], ["fail", "sysctl -w net.ipv4.ip_forward=1"]);
  assert.equal(rowOf(rows([], { ...WORKS, forwards: null }), "kernel", "net.ipv4.ip_forward"), undefined);
});

test("doctor: a network that is carried tells slice, bridge and way", () => {
  const check = rowOf(rows([network()], WORKS), "network", "app");
  assert.deepEqual([check?.state, check?.text], ["ok", "10.160.1.0/24 on sk-app, VXLAN to 1 other host"]);
  const secret = rowOf(rows([network({ encrypted: true })], WORKS), "network", "app");
  assert.match(secret?.text ?? "", /VXLAN in WireGuard/);
});

test("doctor: a network that is not carried is a warning that says what is missing", () => {
  const without = { ...WORKS, carried: new Set<string>() };
  const reasons: readonly (readonly [RegExp, Network, PlaneFacts | null])[] = [
    [/the proxy carries all traffic/, network(), null],
    [/not its alone/, network({ isSound: false }), without],
    [/no slice of 10\.160\.0\.0\/16/, network({ slices: [slice(OTHER, 2)] }), without],
    [
      /10\.160\.1\.0\/24 is not settled yet/,
      network({ slices: [slice(SELF, 1, { tentative: true })] }),
      without,
    ],
    [/Docker has no network app/, network(), { ...without, bridges: [] }],
    [
      /is on 10\.160\.1\.0\/24, and its slice is 10\.160\.9\.0\/24/,
      network({ slices: [slice(SELF, 9)] }),
      without,
    ],
    [/its links are not up/, network(), without],
    [/IPv4 address/, network(), { ...without, overlay: null }],
  ];
  for (const [expected, one, facts] of reasons) {
    const check = rowOf(rows([one], facts), "network", "app");
    assert.equal(check?.state, "warn");
    assert.match(check?.text ?? "", expected);
  }
});

test("doctor: an encrypted network on a host that cannot encrypt fails, with what to install", () => {
  const encryption = 'program "wg" is not installed, or not on the PATH';
  const overlay = { address: "192.0.2.1", device: "eth0", mtu: 1500, encrypts: false };
  const facts = { ...WORKS, carried: new Set<string>(), overlay, encryption };
  const checks = rows([network({ encrypted: true })], facts);
  const check = rowOf(checks, "network", "app");
  assert.equal(check?.state, "fail");
  assert.match(check?.text ?? "", /never in clear: program "wg" is not installed/);
  assert.match(check?.remedy ?? "", /wireguard-tools/);
  assert.equal(rowOf(checks, "kernel", "encryption"), undefined, "told once");
});

test("doctor: a problem of a network is told in its row and nowhere else", () => {
  const text = "10.160.0.0/16 has no slice left for host-9";
  const problem: ProblemLine = { area: "network", subject: "app", text: "Docker has a foreign network app" };
  const given = snapshot({
    dataPlane: KERNEL,
    view: view({ networks: [network({ problems: [text] })] }),
    problems: [problem, { area: "network", subject: "vip.pool", text: "it overlaps eth0's" }],
  });
  const { checks } = diagnose(given, { ...NOTHING, plane: WORKS });
  for (const told of [text, problem.text]) {
    const found = checks.filter((check) => check.text.includes(told));
    assert.deepEqual(
      found.map(({ subject, state }) => [subject, state]),
      [["app", "warn"]],
    );
  }
  assert.equal(rowOf(checks, "network", "vip.pool")?.text, "it overlaps eth0's");
});

test("doctor: a way that takes less than the links is named with both sizes and the remedy", () => {
  const path = (name: string, finding: PathFacts["finding"]): PathFacts => {
    return { name, address: "192.0.2.2", expected: 1500, finding };
  };
  const whole = Array.from({ length: 10 }, (_, at) => path(`host-${at}`, { kind: "whole" }));
  const paths = [
    ...whole,
    path("narrow", { kind: "smaller", mtu: 1400 }),
    path("mute", { kind: "silent" }),
    path("late", { kind: "unknown", reason: "there was no time to try" }),
    path("later", { kind: "unknown", reason: "there was no time to try" }),
  ];
  const checks = rows([network()], { ...WORKS, paths }).filter(({ area }) => area === "mtu");
  assert.deepEqual(
    checks.map(({ subject, state }) => [subject, state]),
    [
      ["host-0, host-1, host-2, host-3, host-4, host-5, host-6, host-7 and 2 more", "ok"],
      ["narrow", "warn"],
      ["mute", "warn"],
      ["late, later", "warn"],
    ],
  );
  assert.match(checks[1]?.text ?? "", /1400 bytes .* 1500/);
  assert.match(checks[1]?.remedy ?? "", /ip link set dev eth0 mtu 1400/);
  assert.match(checks[3]?.text ?? "", /no time to try/);
});
