// Rounds: each network one turn after the other, whatever it has waiting.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { Rounds } from "../../../src/dns/tcp/rounds.ts";

interface Item {
  readonly network: string;
  readonly at: number;
}

function filled(items: readonly Item[]): Rounds<Item> {
  const rounds = new Rounds<Item>();
  for (const item of items) rounds.add(item.network, item);
  return rounds;
}

function drained(rounds: Rounds<Item>): readonly Item[] {
  const items: Item[] = [];
  for (let item = rounds.next(); item !== null; item = rounds.next()) items.push(item);
  return items;
}

const ITEMS = fc
  .array(fc.constantFrom("a", "b", "c", "d"), { maxLength: 60 })
  .map((networks) => networks.map((network, at) => ({ network, at })));

test("rounds: all that wait have their turn once, those of one network in the order in which they came", () => {
  fc.assert(
    fc.property(ITEMS, (items) => {
      const rounds = filled(items);
      assert.equal(rounds.size, items.length);
      const order = drained(rounds);
      assert.equal(rounds.size, 0);
      for (const network of ["a", "b", "c", "d"]) {
        const own = (all: readonly Item[]): readonly Item[] => all.filter((one) => one.network === network);
        assert.deepEqual(own(order), own(items));
      }
    }),
  );
});

test("rounds: a network waits for no more than one turn of each other one", () => {
  fc.assert(
    fc.property(ITEMS, (items) => {
      const order = drained(filled(items)).map(({ network }) => network);
      const networks = new Set(order);
      for (const [at, network] of order.entries()) {
        const next = order.indexOf(network, at + 1);
        const between = order.slice(at + 1, next === -1 ? at + 1 : next);
        assert.equal(new Set(between).size, between.length);
      }
      assert.equal(new Set(order.slice(0, networks.size)).size, networks.size);
    }),
  );
});

test("rounds: what is taken out has no turn, and what waits already waits once", () => {
  const [one, two] = [
    { network: "a", at: 1 },
    { network: "a", at: 2 },
  ] as const;
  const rounds = filled([one, two, one]);
  assert.equal(rounds.size, 2);
  rounds.delete("a", one);
  rounds.delete("a", one);
  rounds.delete("b", one);
  assert.deepEqual(drained(rounds), [two]);
});
