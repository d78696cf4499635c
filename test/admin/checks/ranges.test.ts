// Ranges: what shares addresses with those that a cluster gives away.

import assert from "node:assert/strict";
import { test } from "node:test";

import { judgeRanges, type RangeFacts } from "../../../src/admin/checks/ranges.ts";
import type { DoctorCheck } from "../../../src/admin/contract-doctor.ts";
import { parsePrefix, type Prefix } from "../../../src/base/ip.ts";

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  assert.ok(parsed.ok, text);
  return parsed.value;
}

function judged(over: Partial<RangeFacts> = {}): {
  readonly vip: DoctorCheck[];
  readonly overlay: DoctorCheck[];
} {
  const checks = judgeRanges({
    vipPool: prefix("10.96.0.0/12"),
    overlayPool: prefix("10.160.0.0/11"),
    enginePools: ["172.16.0.0/12"],
    members: [],
    networks: [],
    tellsVips: true,
    ...over,
  });
  const of = (id: string): DoctorCheck[] => checks.filter((check) => check.id === id);
  return { vip: of("range.vip"), overlay: of("range.overlay") };
}

const host = (...prefixes: readonly string[]): RangeFacts["members"][number] => {
  return { name: "host-2", state: "alive", prefixes };
};

test("ranges: ones that nobody else uses are well", () => {
  const { vip, overlay } = judged({ members: [host("192.168.1.0/24")] });
  assert.deepEqual([vip.map(({ state }) => state), overlay.map(({ state }) => state)], [["ok"], ["ok"]]);
  assert.equal(vip[0]?.subject, "vip.pool 10.96.0.0/12");
});

test("ranges: a host's route into one is told with its name, once: where status does not", () => {
  const members = [host("10.97.0.0/16", "10.165.0.0/16")];
  const { vip, overlay } = judged({ members });
  assert.match(vip[0]?.text ?? "", /in use already: 10\.97\.0\.0\/16 on host-2/);
  assert.match(overlay[0]?.text ?? "", /10\.165\.0\.0\/16 on host-2/);
  assert.deepEqual([vip[0]?.state, overlay[0]?.state], ["warn", "warn"]);
  assert.match(vip[0]?.remedy ?? "", /set vip\.pool/);
  assert.deepEqual(judged({ members, tellsVips: false }).vip, []);
});

test("ranges: the cluster's own networks in the overlay pool are no trouble", () => {
  const members = [host("10.160.3.0/24")];
  assert.equal(judged({ members, networks: [{ range: "10.160.0.0/16" }] }).overlay[0]?.state, "ok");
  assert.equal(judged({ members, networks: [{ range: "10.161.0.0/16" }] }).overlay[0]?.state, "warn");
});

test("ranges: pools of Docker that reach into one are told before a network lies there", () => {
  const { vip, overlay } = judged({ enginePools: ["10.100.0.0/16", "nonsense"] });
  assert.match(vip[0]?.text ?? "", /Docker takes networks from 10\.100\.0\.0\/16/);
  assert.match(vip[0]?.remedy ?? "", /default-address-pools/);
  assert.equal(overlay[0]?.state, "ok");
});

test("ranges: routes of a host that is gone are nobody's trouble", () => {
  const members = [{ ...host("10.165.0.0/16"), state: "dead" as const }];
  assert.equal(judged({ members }).overlay[0]?.state, "ok");
});
