// Render: tables line up by what a terminal shows, fit it, and never let a name move its cursor.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import {
  agoText,
  displayWidth,
  durationText,
  idText,
  paint,
  printable,
  printableLines,
  renderJson,
  renderJsonLine,
  renderPairs,
  renderTable,
  truncated,
  type Column,
  type Style,
} from "../../src/cli/render.ts";

const PLAIN: Style = { wide: false, columnsMax: null, shortensIds: true, colors: false, nowMs: 1_000_000 };

const COLUMNS: readonly Column<readonly string[]>[] = [
  { title: "NAME", cell: ([name = ""]) => name, shrinks: true },
  { title: "STATE", cell: ([, state = ""]) => ({ text: state, tone: "good" }) },
  { title: "WHY", cell: ([, , why = ""]) => why, shrinks: true },
  { title: "ZONE", cell: ([, , , zone = ""]) => zone, wideOnly: true },
];

// oxlint-disable-next-line no-control-regex -- matching them is the point
const CONTROL = /[\u0000-\u0009\u000B-\u001F\u007F-\u009F\u200E\u200F\u2028\u2029\u202A-\u202E\u2066-\u2069]/;

const anyText = fc.string({ unit: "binary", maxLength: 40 });
const nastyText = fc
  .array(
    fc.constantFrom(
      "\u001B[31m",
      "\u009B2J",
      "\n",
      "\r",
      "\t",
      "\u202E",
      "é",
      "日",
      "👩\u200D👩\u200D👧",
      "e\u0301",
      "a",
    ),
  )
  .map((parts) => parts.join(""));

test("table: nothing that moves a cursor reaches the terminal, and a row is a line", () => {
  const rows = fc.array(fc.array(fc.oneof(anyText, nastyText), { minLength: 4, maxLength: 4 }));
  fc.assert(
    fc.property(rows, fc.option(fc.integer({ min: 1, max: 200 })), (given, columnsMax) => {
      const text = renderTable(COLUMNS, given, { ...PLAIN, wide: true, columnsMax });
      assert.doesNotMatch(text, CONTROL);
      assert.equal(text.split("\n").length, given.length + 2);
    }),
  );
});

test("table: columns begin in the same cell of the terminal on every line", () => {
  const rows = fc.array(fc.array(fc.oneof(nastyText, anyText), { minLength: 3, maxLength: 3 }));
  fc.assert(
    fc.property(rows, (given) => {
      const marked = given.map(([name = "", state = ""]) => [name, state, "@@"]);
      const lines = renderTable(COLUMNS, marked, PLAIN).trimEnd().split("\n");
      const starts = lines.slice(1).map((line) => displayWidth(line.slice(0, line.lastIndexOf("@@"))));
      assert.ok(new Set(starts).size <= 1, lines.join("\n"));
    }),
  );
});

test("table: it fits the terminal when the columns that may shrink are wide enough to give way", () => {
  fc.assert(
    fc.property(fc.array(fc.array(anyText, { minLength: 3, maxLength: 3 })), (given) => {
      const short = given.map(([name = "", , why = ""]) => [name.repeat(3), "ready", why.repeat(3)]);
      const text = renderTable(COLUMNS, short, { ...PLAIN, columnsMax: 60 });
      for (const line of text.split("\n")) assert.ok(displayWidth(line) <= 60, line);
    }),
  );
});

test("table: a program gets every character, a narrow terminal an ellipsis where some are missing", () => {
  const row = ["web", "ready", "probe: connection refused at 172.18.0.3:8080"];
  assert.match(renderTable(COLUMNS, [row], PLAIN), /172\.18\.0\.3:8080\n$/);
  const narrow = renderTable(COLUMNS, [row], { ...PLAIN, columnsMax: 40 });
  assert.match(narrow, /probe: connection.*…\n$/);
});

test("table: wide columns show when asked for, empty cells as a dash, no line ends in blanks", () => {
  const text = renderTable(COLUMNS, [["web", "", "", ""]], { ...PLAIN, wide: true });
  assert.equal(text, "NAME   STATE   WHY   ZONE\nweb    -       -     -\n");
  assert.doesNotMatch(renderTable(COLUMNS, [], PLAIN), /ZONE/);
});

test("table: colours are only around the word they belong to, and do not count as width", () => {
  const rows = [
    ["a", "ready", "x"],
    ["b", "no", "x"],
  ];
  const colored = renderTable(COLUMNS, rows, { ...PLAIN, colors: true });
  assert.ok(colored.includes("\u001B[32mready\u001B[0m   x"));
  // oxlint-disable-next-line no-control-regex -- matching them is the point
  assert.equal(colored.replace(/\u001B\[\d+m/g, ""), renderTable(COLUMNS, rows, PLAIN));
  assert.equal(paint("x", "bad", PLAIN), "x");
});

test("pairs: several things under one label stand below each other, a label without any is left out", () => {
  const pairs = [
    ["one", ["a", "b"]],
    ["none", []],
    ["third", ["c\n\u001B[2J"]],
  ] as const;
  assert.equal(renderPairs(pairs, PLAIN), "one     a\n        b\nthird   c\\u000a\\u001b[2J\n");
});

test("json: any value survives, and no control character is raw", () => {
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), nastyText, anyText), (value) => {
      for (const text of [renderJson(value), renderJsonLine(value)]) {
        assert.doesNotMatch(text, CONTROL);
        assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(value)));
      }
      assert.ok(!renderJsonLine(value).includes("\n"));
    }),
  );
});

test("printable: text without control characters is left as it is; line breaks only where asked", () => {
  assert.equal(printable("héllo 日本 👍"), "héllo 日本 👍");
  assert.equal(printable("a\nb"), "a\\u000ab");
  assert.equal(printableLines("a\nb\u001B[2J"), "a\nb\\u001b[2J");
});

test("width: wide characters take two cells, combining ones none", () => {
  const widths = ["web", "日本", "ｗ", "é", "e\u0301", "👍", "한글", ""].map(displayWidth);
  assert.deepEqual(widths, [3, 4, 2, 1, 1, 2, 4, 0]);
});

test("truncate: never wider than asked, never half a character", () => {
  fc.assert(
    fc.property(nastyText.map(printable), fc.integer({ min: 1, max: 40 }), (text, width) => {
      const cut = truncated(text, width);
      assert.ok(displayWidth(cut) <= width);
      assert.ok(cut === text || (cut.endsWith("…") && text.startsWith(cut.slice(0, -1))));
    }),
  );
});

test("times: the largest unit that fits, and now for what is recent or ahead of our clock", () => {
  const ago = [0, 999, 1000, 59_999, 61_000, 7_200_000, 999_000_000, -5000];
  const texts = ago.map((elapsedMs) => agoText(PLAIN.nowMs - elapsedMs, PLAIN));
  assert.deepEqual(texts, ["now", "now", "1s ago", "59s ago", "1m ago", "2h ago", "11d ago", "now"]);
  assert.deepEqual([0.4, 850, -1].map(durationText), ["0ms", "850ms", "0ms"]);
});

test("ids: short unless the whole is asked for", () => {
  const id = "abcdefghijklmnopqrst";
  assert.equal(idText(id, PLAIN), "abcdefghijkl");
  assert.equal(idText(id, { ...PLAIN, shortensIds: false }), id);
});
