// Sorted lists stay sorted through any change, few or many, and are the same list when nothing changes.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { compareText, positionIn, replaced, updated } from "../../src/base/sorted.ts";

interface Named {
  readonly name: string;
}

const byName = (one: Named, other: Named): number => compareText(one.name, other.name);

/** Distinct names, so many that both ways of changing a list come up. */
const names = fc.uniqueArray(fc.string({ maxLength: 3 }), { maxLength: 120 });

test("sorted: texts compare by code units, as a plain sort orders them", () => {
  fc.assert(
    fc.property(fc.array(fc.string()), (texts) => {
      assert.deepEqual(texts.toSorted(compareText), texts.toSorted());
    }),
  );
});

test("sorted: a position is that of the first element that does not come before what is sought", () => {
  const list = [10, 20, 20, 30];
  const position = (sought: number) => positionIn(list, (element) => element - sought);
  assert.deepEqual([5, 10, 15, 20, 30, 31].map(position), [0, 0, 1, 1, 3, 4]);
  assert.equal(
    positionIn([], () => 0),
    0,
  );
});

test("sorted: a changed list holds what stayed and what came, in order", () => {
  fc.assert(
    fc.property(names, names, fc.func(fc.boolean()), (before, after, goes) => {
      const list = before.map((name) => ({ name })).sort(byName);
      const gone = list.filter(({ name }) => goes(name));
      const staying = new Set(list.filter((element) => !gone.includes(element)).map(({ name }) => name));
      const come = after.filter((name) => !staying.has(name)).map((name) => ({ name }));
      const next = updated(list, { gone, come }, byName);
      const expected = [...list.filter((element) => !gone.includes(element)), ...come].sort(byName);
      assert.deepEqual(next, expected);
      next.forEach((element, index) => assert.equal(element, expected[index]));
    }),
  );
});

test("sorted: what was not in the list does not take anything out of it", () => {
  const list = [{ name: "a" }, { name: "b" }];
  assert.deepEqual(updated(list, { gone: [{ name: "a" }, { name: "x" }], come: [] }, byName), list);
});

test("sorted: replaced elements stand where the old ones stood, few or many", () => {
  for (const count of [1, 3, 200]) {
    const list = Array.from({ length: 300 }, (_, index) => ({ name: `${index}` }));
    const nextByElement = new Map(
      list.slice(0, count).map((element) => [element, { name: `${element.name}!` }]),
    );
    const next = replaced(list, nextByElement);
    assert.deepEqual(
      next.map(({ name }) => name),
      list.map(({ name }, index) => (index < count ? `${name}!` : name)),
    );
    assert.equal(next[299], list[299]);
  }
});

test("sorted: a list in which nothing changes is the same list, and one that changes is left alone", () => {
  const [one, two] = [{ name: "a" }, { name: "b" }];
  const list = Object.freeze([one, two]);
  assert.equal(updated(list, { gone: [], come: [] }, byName), list);
  assert.equal(replaced(list, new Map()), list);
  assert.deepEqual(updated(list, { gone: [one], come: [{ name: "c" }] }, byName), [two, { name: "c" }]);
  assert.deepEqual(replaced(list, new Map([[one, { name: "z" }]])), [{ name: "z" }, two]);
});
