// Equal values become one object, as far as memory for them goes.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Shared } from "../../src/base/shared.ts";

test("shared: equal texts give the object that was made first", () => {
  const shared = new Shared<{ readonly port: number }>(10);
  const first = shared.of("80", () => ({ port: 80 }));
  assert.equal(
    shared.of("80", () => assert.fail("made twice")),
    first,
  );
  assert.notEqual(
    shared.of("81", () => ({ port: 81 })),
    first,
  );
});

test("shared: past its bound it starts over, and goes on sharing", () => {
  const shared = new Shared<object>(3);
  const first = shared.of("0", () => ({}));
  for (let index = 1; index < 100; index += 1) shared.of(`${index}`, () => ({}));
  const again = shared.of("0", () => ({}));
  assert.notEqual(again, first);
  assert.equal(
    shared.of("0", () => ({})),
    again,
  );
});
