// Explanations: what DNS would answer, and why where the answer alone does not tell.

import assert from "node:assert/strict";
import { test } from "node:test";

import { explainAnswer } from "../../../src/dns/names/explain.ts";
import type { Asker } from "../../../src/dns/names/lookup.ts";
import { planZone } from "../../../src/dns/names/zone.ts";
import { OPTIONS, replicas, service, view } from "../fixture.ts";
import { HOST, on, zone } from "../names.ts";

const noteOf = (name: string, asker: Asker) => {
  const given = explainAnswer(zone, name, "A", asker);
  return given.ok ? (given.value.note ?? null) : given.failure.code;
};

test("explain: tells what DNS would answer, in words and numbers", () => {
  const given = explainAnswer(zone, "web.", "a", HOST);
  assert.deepEqual(given.ok && given.value, {
    name: "web",
    type: "A",
    rcode: "NOERROR",
    answers: [{ type: "A", ttl: 5, data: "10.1.255.1" }],
  });
  const foreign = explainAnswer(zone, "example.com", "AAAA", HOST);
  assert.equal(foreign.ok && foreign.value.rcode, "FORWARD");
  const soa = explainAnswer(zone, "skein.internal", "SOA", HOST);
  assert.equal(
    soa.ok && soa.value.answers[0]?.data,
    "host-1.node.skein.internal hostmaster.skein.internal 7 3600 600 86400 5",
  );
});

test("explain: an unknown type and an impossible name are the caller's mistake", () => {
  for (const [name, type] of [
    ["web", "WHAT"],
    ["web", "TYPE70000"],
    ["x".repeat(64), "A"],
  ] as const) {
    const given = explainAnswer(zone, name, type, HOST);
    assert.equal(given.ok ? "ok" : given.failure.code, "usage");
  }
});

test("explain: an ambiguous name tells the networks that have it, and what to ask for", () => {
  const note = "the networks blue, green have it, none is the asker's own; expected both.blue or both.green";
  assert.equal(noteOf("both", HOST), note);
  assert.equal(noteOf("Both.skein.internal", on("green", "blue")), null);
  assert.equal(noteOf("both", on("default", "blue", "green")), note);
  assert.equal(noteOf("both.blue", HOST), null);
});

test("explain: a copy of a service that several networks have tells by which name it is found", () => {
  const blue = service("blue", "db", { replicas: replicas("db", 1, 2) });
  const doubled = planZone(view([blue, service("green", "db")]), OPTIONS);
  const given = explainAnswer(doubled, "db-1.db", "A", HOST);
  assert.deepEqual(given.ok && [given.value.rcode, given.value.note], [
    "NXDOMAIN",
    "several networks have its service, none is the asker's own; expected db-1.db.blue",
  ]);
});

test("explain: a name that only others see tells where it is", () => {
  assert.equal(noteOf("app", on("default")), "it is in the network green; the asker is on default");
  assert.equal(noteOf("app.green", on()), "it is in the network green; the asker is on none");
  assert.equal(noteOf("example.com", on("default")), null);
  assert.equal(noteOf("app", HOST), null);
});

test("explain: for an isolated container foreign names are refused, and it says why", () => {
  const asker: Asker = { kind: "container", networks: ["default"], isolated: true };
  const given = explainAnswer(zone, "example.com", "A", asker);
  assert.equal(given.ok && given.value.rcode, "REFUSED");
  assert.match(noteOf("example.com", asker) ?? "", /^all networks of the asker are internal/);
  assert.equal(noteOf("app", asker), "it is in the network green; the asker is on default");
  assert.equal(noteOf("nobody.skein.internal", asker), null);
});

test("explain: a service of which nothing takes traffic, and a picture that is not complete, are told", () => {
  assert.equal(
    noteOf("tasks.quiet", HOST),
    "no replica of default/quiet takes traffic; skein explain quiet tells why",
  );
  const young = planZone(view([service("default", "web")], { complete: false }), OPTIONS);
  const given = explainAnswer(young, "api.skein.internal", "A", HOST);
  assert.equal(given.ok && given.value.note, "this daemon does not know yet what its peers know");
});

test("explain: an address stands for its reverse name where PTR is asked for", () => {
  const given = explainAnswer(zone, "10.1.255.1", "ptr", HOST);
  assert.deepEqual(given.ok && given.value, {
    name: "1.255.1.10.in-addr.arpa",
    type: "PTR",
    rcode: "NOERROR",
    answers: [{ type: "PTR", ttl: 5, data: "web.default.skein.internal" }],
  });
});

test("explain: a name with nothing between two dots is a mistake, the root is none", () => {
  for (const name of ["web.skein.internal..", "web..default", ".web", ".."]) {
    const given = explainAnswer(zone, name, "A", HOST);
    assert.equal(given.ok ? "" : given.failure.code, "usage", name);
  }
  for (const name of [".", "web.skein.internal."]) assert.ok(explainAnswer(zone, name, "A", HOST).ok, name);
});
