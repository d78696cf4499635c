// What a person is told between two views.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { MemberState } from "../../src/model/member.ts";
import type { NodeLogRecord, ReplicaRecord } from "../../src/model/record.ts";
import type { View } from "../../src/model/view.ts";
import { changesBetween, refusalsBetween } from "../../src/view/changes.ts";
import { Merger } from "../../src/view/merge.ts";

import { claim, inputOf, member, range, replica, standing } from "./cluster.ts";

/** Views of a node that sees this of host b, one after the other. */
function viewsOf(...steps: readonly (readonly NodeLogRecord[])[]): View[] {
  const merger = new Merger();
  return steps.map(
    (records) =>
      merger.merge(
        inputOf([
          { name: "a", records: [] },
          { name: "b", records },
        ]),
      ).view,
  );
}

/** What is told at the last of these steps. */
function told(...steps: readonly (readonly NodeLogRecord[])[]): string[] {
  const views = viewsOf(...steps);
  const [before, after] = [views.at(-2) ?? null, views.at(-1)];
  assert.ok(after !== undefined);
  return changesBetween(before, after, 77).map(
    ({ kind, level, subject, text }) => `${kind} ${level} ${subject}: ${text}`,
  );
}

const web = (part: Partial<ReplicaRecord> = {}) => replica("web-1", part);

test("changes: a record that cannot be read is told when it comes, not again while it stays or when it goes", () => {
  const texts = (before: readonly string[], after: readonly string[]): string[] =>
    refusalsBetween(before, after, 5).map(({ kind, text }) => `${kind} ${text}`);
  assert.deepEqual(texts([], ["b: bad", "c: worse"]), ["member.refused b: bad", "member.refused c: worse"]);
  assert.deepEqual(texts(["b: bad", "c: worse"], ["c: worse", "d: bad"]), ["member.refused d: bad"]);
  assert.deepEqual(texts(["c: worse"], []), []);
});

test("changes: nothing is told where nothing changed", () => {
  const [view] = viewsOf([web()]);
  assert.ok(view !== undefined);
  assert.deepEqual(changesBetween(view, view, 0), []);
  assert.deepEqual(told([web()], [web()]), []);
});

test("changes: a service that comes is told with its replicas and its VIP, one that goes with what was left", () => {
  assert.deepEqual(told([], [web(), claim("web", "10.96.5.5")]), [
    "service.added info default/web: 1 replica",
    "vip.assigned info default/web: 10.96.5.5",
    "replica.ready info default/web web-1@b: probe: passed",
  ]);
  assert.deepEqual(told([web()], []), [
    "replica.gone info default/web web-1@b: its record is gone",
    "service.removed info default/web: no replica is left",
  ]);
});

test("changes: a first view tells what is there", () => {
  assert.equal(told([web()]).length, 2);
});

test("changes: each move of a replica is told once, in words of who says so", () => {
  assert.deepEqual(told([web()], [web({ state: "unready", reason: "probe: refused" })]), [
    "replica.unready warn default/web web-1@b: probe: refused",
  ]);
  assert.deepEqual(told([web()], [web({ state: "draining", reason: "" })]), [
    "replica.draining info default/web web-1@b: draining",
  ]);
  const draining = web({ state: "draining", reason: "" });
  assert.deepEqual(told([draining], [{ ...draining, drainApplied: true }]), [
    "replica.drained info default/web web-1@b: every live member has applied it",
  ]);
  assert.deepEqual(told([web({ reason: "one" })], [web({ reason: "two" })]), []);
});

test("changes: a copy that is only starting has nothing to tell, until it is ready", () => {
  assert.deepEqual(told([replica("web-2")], [replica("web-2"), web({ state: "starting" })]), []);
  assert.deepEqual(told([web({ state: "starting" })], [web()]), [
    "replica.ready info default/web web-1@b: probe: passed",
  ]);
});

test("changes: a lost VIP is told as a conflict, a lost port as a problem, each once", () => {
  const db = replica("db-1", { service: "db" });
  const records = [web(), db, claim("web", "10.96.5.5", 1), claim("db", "10.96.5.5", 2)];
  const conflicts = told([], records).filter((line) => line.startsWith("vip.conflict"));
  assert.deepEqual(conflicts, [
    "vip.conflict warn default/db: vip 10.96.5.5 belongs to default/web, which claimed it first",
    "vip.conflict warn default/web: vip 10.96.5.5 is claimed for default/db, too, which has to move",
  ]);
  assert.deepEqual(told(records, records), []);
  const publish = [{ published: 80, port: 80, protocol: "tcp" as const, mode: "ingress" as const }];
  const both = [web(), db].map((record) => ({ ...record, declaration: { ...record.declaration, publish } }));
  const problems = told([], both).filter((line) => line.startsWith("service.problem"));
  assert.deepEqual(problems, [
    "service.problem warn default/web: published port 80/tcp belongs to default/db",
  ]);
});

test("changes: very many at once are told as counts", () => {
  const many = Array.from({ length: 500 }, (_, index) => replica(`web-${index}`));
  assert.deepEqual(told([], many), [
    "service.added info 1 at once: told as a count",
    "replica.ready info 500 at once: told as a count",
  ]);
});

test("changes: the death of a host is told for each of its replicas, and its return too", () => {
  const merger = new Merger();
  const input = inputOf([
    { name: "a", records: [] },
    { name: "b", records: [web()] },
  ]);
  const view = (state: MemberState) => merger.merge({ ...input, standings: [standing("b", state)] }).view;
  const [alive, dead, back] = [view("alive"), view("dead"), view("alive")];
  assert.deepEqual(
    changesBetween(alive, dead, 0).map(({ kind, text }) => `${kind} ${text}`),
    ["replica.unready node b is dead"],
  );
  assert.deepEqual(
    changesBetween(dead, back, 0).map(({ kind }) => kind),
    ["replica.ready"],
  );
});

test("changes: a host that is drained or activated is told of once; one that comes drained says nothing", () => {
  const views = [false, true, true, false].map((draining) => {
    const members = [member("a", { self: true }), member("b", draining ? { draining } : {})];
    return { ...(viewsOf([])[0] ?? assert.fail()), members };
  });
  const texts = views
    .slice(1)
    .map((after, at) =>
      changesBetween(views[at] ?? null, after, 77).map(({ kind, subject }) => `${kind} ${subject}`),
    );
  assert.deepEqual(texts, [["member.draining b"], [], ["member.activated b"]]);
  const [, drained] = views;
  assert.ok(drained !== undefined);
  const none = { ...drained, members: [] };
  assert.deepEqual([...changesBetween(none, drained, 77), ...changesBetween(drained, none, 77)], []);
});

test("changes: a network is told when it is made, when something is wrong with it, and when it is removed", () => {
  const merger = new Merger();
  const nodes = [{ name: "a", records: [] }];
  const [front, twin] = [range("front", "10.160.0.0/16", 24), range("twin", "10.160.0.0/16", 24)];
  const views = [[], [front], [front, twin], [twin]].map(
    (networks) => merger.merge(inputOf(nodes, { networks })).view,
  );
  const toldAt = (at: number): string[] => {
    const after = views[at];
    assert.ok(after !== undefined);
    return changesBetween(views[at - 1] ?? null, after, 77).map(({ kind, subject }) => `${kind} ${subject}`);
  };
  assert.deepEqual(
    [1, 2, 3].map((at) => toldAt(at)),
    [
      ["network.added network front"],
      ["network.added network twin", "network.problem network twin"],
      ["network.removed network front"],
    ],
  );
});
