// Pages: a list in parts is the list, whatever comes and goes between two of them.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import type { Result } from "../../src/base/failure.ts";
import { pageOf, sizeOf, type Page } from "../../src/admin/pages.ts";

const itself = (key: string): string => key;

function unchanged(list: readonly string[]): readonly string[] {
  return list;
}

const KEYS = fc
  .uniqueArray(fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 }), { maxLength: 40 })
  // What text on the wire can hold: a lone half of a pair is none.
  .map((keys) => keys.filter((key) => key.isWellFormed()).toSorted((a, b) => (a < b ? -1 : 1)));

/** Reads to the end, page by page; `between` may change the list before each page. */
function readAll(list: readonly string[], limit: number, between = unchanged): readonly string[] {
  const read: string[] = [];
  let now = list;
  let after: string | null = null;
  for (let pages = 0; pages <= list.length + 1; pages += 1) {
    const page: Result<Page<string>> = pageOf(now, itself, { limit: String(limit), after });
    assert.ok(page.ok);
    assert.ok(page.value.lines.length <= limit);
    read.push(...page.value.lines);
    after = page.value.next;
    if (after === null) return read;
    now = between(now);
  }
  assert.fail("pages without end");
}

test("pages: read one after the other they are the whole list, in its order", () => {
  fc.assert(
    fc.property(KEYS, fc.integer({ min: 1, max: 50 }), (keys, limit) => {
      assert.deepEqual(readAll(keys, limit), keys);
    }),
  );
});

test("pages: what goes between two pages hides nothing that stays, and nothing is told twice", () => {
  fc.assert(
    fc.property(KEYS, fc.integer({ min: 1, max: 5 }), (keys, limit) => {
      const stays = new Set(keys.filter((_, index) => index % 3 !== 0));
      const read = readAll(keys, limit, (list) => list.filter((key) => stays.has(key)));
      assert.equal(new Set(read).size, read.length);
      for (const key of stays) assert.ok(read.includes(key));
    }),
  );
});

test("pages: without a limit all is told, and there is no next page", () => {
  const page = pageOf(["a", "b"], itself, { limit: null, after: null });
  assert.deepEqual(page, { ok: true, value: { lines: ["a", "b"], next: null } });
});

test("pages: a limit or cursor that is none is refused by name", () => {
  for (const limit of ["0", "1001", "-1", "1.5", "", "1e3", " 5", "99999"]) {
    const size = sizeOf(limit);
    assert.ok(
      !size.ok && size.failure.code === "usage" && size.failure.message.startsWith("limit is "),
      limit,
    );
  }
  for (const after of ["", "=", "a b", "%%%", "YQ==", "x".repeat(401)]) {
    const page = pageOf(["a"], itself, { limit: "1", after });
    assert.ok(!page.ok && page.failure.message.startsWith("after is "), after);
  }
});
