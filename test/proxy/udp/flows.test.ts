// Flows: how many there may be, who gives way, and how long one is remembered.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { Flows, silenceMs, type Flowing } from "../../../src/proxy/udp/flows.ts";

function flow(client: string, port: number): Flowing {
  return { key: `${client} ${port}`, client, lastMs: 0, sent: 0, isAnswered: false, wasHeard: false };
}

/** A table of so much room. */
function room(all: number, perClient = all): Flows<Flowing> {
  return new Flows<Flowing>({ all, perClient });
}

/** Adds a flow whose client has spoken so many times. */
function add(flows: Flows<Flowing>, one: Flowing, times = 1): Flowing | null {
  const gone = flows.add(one);
  for (let time = 0; time < times; time += 1) flows.heard(one, time);
  return gone;
}

test("flows: one question and its answer are remembered for 5 s, all else for as long as the service says", () => {
  assert.equal(silenceMs({ sent: 1, isAnswered: true }, 30_000), 5000);
  assert.equal(silenceMs({ sent: 1, isAnswered: false }, 30_000), 30_000);
  assert.equal(silenceMs({ sent: 2, isAnswered: true }, 30_000), 30_000);
  assert.equal(silenceMs({ sent: 1, isAnswered: true }, 1000), 1000);
});

test("flows: whatever comes, there are never more than there is room for, in all and of one client", () => {
  const step = fc.record({ client: fc.integer({ max: 3, min: 0 }), port: fc.nat(30), times: fc.nat(3) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const flows = room(10, 4);
      const own = new Map<string, Flowing>();
      for (const { client, port, times } of steps) {
        const one = own.get(`${client} ${port}`) ?? flow(String(client), port);
        if (own.has(one.key)) for (let time = 0; time < times; time += 1) flows.heard(one, 0);
        else {
          const gone = add(flows, one, times + 1);
          if (gone !== null) assert.ok(own.delete(gone.key), "who gave way was there");
          own.set(one.key, one);
        }
        for (const other of own.values()) assert.equal(flows.get(other.key), other);
        assert.equal(flows.size, own.size, "and nobody else");
        assert.ok(flows.size <= 10);
        assert.ok([...own.values()].filter((other) => other.client === one.client).length <= 4);
      }
    }),
  );
});

test("flows: a flood of addresses that speak once takes no place of those who stay", () => {
  const flows = room(100);
  const regulars = Array.from({ length: 70 }, (_, port) => flow("stays", port));
  for (const one of regulars) add(flows, one, 2);
  for (let at = 0; at < 10_000; at += 1) add(flows, flow(`invented-${at}`, 1));
  for (const one of regulars) assert.equal(flows.get(one.key), one);
});

test("flows: a crowd that stays keeps no newcomer out", () => {
  const flows = room(100);
  for (let port = 0; port < 100; port += 1) add(flows, flow("stays", port), 2);
  const newcomers = Array.from({ length: 20 }, (_, port) => flow("new", port));
  for (const one of newcomers) add(flows, one);
  for (const one of newcomers) assert.equal(flows.get(one.key), one);
});

test("flows: of those who stay the one gives way that was not heard since it was last looked at", () => {
  const flows = room(4);
  const [first, second, third, fourth] = [1, 2, 3, 4].map((port) => flow("stays", port));
  assert.ok(first && second && third && fourth);
  for (const one of [first, second, third, fourth]) add(flows, one, 2);
  // All were heard: the first is looked at first.
  assert.equal(add(flows, flow("new", 1), 2), first);
  flows.heard(second, 9);
  assert.equal(add(flows, flow("new", 2), 2), third, "the second was heard meanwhile");
});

test("flows: a client with too many loses its own, not another's", () => {
  const flows = room(100, 2);
  const other = flow("other", 1);
  add(flows, other);
  const [first] = [1, 2].map((port) => {
    const one = flow("many", port);
    add(flows, one);
    return one;
  });
  assert.equal(add(flows, flow("many", 3)), first);
  assert.equal(flows.get(other.key), other);
  assert.equal(flows.size, 3);
});

test("flows: one that was taken out leaves nothing behind, and its key is free", () => {
  const flows = room(10);
  const one = flow("client", 1);
  add(flows, one);
  flows.remove(one);
  assert.deepEqual([flows.size, flows.get(one.key)], [0, undefined]);
  const again = flow("client", 1);
  add(flows, again);
  flows.remove(one);
  assert.equal(flows.get(again.key), again, "another with its key stays");
});
