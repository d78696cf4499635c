// Selection: the certificate for a host, whichever files it is in.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { covers, indexCandidates, select, type Candidate } from "../../../src/proxy/tls/selection.ts";

const NOW_MS = 1_000_000;

function candidate(
  name: string,
  hosts: readonly string[],
  changes: Partial<Candidate["pair"]> = {},
): Candidate {
  return { name, pair: { hosts, addresses: [], fromMs: 0, untilMs: 2 * NOW_MS, ...changes } };
}

function chosen(candidates: readonly Candidate[], host: string | null): string | null {
  return select(indexCandidates(candidates, NOW_MS), host)?.name ?? null;
}

test("selection: an exact name outranks a wildcard, a wildcard the default", () => {
  const all = [
    candidate("a.crt", ["other.example"]),
    candidate("b.crt", ["*.example.com"]),
    candidate("c.crt", ["app.example.com"]),
  ];
  assert.equal(chosen(all, "app.example.com"), "c.crt");
  assert.equal(chosen(all, "api.example.com"), "b.crt");
  assert.equal(chosen(all, "elsewhere"), "a.crt");
  assert.equal(chosen(all, null), "a.crt");
});

test("selection: a wildcard stands for one label, neither for none nor for two", () => {
  const all = [candidate("a.crt", []), candidate("b.crt", ["*.example.com"])];
  assert.equal(chosen(all, "example.com"), "a.crt");
  assert.equal(chosen(all, "x.y.example.com"), "a.crt");
});

test("selection: the default is what is called so, otherwise the first by name", () => {
  const [a, z] = [candidate("a.crt", ["a.example"]), candidate("z.crt", ["z.example"])];
  assert.equal(chosen([z, a], null), "a.crt");
  for (const name of ["default.crt", "default.pem", "default"]) {
    assert.equal(chosen([z, a, candidate(name, [])], null), name);
  }
  assert.equal(chosen([candidate("defaults.crt", []), a], null), "a.crt");
  assert.equal(chosen([], null), null);
  assert.equal(chosen([], "a.example"), null);
});

test("selection: of two for one host the one that is valid now and lasts longer is taken", () => {
  const old = candidate("a.crt", ["a.example"], { untilMs: NOW_MS - 1 });
  const renewed = candidate("b.crt", ["a.example"], { untilMs: 3 * NOW_MS });
  const early = candidate("c.crt", ["a.example"], { fromMs: NOW_MS + 1, untilMs: 9 * NOW_MS });
  assert.equal(chosen([old, renewed, early], "a.example"), "b.crt");
  assert.equal(chosen([early, old], "a.example"), "a.crt");
});

test("selection: equal folders are served alike, in whatever order they are listed", () => {
  const host = fc.constantFrom("a.example", "b.example", "*.example", "c.b.example", "*.b.example");
  const untilMs = fc.constantFrom(NOW_MS - 1, 2 * NOW_MS, 3 * NOW_MS);
  const pairs = fc.array(fc.record({ hosts: fc.array(host, { maxLength: 3 }), untilMs }), { maxLength: 6 });
  fc.assert(
    fc.property(pairs, fc.array(fc.nat(99), { minLength: 6, maxLength: 6 }), (list, keys) => {
      const all = list.map(({ hosts, untilMs: until }, index) =>
        candidate(`${index}`, hosts, { untilMs: until }),
      );
      const shuffled = all.toSorted(
        (one, other) => (keys[all.indexOf(one)] ?? 0) - (keys[all.indexOf(other)] ?? 0),
      );
      for (const asked of ["a.example", "x.example", "c.b.example", "d.b.example", "none", null]) {
        const found = chosen(all, asked);
        assert.equal(chosen(shuffled, asked), found);
        const isCovered = asked !== null && all.some((one) => covers(one, asked));
        const one = all.find(({ name }) => name === found);
        if (isCovered && one !== undefined) assert.ok(covers(one, asked));
      }
    }),
  );
});

test("selection: a certificate covers its hosts, those of its wildcards and its addresses", () => {
  const one = candidate("a", ["a.example", "*.b.example"], { addresses: ["10.0.0.1"] });
  for (const host of ["a.example", "x.b.example", "10.0.0.1"]) assert.ok(covers(one, host), host);
  for (const host of ["b.example", "x.y.b.example", ".b.example", "10.0.0.2", ""])
    assert.ok(!covers(one, host), host);
});
