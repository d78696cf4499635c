// Ranges that mean something else somewhere: told with both ranges and the host's name, while it is so.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { Member, MemberState } from "../../src/model/member.ts";
import { poolOverlaps } from "../../src/view/overlap.ts";

import { prefix, range } from "./cluster.ts";

const POOL = prefix("10.96.0.0/12");

function member(name: string, prefixes: readonly string[], state: MemberState = "alive"): Member {
  const said = { name, host: name, port: 1, zone: "", labels: {}, role: "worker", software: "" } as const;
  const judged = { state, sinceMs: 0, rttMs: null, via: null, settlesAtMs: null };
  return { ...said, ...judged, prefixes, id: `id-${name}`, incarnation: 1, self: false };
}

function texts(...args: Parameters<typeof poolOverlaps>): string[] {
  return poolOverlaps(...args).map(({ text }) => text);
}

test("overlap: a route of a member inside the pool, around it or equal to it names both", () => {
  for (const shared of ["10.100.0.0/16", "10.0.0.0/8", "10.96.0.0/12", "10.111.255.255/32"]) {
    assert.deepEqual(poolOverlaps(POOL, [member("host-1", []), member("host-2", [shared])], []), [
      {
        subject: "vip.pool",
        text: `vip.pool 10.96.0.0/12 overlaps ${shared} of host-2; expected a range that nothing else uses`,
      },
    ]);
  }
});

test("overlap: neighbours of the pool and other ranges are none", () => {
  const prefixes = ["10.95.0.0/16", "10.112.0.0/16", "192.168.0.0/16", "172.17.0.0/16"];
  assert.deepEqual(texts(POOL, [member("host-1", prefixes)], []), []);
});

test("overlap: a member that is dead or has left does not count, one that is suspect or away does", () => {
  const at = (state: MemberState) => texts(POOL, [member("host-2", ["10.100.0.0/16"], state)], []).length;
  assert.deepEqual((["alive", "suspect", "away", "dead", "left"] as const).map(at), [1, 1, 1, 0, 0]);
});

test("overlap: a host is one problem however many routes it has, and very many hosts are counted", () => {
  const prefixes = Array.from({ length: 9 }, (_, index) => `10.${96 + index}.0.0/16`);
  const [text] = texts(POOL, [member("host-2", prefixes)], []);
  assert.match(
    text ?? "",
    /overlaps 10\.96\.0\.0\/16, 10\.97\.0\.0\/16, 10\.98\.0\.0\/16 and 6 more of host-2;/,
  );
  const hosts = Array.from({ length: 70 }, (_, index) => member(`host-${index}`, ["10.100.0.0/16"]));
  const all = texts(POOL, hosts, []);
  assert.equal(all.length, 51);
  assert.equal(all.at(-1), "vip.pool 10.96.0.0/12 overlaps ranges of 20 more hosts");
});

test("overlap: the range of a network is held against the pool, too", () => {
  const front = range("front", "10.104.0.0/16", 24);
  const back = range("back", "10.160.0.0/16", 24);
  const [text, ...rest] = texts(POOL, [], [front, back]);
  assert.match(text ?? "", /^vip\.pool 10\.96\.0\.0\/12 overlaps 10\.104\.0\.0\/16 of network front;/);
  assert.deepEqual(rest, []);
});
