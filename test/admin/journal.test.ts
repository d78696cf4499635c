// Journal: the last events, numbered, and who hears of the next.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Journal } from "../../src/admin/journal.ts";
import type { Event, Happening } from "../../src/model/event.ts";
import { LIMITS } from "../../src/model/limits.ts";

function happening(text: string): Happening {
  return { kind: "service.added", level: "info", subject: "default/web", text, atMs: 1 };
}

test("journal: events are numbered in the order in which they came", () => {
  const journal = new Journal();
  journal.append([happening("a"), happening("b")]);
  journal.append([happening("c")]);
  assert.deepEqual(
    journal.events.map(({ id, text }) => [id, text]),
    [
      [1, "a"],
      [2, "b"],
      [3, "c"],
    ],
  );
});

test("journal: a listener hears of each event from then on, until it ends that", () => {
  const journal = new Journal();
  const heard: Event[] = [];
  journal.append([happening("before")]);
  const end = journal.subscribe((event) => heard.push(event));
  journal.append([happening("while")]);
  end();
  journal.append([happening("after")]);
  assert.deepEqual(
    heard.map(({ text }) => text),
    ["while"],
  );
});

test("journal: old events go, numbers go on, and what is kept has no gap", () => {
  const journal = new Journal();
  const count = LIMITS.eventsKept * 3;
  for (let sent = 0; sent < count; sent += 1) journal.append([happening(String(sent))]);
  const ids = journal.events.map(({ id }) => id);
  assert.equal(ids.at(-1), count);
  assert.ok(ids.length >= LIMITS.eventsKept && ids.length <= LIMITS.eventsKept * 2);
  assert.ok(ids.every((id, index) => index === 0 || id === (ids[index - 1] ?? 0) + 1));
});
