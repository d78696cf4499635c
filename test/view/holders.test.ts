// A port or route that several services want belongs to one of them, and a change concerns only who wants the same.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import type { PublishedPort } from "../../src/model/service.ts";
import { Holders, wantedBy, type Wanting } from "../../src/view/holders.ts";

function wanting(key: string, names: readonly string[], part: Partial<Wanting> = {}): Wanting {
  return { key, names, isPresent: true, order: 1, ...part };
}

function held(...all: readonly Wanting[]): Holders {
  const holders = new Holders();
  for (const one of all) holders.set(one);
  holders.settle();
  return holders;
}

const refused = (holders: Holders, key: string) => Object.fromEntries(holders.refused(key));

test("holders: the lower order has it, then the lower key; who wants nothing else's is refused nothing", () => {
  const holders = held(wanting("b", ["80", "81"]), wanting("a", ["80"], { order: 2 }), wanting("c", ["82"]));
  assert.deepEqual(refused(holders, "a"), { 80: "b" });
  assert.deepEqual(refused(holders, "b"), {});
  assert.deepEqual(refused(holders, "c"), {});
  assert.deepEqual(refused(held(wanting("b", ["80"]), wanting("a", ["80"])), "b"), { 80: "a" });
  assert.deepEqual(refused(holders, "unheard-of"), {});
});

test("holders: a service without a VIP comes after those that have one, one without hosts after all", () => {
  const order = Number.POSITIVE_INFINITY;
  assert.deepEqual(refused(held(wanting("a", ["80"], { order }), wanting("b", ["80"])), "a"), { 80: "b" });
  const gone = wanting("b", ["80"], { isPresent: false });
  assert.deepEqual(refused(held(wanting("a", ["80"], { order }), gone), "b"), { 80: "a" });
});

test("holders: a change of the holder concerns all who want the same, and nobody else", () => {
  const holders = held(
    wanting("a", ["80"]),
    wanting("b", ["80"]),
    wanting("c", ["80"]),
    wanting("d", ["81"]),
  );
  holders.set(wanting("a", []));
  assert.deepEqual([...holders.settle()].toSorted(), ["b", "c"]);
  assert.deepEqual(refused(holders, "c"), { 80: "b" });
  holders.set(wanting("b", ["80"], { order: 0 }));
  assert.deepEqual([...holders.settle()], [], "it has it by a better right than before");
});

test("holders: what is wanted now counts, whatever was wanted before", () => {
  const any = fc.record({
    key: fc.constantFrom("a", "b", "c"),
    names: fc.subarray(["80", "81", "/"]),
    isPresent: fc.boolean(),
    order: fc.constantFrom(1, 2, Number.POSITIVE_INFINITY),
  });
  fc.assert(
    fc.property(fc.array(any), (all) => {
      const holders = new Holders();
      const last = new Map<string, Wanting>();
      for (const one of all) {
        holders.set(one);
        holders.settle();
        last.set(one.key, one);
        const fresh = held(...last.values());
        for (const key of last.keys()) assert.deepEqual(refused(holders, key), refused(fresh, key));
      }
    }),
  );
});

test("holders: a service wants its ports, its routes and its hosts' TLS, each once, a last slash or not", () => {
  const port = (published: number, mode: PublishedPort["mode"]): PublishedPort => {
    return { published, port: 80, protocol: "tcp", mode };
  };
  const publish = [port(80, "ingress"), port(80, "ingress"), port(81, "host")];
  const http = ["/", "/api", "/api/"].map((path) => ({ host: "x.example", path }));
  assert.deepEqual(wantedBy({ publish, http, passthrough: ["x.example", "*.x.example"] }), [
    "published port 80/tcp",
    "route x.example/",
    "route x.example/api",
    "TLS passthrough of x.example",
    "TLS passthrough of *.x.example",
  ]);
  assert.deepEqual(wantedBy({ publish: [], http: [], passthrough: [] }), []);
});
