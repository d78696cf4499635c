// The host: each check of rights, programs, kernel, files and room, coming out well and ill.

import assert from "node:assert/strict";
import { test } from "node:test";

import { judgeHost, type HostFacts, type HostNeeds } from "../../../src/admin/checks/host.ts";
import type { DoctorCheck } from "../../../src/admin/contract-doctor.ts";

const GIB = 1024 ** 3;
const MIB = 1024 ** 2;

const WELL: HostFacts = {
  rights: new Set(["NET_ADMIN", "NET_BIND_SERVICE", "NET_RAW"]),
  programs: [{ name: "nft", package: "nftables", use: "no rules", version: "1.0.6" }],
  modules: [{ name: "vxlan", use: "no overlays", finding: "loaded" }],
  rpFilter: "0",
  bridgeFirewall: "1",
  conntrack: { count: 10, max: 1000 },
  files: { open: 50, max: 100_000 },
  delayMs: 3,
  dataDir: { path: "/state", failure: null, mode: 0o40700, isRootGroup: false, freeBytes: 8 * GIB },
};
const NEEDS: HostNeeds = { kernel: true, lowPorts: ["dns.listen 53"] };

function judged(facts: Partial<HostFacts>, needs: Partial<HostNeeds> = {}): readonly DoctorCheck[] {
  return judgeHost({ ...WELL, ...facts }, { ...NEEDS, ...needs });
}

function ofId(checks: readonly DoctorCheck[], id: string): DoctorCheck {
  const found = checks.filter((check) => check.id === id).at(-1);
  assert.ok(found !== undefined, id);
  return found;
}

const outcome = ({ state, remedy }: DoctorCheck): readonly [string, boolean] => [state, remedy !== null];

test("host: where all is well no check is a warning, and none has a remedy", () => {
  const checks = judged({});
  assert.deepEqual(
    checks.filter(({ state, remedy }) => state !== "ok" || remedy !== null),
    [],
  );
  assert.ok(checks.length >= 9, "each thing that was looked at is told");
});

test("host: timers that are late are told, by how late", () => {
  assert.deepEqual(outcome(ofId(judged({ delayMs: 120 }), "daemon.delay")), ["warn", true]);
  assert.deepEqual(outcome(ofId(judged({ delayMs: 1500 }), "daemon.delay")), ["fail", true]);
  assert.match(ofId(judged({ delayMs: 120 }), "daemon.delay").text, /120 ms/);
});

test("host: open files are told when they are nearly used up, or may be too few", () => {
  assert.deepEqual(outcome(ofId(judged({ files: { open: 85_000, max: 100_000 } }), "daemon.files")), [
    "warn",
    true,
  ]);
  assert.deepEqual(outcome(ofId(judged({ files: { open: 99_000, max: 100_000 } }), "daemon.files")), [
    "fail",
    true,
  ]);
  assert.deepEqual(outcome(ofId(judged({ files: { open: 10, max: 1024 } }), "daemon.files")), ["warn", true]);
});

test("host: a missing NET_ADMIN is told where the kernel is to forward, and only there", () => {
  const rights = new Set(["NET_BIND_SERVICE"] as const);
  assert.deepEqual(outcome(ofId(judged({ rights }), "rights.net-admin")), ["warn", true]);
  const ids = judged({ rights }, { kernel: false }).map(({ id }) => id);
  assert.equal(ids.includes("rights.net-admin"), false);
  assert.equal(
    judged({ rights: null }).some(({ area }) => area === "rights"),
    false,
    "without /proc nothing is known",
  );
});

test("host: a missing NET_RAW is told beside NET_ADMIN, and not where that is missing as well", () => {
  const admin = judged({ rights: new Set(["NET_ADMIN"]) });
  assert.deepEqual(outcome(ofId(admin, "rights.net-raw")), ["warn", true]);
  for (const checks of [judged({}), judged({ rights: new Set() })])
    assert.equal(
      checks.some(({ id }) => id === "rights.net-raw"),
      false,
    );
});

test("host: a missing right to low ports is told with the ports that want it, and not where none does", () => {
  const rights = new Set(["NET_ADMIN"] as const);
  const check = ofId(judged({ rights }), "rights.low-ports");
  assert.deepEqual(outcome(check), ["warn", true]);
  assert.match(check.text, /dns\.listen 53/);
  assert.equal(
    judged({ rights }, { lowPorts: [] }).some(({ id }) => id === "rights.low-ports"),
    false,
  );
});

test("host: a missing program is told with what is lost and its package", () => {
  const programs = [
    ...WELL.programs,
    { name: "wg", package: "wireguard-tools", use: "no secrets", version: null },
  ];
  const rows = judged({ programs }).filter(({ id }) => id === "program.there");
  assert.deepEqual(
    rows.map(({ subject, state }) => [subject, state]),
    [
      ["programs", "ok"],
      ["wg", "warn"],
    ],
  );
  assert.match(rows[1]?.text ?? "", /no secrets/);
  assert.match(rows[1]?.remedy ?? "", /package wireguard-tools/);
});

test("host: a module that the kernel has not is a warning; one of which nothing is known is none", () => {
  const of = (finding: HostFacts["modules"][number]["finding"]): DoctorCheck =>
    ofId(judged({ modules: [{ name: "vxlan", use: "no overlays", finding }] }), "host.module");
  assert.deepEqual(outcome(of("loadable")), ["ok", false]);
  assert.deepEqual(outcome(of("unknown")), ["ok", false]);
  assert.match(of("unknown").text, /cannot be told/);
  assert.deepEqual(outcome(of("missing")), ["warn", true]);
});

test("host: where the proxy is to carry all, nothing that only the kernel's part needs is looked at", () => {
  const ids = new Set(judged({}, { kernel: false }).map(({ id }) => id));
  for (const id of ["program.there", "host.module", "host.rp-filter", "host.bridge-firewall"])
    assert.equal(ids.has(id), false, id);
});

test("host: a table of connections that fills up is told with a larger size", () => {
  const warn = ofId(judged({ conntrack: { count: 850, max: 1000 } }), "host.conntrack");
  assert.deepEqual(outcome(warn), ["warn", true]);
  assert.match(warn.remedy ?? "", /nf_conntrack_max=2000/);
  assert.equal(ofId(judged({ conntrack: { count: 990, max: 1000 } }), "host.conntrack").state, "fail");
});

test("host: a state folder that cannot be written fails, one that others may write is a warning", () => {
  const dir = WELL.dataDir;
  const failed = ofId(
    judged({ dataDir: { ...dir, failure: "EROFS", mode: null, freeBytes: null } }),
    "state.data-dir",
  );
  assert.deepEqual(outcome(failed), ["fail", true]);
  assert.match(failed.text, /EROFS/);
  const open = ofId(judged({ dataDir: { ...dir, mode: 0o40777 } }), "state.data-dir");
  assert.deepEqual([open.state, open.remedy], ["warn", "chmod 700 /state"]);
  assert.equal(ofId(judged({ dataDir: { ...dir, mode: null } }), "state.data-dir").state, "ok");
  const ofGroup = (mode: number, isRootGroup: boolean): string =>
    ofId(judged({ dataDir: { ...dir, mode, isRootGroup } }), "state.data-dir").state;
  assert.deepEqual(
    [ofGroup(0o40770, true), ofGroup(0o40770, false), ofGroup(0o40777, true)],
    ["ok", "warn", "warn"],
  );
});

test("host: a disk that fills up is told", () => {
  const of = (freeBytes: number): DoctorCheck =>
    ofId(judged({ dataDir: { ...WELL.dataDir, freeBytes } }), "state.space");
  assert.deepEqual([of(8 * GIB).text, of(150 * MIB).text], ["8 GiB free", "150 MiB free"]);
  assert.deepEqual([of(150 * MIB).state, of(5 * MIB).state], ["warn", "fail"]);
});
