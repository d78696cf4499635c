// Who has applied what reaches the owner who asked, as few frames as may be, whatever way it takes.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import type { AppliedReport, Message } from "../../src/gossip/message.ts";
import { Reports } from "../../src/gossip/reports.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { cheapSeals } from "../support/cheap-seals.ts";
import { idOf } from "../support/gossip-network.ts";
import { linkedTo, type Linked } from "../support/gossip-peers.ts";
import { credentialOf, reportersOf } from "../support/sealed.ts";

const SELF = "self";
const RELAY = idOf("relay");
/** A name whose node stands next to this one's on the ring, so that the way to it leads over that one. */
const NEIGHBOURS = Array.from({ length: 400 }, (_, index) => `far ${index}`);

function openReports({ carrier }: Pick<Linked, "carrier">): Reports {
  return new Reports({ self: idOf(SELF), carrier, seals: cheapSeals(idOf(SELF)), credentialOf });
}

/** Reports of a node linked to `relay` alone, and names of owners that are reached over it. */
function overRelay(): Linked & { reports: Reports; owners: readonly string[] } {
  const linked = linkedTo(SELF, "relay");
  const reports = openReports(linked);
  const owners = NEIGHBOURS.filter((name) => linked.carrier.linkTowards(idOf(name)) !== null);
  assert.ok(owners.length > 10);
  return { ...linked, reports, owners };
}

function reportOf(owner: string, version: number, ...by: readonly string[]): AppliedReport {
  const log = { owner: idOf(owner), incarnation: 1, version };
  return { ...log, by: reportersOf(log, ...by.map(idOf)) };
}

function applied(reports: readonly AppliedReport[], hops = 0): Extract<Message, { kind: "applied" }> {
  return { kind: "applied", reports, hops };
}

test("reports: an owner that is linked is told at once", () => {
  const { carrier, sent } = linkedTo(SELF, "a", "b");
  const by = [{ id: idOf(SELF), signature: null }];
  const reports = openReports({ carrier });
  reports.report({ owner: idOf("b"), incarnation: 3, version: 7 });
  assert.deepEqual(sent(), [
    { to: "b", message: applied([{ owner: idOf("b"), incarnation: 3, version: 7, by }]) },
  ]);
  reports.tick();
  assert.deepEqual(sent(), [], "and only once");
});

test("reports: one for an owner some links away waits for others and goes on with them as one frame", () => {
  const { reports, owners, sent } = overRelay();
  const [one, other] = owners;
  assert.ok(one !== undefined && other !== undefined);
  reports.report({ owner: idOf(one), incarnation: 1, version: 5 });
  reports.received(applied([reportOf(one, 5, "x", "y"), reportOf(one, 6, "x")], 3), RELAY);
  reports.received(applied([reportOf(one, 5, "y", "z"), reportOf(other, 1, "x")]), RELAY);
  assert.deepEqual(sent(), []);
  reports.tick();
  const frames = sent();
  assert.deepEqual(
    frames.map(({ to }) => to),
    ["relay"],
  );
  assert.deepEqual(frames[0]?.message, {
    kind: "applied",
    reports: [reportOf(one, 5, SELF, "x", "y", "z"), reportOf(one, 6, "x"), reportOf(other, 1, "x")],
    hops: 4,
  });
  reports.tick();
  assert.deepEqual(sent(), []);
});

test("reports: those for this node are handed out, those for others are not", () => {
  const { reports, owners } = overRelay();
  const report = reportOf(SELF, 9, "x", "y");
  const received = reports.received(applied([report, reportOf(owners[0] ?? "", 1, "x")]), RELAY);
  const own = { owner: idOf(SELF), incarnation: 1, version: 9, by: [idOf("x"), idOf("y")] };
  assert.deepEqual(received, { own: [own], forgedCount: 0 });
});

test("reports: over a link of its own a member need not sign what it says, in another's name it must", () => {
  const { reports, owners, sent } = overRelay();
  const unsigned = {
    ...reportOf(SELF, 9),
    by: ["relay", "x"].map((name) => ({ id: idOf(name), signature: null })),
  };
  const { own, forgedCount } = reports.received(applied([unsigned]), RELAY);
  assert.deepEqual([own[0]?.by, forgedCount], [[RELAY], 1]);
  const passedOn = { ...unsigned, owner: idOf(owners[0] ?? "") };
  assert.equal(reports.received(applied([passedOn]), RELAY).forgedCount, 2, "nor is it passed on without");
  reports.tick();
  assert.deepEqual(sent(), []);
});

test("reports: one that is forged, or of another version than was signed, is dropped on its way, and counted", () => {
  const { reports, owners, sent } = overRelay();
  const [owner = ""] = owners;
  const good = reportOf(owner, 5, "x");
  const lies = [
    { ...good, version: 6 },
    { ...good, incarnation: 2 },
    { ...good, owner: idOf(owners[1] ?? "") },
    { ...good, by: good.by.map(({ signature }) => ({ id: idOf("y"), signature })) },
  ];
  assert.equal(reports.received(applied(lies), RELAY).forgedCount, lies.length);
  reports.received(applied([good]), RELAY);
  reports.tick();
  const passed = sent().flatMap(({ message }) => (message.kind === "applied" ? message.reports : []));
  assert.deepEqual(passed, [good]);
});

test("reports: merged in any order and any portions, nobody who applied a version is lost or made up", () => {
  const reporter = fc.constantFrom("p", "q", "r", "s");
  const report = fc.tuple(
    fc.nat({ max: 2 }),
    fc.integer({ min: 1, max: 3 }),
    fc.array(reporter, { minLength: 1 }),
  );
  fc.assert(
    fc.property(fc.array(fc.array(report, { maxLength: 4 }), { maxLength: 6 }), (messages) => {
      const { reports, owners, sent } = overRelay();
      const told = new Set<string>();
      for (const message of messages) {
        const list = message.map(([owner, version, by]) => reportOf(owners[owner] ?? "", version, ...by));
        for (const { owner, version, by } of list)
          for (const { id } of by) told.add(`${owner} ${version} ${id}`);
        reports.received(applied(list), RELAY);
      }
      reports.tick();
      const gone = sent().flatMap(({ message }) => (message.kind === "applied" ? message.reports : []));
      const passed = gone.flatMap(({ owner, version, by }) =>
        by.map(({ id }) => `${owner} ${version} ${id}`),
      );
      assert.deepEqual(passed.toSorted(), [...told].toSorted());
    }),
  );
});

test("reports: one that has been passed on too often is dropped: members disagree about the way", () => {
  const { reports, owners, sent } = overRelay();
  reports.received(applied([reportOf(owners[0] ?? "", 1, "x")], LIMITS.hopsMax), RELAY);
  reports.tick();
  assert.deepEqual(sent(), []);
});

test("reports: without a link that leads there a report is dropped, and kept by nobody", () => {
  const { reports, carrier, links, owners, sent } = overRelay();
  reports.received(applied([reportOf(owners[0] ?? "", 1, "x")]), RELAY);
  links.remove(1);
  assert.equal(carrier.linkTowards(idOf(owners[0] ?? "")), null);
  reports.tick();
  assert.deepEqual(sent(), []);
  reports.report({ owner: idOf("a"), incarnation: 1, version: 1 });
  reports.tick();
  assert.deepEqual(sent(), []);
});

test("reports: however many owners and reporters strangers make up, what waits is bounded", () => {
  const { reports, owners, sent } = overRelay();
  const [owner = ""] = owners;
  for (let version = 0; version < LIMITS.ownersMax + 500; version += 1)
    reports.received(applied([reportOf(owner, version, "x")]), RELAY);
  reports.tick();
  const passed = sent().flatMap(({ message }) => (message.kind === "applied" ? message.reports : []));
  assert.equal(passed.length, LIMITS.ownersMax);
});
