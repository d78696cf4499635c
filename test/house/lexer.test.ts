// Lexer and imports: what is code, what only looks like it, and what a file loads.

import assert from "node:assert/strict";
import { test } from "node:test";

import { importsOf, type Import } from "./imports.ts";
import { closingIndex, depthChange, tokenize } from "./lexer.ts";

function words(source: string): readonly string[] {
  return tokenize(source)
    .filter((token) => token.kind === "word")
    .map((token) => token.text);
}

function kinds(source: string): readonly string[] {
  return tokenize(source).map((token) => token.kind);
}

function imports(source: string): readonly Import[] {
  return importsOf(tokenize(source).filter((token) => token.kind !== "comment"));
}

test("tokenize: words in comments, strings and regular expressions are no code", () => {
  assert.deepEqual(words('a // b\n/* c */ \'d\' "e\\"f" = /g[/]h/ + i'), ["a", "i"]);
});

test("tokenize: what stands in a template's braces is code, nested as deep as it goes", () => {
  assert.deepEqual(words("`a ${b + `c ${{ d: e }} f`} g` + h"), ["b", "d", "e", "h"]);
  assert.deepEqual(words("`\\${a} $ {b} \\` c` d"), ["d"]);
});

test("tokenize: a slash divides after a value and begins a regular expression elsewhere", () => {
  assert.deepEqual(words("a / b / c"), ["a", "b", "c"]);
  assert.deepEqual(words("(a) / b / c[0] / d++ / e"), ["a", "b", "c", "d", "e"]);
  assert.deepEqual(words("if (a) /'b/.test(c)"), ["if", "a", "test", "c"]);
  assert.deepEqual(words("return /'b/g"), ["return"]);
  assert.deepEqual(words("x = /[/'\"]/; y"), ["x", "y"]);
});

test("tokenize: in .tsx the text of an element is no code, and what stands in its braces is", () => {
  const source = 'const a = <b c="d" e={f}>don\'t {g && <h i />} / j</b>; k / l';
  const tokens = tokenize(source, "tsx");
  const code = tokens.filter((token) => token.kind === "word").map((token) => token.text);
  assert.deepEqual(code, ["const", "a", "b", "c", "e", "f", "g", "h", "i", "b", "k", "l"]);
  const text = tokens.filter((token) => token.kind === "text").map((token) => token.text);
  assert.deepEqual(text, ["don't ", "/ j"]);
});

test("tokenize: in .tsx a type argument and a comparison begin no element", () => {
  const words = tokenize("useState<string>(a < b) ? <></> : (c) < d", "tsx").filter(
    (token) => token.kind === "word",
  );
  assert.deepEqual(
    words.map((token) => token.text),
    ["useState", "string", "a", "b", "c", "d"],
  );
});

test("tokenize: lines are counted through comments and templates", () => {
  const tokens = tokenize("#!/usr/bin/env node\n/* a\n b */ c `\n\n` d");
  const at = tokens.map((token) => [token.text, token.line, token.endLine]);
  assert.deepEqual(at[0], ["/* a\n b */", 2, 3]);
  assert.deepEqual(at[1], ["c", 3, 3]);
  assert.deepEqual(at.at(-1), ["d", 5, 5]);
});

test("tokenize: nothing but space is lost, whatever the text", () => {
  for (const text of [
    "'open",
    "`open ${",
    "/* open",
    "a ? b : /",
    "}}))",
    "\\ \u0000 §",
    "1e-5 .5 0x1f",
    "",
  ]) {
    const kept = tokenize(text).map((token) => token.text);
    assert.equal(kept.join("").replace(/\s/g, ""), text.replace(/\s/g, ""));
  }
});

test("tokenize: numbers, private names and optional chains are one token each", () => {
  assert.deepEqual(kinds("1e-5 .5 1_000n"), ["number", "number", "number"]);
  assert.deepEqual(words("this.#a?.b"), ["this", "#a", "b"]);
});

test("closingIndex: finds the partner through other brackets and templates", () => {
  const code = tokenize("f(a, [b, { c: `${d}` }], (e)) + g");
  assert.equal(code[closingIndex(code, 1) + 1]?.text, "+");
  assert.equal(closingIndex(tokenize("( ["), 0), 1);
  assert.equal(depthChange(tokenize("'('")[0]), 0);
});

test("importsOf: every form is found, with its names and its line", () => {
  const found = imports(`import a, { b, type C, default as d } from "./1.ts";
import type { E } from "./2.ts";
import * as f from "./3.ts";
import "./4.ts";
export { g } from "./5.ts";
export * from "./6.ts";
export type { H } from "./7.ts";
const i = await import("./8.ts");
const j = require("./9.ts");
const k = await import(name);
import type L from "./10.ts";
`);
  const rows = found.map((one) => [one.form, one.specifier, one.names.join(), one.typeOnly, one.line]);
  assert.deepEqual(rows, [
    ["static", "./1.ts", "default,b,default", false, 1],
    ["static", "./2.ts", "", true, 2],
    ["static", "./3.ts", "*", false, 3],
    ["side-effect", "./4.ts", "", false, 4],
    ["re-export", "./5.ts", "g", false, 5],
    ["re-export", "./6.ts", "*", false, 6],
    ["re-export", "./7.ts", "", true, 7],
    ["dynamic", "./8.ts", "*", false, 8],
    ["require", "./9.ts", "*", false, 9],
    ["dynamic", null, "*", false, 10],
    ["static", "./10.ts", "", true, 11],
  ]);
});

test("importsOf: what only looks like an import is none", () => {
  const text = `// import a from "./a.ts"
const b = 'import c from "./c.ts"';
const d = \`import("./e.ts") require("./f.ts")\`;
loader.import("./g.ts"); loader.require("./h.ts");
export { b };
export const from = "./i.ts";
import.meta.url;
`;
  assert.deepEqual(imports(text), []);
});

test("importsOf: an import over several lines, and one inside a template, count", () => {
  const found = imports('import {\n  a, // why\n  b,\n} from "./a.ts";\n`${await import("./c.ts")}`');
  assert.deepEqual(
    found.map((one) => [one.specifier, one.names.join(), one.line]),
    [
      ["./a.ts", "a,b", 1],
      ["./c.ts", "*", 5],
    ],
  );
});
