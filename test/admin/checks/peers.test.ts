// Other hosts: ways both ways, clocks and versions, each coming out well and ill.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { judgePeers, type PeerFacts } from "../../../src/admin/checks/peers.ts";
import type { DoctorCheck } from "../../../src/admin/contract-doctor.ts";

const HERE = { name: "host-1", version: "0.1.0", address: "192.0.2.1:7650" };

function peer(number: number, over: Partial<PeerFacts> = {}): PeerFacts {
  return {
    name: `host-${number}`,
    state: "alive",
    address: `192.0.2.${number}:7650`,
    version: "0.1.0",
    via: null,
    there: { kind: "reached" },
    back: { kind: "reached" },
    clock: { aheadMs: 3, errorMs: 1 },
    ...over,
  };
}

function rows(peers: readonly PeerFacts[], id: string): readonly DoctorCheck[] {
  return judgePeers(peers, HERE).filter((check) => check.id === id);
}

const outcomes = (checks: readonly DoctorCheck[]): readonly (readonly [string, string])[] =>
  checks.map(({ subject, state }) => [subject, state]);

test("peers: a host alone is told how others join", () => {
  const [check, ...others] = judgePeers([], HERE);
  assert.deepEqual([check?.state, others], ["ok", []]);
  assert.match(check?.text ?? "", /skein token worker/);
});

test("peers: hosts that are well share one row of each kind", () => {
  const checks = judgePeers([peer(2), peer(3)], HERE);
  assert.deepEqual(outcomes(checks), [
    ["host-2, host-3", "ok"],
    ["host-2, host-3", "ok"],
    ["host-2, host-3", "ok"],
    ["0.1.0", "ok"],
  ]);
  assert.deepEqual(
    checks.map(({ id }) => id),
    ["peer.there", "peer.back", "clock.skew", "version.skew"],
  );
  assert.deepEqual(
    checks.map(({ text }) => text),
    [
      "reached from here",
      "reaches this host at 192.0.2.1:7650",
      "clocks agree within 3 ms",
      "all 3 hosts run 0.1.0",
    ],
  );
  // Alerts and scripts go by these.
  assert.deepEqual(
    checks.map(({ id }) => id),
    ["peer.there", "peer.back", "clock.skew", "version.skew"],
  );
});

test("peers: one that lives and is not reached fails; one that is thought dead is a warning", () => {
  const there = { kind: "failed", reason: "took no connection in 2000 ms" } as const;
  const checks = rows([peer(2, { there }), peer(3, { there, state: "dead" }), peer(4)], "peer.there");
  assert.deepEqual(outcomes(checks), [
    ["host-4", "ok"],
    ["host-2", "fail"],
    ["host-3", "warn"],
  ]);
  assert.match(checks[1]?.text ?? "", /is alive, and not reached from here: took no connection/);
  assert.match(checks[1]?.remedy ?? "", /TCP 192\.0\.2\.2:7650/);
  assert.match(checks[2]?.remedy ?? "", /skein node rm host-3/);
});

test("peers: one that is reached through another host is told as such, and is not reached all the same", () => {
  const there = { kind: "failed", reason: "took no connection in 2000 ms" } as const;
  const [check] = rows([peer(2, { there, via: "host-3" })], "peer.there");
  assert.equal(check?.state, "fail");
  assert.match(check?.text ?? "", /not reached from here: took no connection .*; reached through host-3$/);
});

test("peers: one that does not reach this host fails, and the address it was told is named", () => {
  const back = { kind: "failed", address: "192.0.2.1:7650", reason: "connection refused" } as const;
  const [check] = rows([peer(2, { back })], "peer.back");
  assert.equal(check?.state, "fail");
  assert.match(check?.text ?? "", /does not reach this host at 192\.0\.2\.1:7650: connection refused/);
  assert.match(check?.remedy ?? "", /mesh\.advertise/);
});

test("peers: one that is not reached is not blamed for the way back", () => {
  const there = { kind: "failed", reason: "refused" } as const;
  const back = { kind: "unknown", reason: "it was not asked" } as const;
  assert.deepEqual(rows([peer(2, { there, back })], "peer.back"), []);
});

test("peers: one of an older version, or that had no turn in time, is told as not known", () => {
  const back = { kind: "unknown", reason: "its version is older than this question" } as const;
  assert.deepEqual(outcomes(rows([peer(2, { back })], "peer.back")), [["host-2", "warn"]]);
  assert.deepEqual(outcomes(rows([peer(2, { there: { kind: "untried" } })], "peer.there")), [
    ["host-2", "warn"],
  ]);
});

test("peers: clocks more than two seconds apart are told, either way, but not when that may be an error", () => {
  const of = (aheadMs: number, errorMs = 1): readonly DoctorCheck[] =>
    rows([peer(2, { clock: { aheadMs, errorMs } })], "clock.skew");
  assert.match(of(2500)[0]?.text ?? "", /2\.5 s ahead of this host's/);
  assert.match(of(-600_000)[0]?.text ?? "", /10 min behind this host's/);
  assert.match(of(-7_200_000 * 2)[0]?.text ?? "", /4 h behind/);
  assert.deepEqual([of(2500)[0]?.state, of(1900)[0]?.state, of(2500, 800)[0]?.state], ["warn", "ok", "ok"]);
  assert.match(of(2500)[0]?.remedy ?? "", /NTP/);
});

test("peers: another version is named with its hosts; who does not live has none", () => {
  const checks = rows(
    [peer(2), peer(3, { version: "0.0.9" }), peer(4, { version: "0.0.8", state: "dead" })],
    "version.skew",
  );
  assert.deepEqual(outcomes(checks), [["host-3", "warn"]]);
  assert.match(checks[0]?.text ?? "", /runs 0\.0\.9, and this host 0\.1\.0/);
});

test("peers: any number of ill hosts makes a bounded number of rows, and none is lost", () => {
  const there = { kind: "failed", reason: "refused" } as const;
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 300 }), (count) => {
      const peers = Array.from({ length: count }, (_, at) => peer(at + 2, { there }));
      const checks = rows(peers, "peer.there");
      assert.ok(checks.length <= 17);
      assert.ok(checks.every(({ state }) => state === "fail"));
      assert.equal(checks.length, Math.min(count, 17));
    }),
  );
});
