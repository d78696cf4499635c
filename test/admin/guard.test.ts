// Guard: programs and our own pages are let in over TCP; rebound names and other sites are not.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { strangerOf, type Caller } from "../../src/admin/guard.ts";

const PROGRAM: Caller = {
  method: "GET",
  host: "127.0.0.1:7651",
  origin: null,
  fetchSite: null,
  fetchMode: null,
};

/** Why a caller is no guest; null when it is one. */
function refusalOf(caller: Caller): string | null {
  return strangerOf(caller)?.detail ?? null;
}

test("guard: a host header that does not name loopback is refused, whatever surrounds a loopback name", () => {
  const parts = ["127.0.0.1", "localhost", "[::1]", ".", "evil.example", ":7651", "@", "#", " "];
  const text = fc.array(fc.constantFrom(...parts), { maxLength: 4 }).map((chosen) => chosen.join(""));
  const allowed = /^(127\.0\.0\.1|localhost|\[::1\])(:7651)?$/;
  fc.assert(
    fc.property(text, (host) => {
      assert.equal(refusalOf({ ...PROGRAM, host }) === null, allowed.test(host), host);
    }),
  );
});

test("guard: loopback hosts in their usual forms are taken", () => {
  for (const host of ["localhost", "LOCALHOST:7651", "127.0.0.1", "127.9.8.7:1", "[::1]:7651", "[::1]"]) {
    assert.equal(refusalOf({ ...PROGRAM, host }), null, host);
  }
});

test("guard: forms of an address that only some programs read as loopback are refused", () => {
  for (const host of ["2130706433", "127.1", "0x7f.0.0.1", "0.0.0.0", "127.0.0.1.evil.example", "", null]) {
    assert.match(refusalOf({ ...PROGRAM, host }) ?? "", /^host is/);
  }
});

test("guard: our own page may call, a page of another site or port may not", () => {
  const host = "localhost:7651";
  assert.equal(refusalOf({ ...PROGRAM, host, origin: "http://localhost:7651" }), null);
  for (const origin of ["http://localhost:3000", "https://localhost:7651", "http://evil.example", "null"]) {
    assert.match(refusalOf({ ...PROGRAM, host, origin }) ?? "", /^origin is/);
  }
});

test("guard: a foreign page may link to us but not load from us", () => {
  assert.equal(refusalOf({ ...PROGRAM, fetchSite: "same-origin", fetchMode: "cors" }), null);
  assert.equal(refusalOf({ ...PROGRAM, fetchSite: "cross-site", fetchMode: "navigate" }), null);
  for (const fetchSite of ["cross-site", "same-site", "of the future"]) {
    assert.notEqual(refusalOf({ ...PROGRAM, fetchSite, fetchMode: "no-cors" }), null);
    assert.notEqual(refusalOf({ ...PROGRAM, method: "HEAD", fetchSite, fetchMode: "navigate" }), null);
  }
});

test("guard: each refusal has its reason, for the metric", () => {
  const reasonOf = (over: Partial<Caller>) => strangerOf({ ...PROGRAM, ...over })?.reason;
  assert.deepEqual(
    [reasonOf({ host: "a" }), reasonOf({ origin: "null" }), reasonOf({ fetchSite: "cross-site" })],
    ["host", "origin", "site"],
  );
});
