// Tidy rules: for each, a planted violation that is found where it stands, and a near miss that is not.
// What is refused in every text file is spelled with a tilde inside here, since this file is judged too.

import assert from "node:assert/strict";
import { test } from "node:test";

import { LAYOUT } from "./architecture.ts";
import { checkTidy, TIDY_RULES } from "./tidy.ts";

interface Plant {
  readonly rule: string;
  readonly what: string;
  /** Where violations of the rule are expected, as `file:line`; none for a near miss. */
  readonly at?: readonly string[];
  readonly files: Readonly<Record<string, string>>;
}

const layout = { ...LAYOUT, shellFiles: ["dns/server"], plannedShellFiles: [] };
const HEADER = "/**\n * A.\n *\n * Pure.\n */\n";

/** All violations in a small tree, as `rule file:line`. */
function found(files: Readonly<Record<string, string>>, withoutTest = {}): readonly string[] {
  const violations = checkTidy(new Map(Object.entries(files)), { layout, withoutTest });
  return violations.map(({ rule, file, line }) => `${rule} ${file}:${line}`);
}

/** A file of src with a good header of five lines, and its test; `text` begins at line 6. */
function src(text: string): Readonly<Record<string, string>> {
  return { "src/dns/a.ts": `${HEADER}${text}\n`, "test/dns/a.test.ts": "// A.\n" };
}

/** A test file with a header of one line; `text` begins at line 2. */
function inTest(text: string, path = "test/dns/a.test.ts"): Readonly<Record<string, string>> {
  return { [path]: `// A.\n${text}\n` };
}

function plants(
  rule: string,
  bad: readonly string[],
  good: readonly string[],
  place: { readonly files: (text: string) => Readonly<Record<string, string>>; readonly at: string },
): readonly Plant[] {
  return [
    ...bad.map((text) => ({ rule, what: JSON.stringify(text), at: [place.at], files: place.files(text) })),
    ...good.map((text) => ({ rule, what: JSON.stringify(text), files: place.files(text) })),
  ];
}

const SRC = { files: src, at: "src/dns/a.ts:6" };
const TEST = { files: inTest, at: "test/dns/a.test.ts:2" };
const PAGE = {
  files: (text: string) => ({ "README.md": `${text}\n`, "src/dns/a.ts": HEADER }),
  at: "README.md:1",
};
const lines = (count: number): string => "//\n".repeat(count);
/** Refused words are spelled with a tilde inside. */
const joined = (text: string): string => text.replaceAll("~", "");
const DOC = "/** B. */\n";

const PLANTS: readonly Plant[] = [
  {
    rule: "file-length",
    what: "401 lines",
    at: ["src/dns/a.ts:400"],
    files: { "src/dns/a.ts": HEADER + lines(396) },
  },
  {
    rule: "file-length",
    what: "601 lines of a test",
    at: ["test/a.test.ts:600"],
    files: { "test/a.test.ts": lines(601) },
  },
  {
    rule: "file-length",
    what: "400 lines, and 600 of a test",
    files: { "src/dns/a.ts": HEADER + lines(395), "test/a.test.ts": lines(600) },
  },
  ...plants(
    "line-length",
    [`const ${"x".repeat(99)} = 12;`, `const a = "${"x".repeat(109)}";`, `// ${"x".repeat(118)}`],
    [
      `const ${"x".repeat(98)} = 12;`,
      `const a = "${"x".repeat(107)}";`,
      `// ${"x".repeat(117)}`,
      `// ${"\u{1f600}".repeat(117)}`,
    ],
    SRC,
  ),
  ...plants("tab", ["\tconst a = 1;"], ["const a = '\\t';"], SRC),
  ...plants("trailing-space", ["const a = 1; ", "// a\r"], ["const a = 1;"], SRC),
  {
    rule: "final-newline",
    what: "none",
    at: ["src/dns/a.ts:6"],
    files: { "src/dns/a.ts": `${HEADER}const a = 1;` },
  },
  {
    rule: "final-newline",
    what: "two",
    at: ["src/dns/a.ts:6"],
    files: { "src/dns/a.ts": `${HEADER}\n` },
  },
  { rule: "final-newline", what: "one", files: src("const a = 1;") },
  ...plants(
    "control-character",
    ["// \u0007", "// a\u200bb", "// \u202ea", "// \u0085"],
    ["// é – 漢 😀"],
    SRC,
  ),
  ...plants(
    "unfinished-mark",
    ["TO~DO", "FIX~ME", "X~XX"].map((word) => joined(`// ${word} a`)),
    ["// XXXXXX todos"],
    SRC,
  ),
  ...plants(
    "registry-host",
    [
      "see regis~try.npmjs.org",
      "http://deb.debian~.org/debian",
      "https://my.regis~try:5000/a",
      "https://regis~try-1.docker.io",
    ].map(joined),
    ["http://localhost:5000/registry", "no image registry is needed", "https://debian.org"],
    PAGE,
  ),
  {
    rule: "registry-host",
    what: "a resolved key",
    at: ["package-lock.json:2"],
    files: { "package-lock.json": '{\n"resolved": "x" }' },
  },
  { rule: "registry-host", what: "a lock without", files: { "package-lock.json": '{ "version": "1" }' } },
  ...plants(
    "workplace-path",
    ["cd /wo~rk/main", "/tmp/bash~_jobs.0"].map(joined),
    ["/workspace", "network/main", "/tmp/x"],
    PAGE,
  ),
  ...plants(
    "workplace-talk",
    ["see issue~ #12", "a helper~ session", "the C~EO says", "Issue~ #3"].map(joined),
    ["moby#53437", "an issue", "the session helps", "oceo"],
    PAGE,
  ),
  {
    rule: "header",
    what: "none, too short, too long, too late, of the wrong kind",
    at: [1, 1, 1, 1, 1].map((line, at) => `src/dns/${"abcde"[at]}.ts:${line}`),
    files: {
      "src/dns/a.ts": "const a = 1;\n",
      "src/dns/b.ts": "/** A. Pure. */\n",
      "src/dns/c.ts": `/**\n${" * a\n".repeat(16)} * Pure.\n */\n`,
      "src/dns/d.ts": `"use strict";\n${HEADER}`,
      "src/dns/e.ts": "// A.\n// B.\n// C.\n// Pure.\n",
    },
  },
  {
    rule: "header",
    what: "four lines, fifteen lines, one after a shebang, one line in a test",
    files: {
      "src/dns/a.ts": "/**\n * A.\n * Pure.\n */\n",
      "src/dns/b.ts": `/**\n${" * a\n".repeat(14)} * Pure.\n */\n`,
      "src/main.ts": `#!/usr/bin/env node\n\n${HEADER}`,
      "config/demo/demo.ts": HEADER,
      "test/a.test.ts": "// A.\n",
    },
  },
  {
    rule: "header",
    what: "a test without",
    at: ["test/a.test.ts:1"],
    files: { "test/a.test.ts": "let a;\n" },
  },
  {
    rule: "header-kind",
    what: "a pure file and a shell that say the other's word",
    at: ["src/dns/a.ts:1", "src/dns/server.ts:1"],
    files: { "src/dns/a.ts": HEADER.replace("Pure.", "Touches: files."), "src/dns/server.ts": HEADER },
  },
  {
    rule: "header-kind",
    what: "each its own word",
    files: {
      "src/dns/a.ts": HEADER,
      "src/dns/b.ts": HEADER.replace("Pure.", "Pure: so it is."),
      "src/dns/server.ts": HEADER.replace("Pure.", "Touches: sockets."),
    },
  },
  ...plants(
    "doc-comment",
    [
      "export function a(): void {}",
      "export async function* a() {}",
      "export const a = (b: () => void): number => 1;",
      "export const a: (b: number) => number = (b) => b;",
      "export const a = async <T>(b: T) => b;",
    ],
    [
      `${DOC}export function a(b: 1): void;\nexport function a(b: number): void {}`,
      `${DOC}export const a = (b: number) => b;`,
      'export const a = (["b"] as const).map((b) => b);',
      "export const a = 1;\nconst b = () => 1;",
    ],
    SRC,
  ),
  {
    rule: "doc-comment",
    what: "a comment too far away, and one of the wrong kind",
    at: ["src/dns/a.ts:8", "src/dns/a.ts:10"],
    files: src(`${DOC}\nexport function a() {}\n// C.\nexport function c() {}`),
  },
  ...plants(
    "suppressed-type-error",
    ["ignore", "expect-error", "nocheck"].map((word) => `// @ts-${word} why`),
    ['const a = "@ts-ignore";', "// ts-ignore"],
    SRC,
  ),
  ...plants(
    "as-any",
    ["const a = b as any;", "const a = b as any[];"],
    ["// as any", "const a = as.any;"],
    SRC,
  ),
  ...plants(
    "empty-catch",
    [
      "try { a(); } catch {}",
      "try { a(); } catch (error) {}",
      "void a().catch(() => {});",
      "void a().catch((error) => undefined);",
    ],
    [
      "try { a(); } catch { /* gone is what we want */ }",
      "try { a(); } catch { b(); }",
      "void a().catch(() => {}); // nobody waits for it",
      "// nobody waits for it\nvoid a().catch(() => {});",
      "const b = await a().catch(() => null);",
      "interface A { catch(): {} }",
    ],
    SRC,
  ),
  ...plants(
    "only-test",
    ["test.only('a', b);", "test('a', { only: true }, b);"],
    ["a.onlyOne(); const only = 1;"],
    TEST,
  ),
  ...plants(
    "wordless-skip",
    ["test('a', { skip: true }, b);", "test.skip('a', b);", "t.skip();"],
    ["test('a', { skip: 'no root' }, b);", "t.skip('no root');", "test('a', { skip: why }, b);"],
    TEST,
  ),
  ...plants(
    "sleep",
    [
      'import { setTimeout as delay } from "node:timers/promises";',
      'import timers from "timers/promises";',
      "await setTimeout(50);",
      "await new Promise((done) => setTimeout(done, 50));",
      "await new Promise<void>((done) => { setTimeout(() => done(), 50); });",
      "Atomics.wait(cell, 0, 0, 50);",
    ],
    [
      'import { setImmediate } from "node:timers/promises";',
      "await new Promise((done, fail) => { setTimeout(() => fail(late), 50); a.once('b', done); });",
      "const timer = setTimeout(stop, 50);",
      "// await setTimeout(50)",
    ],
    TEST,
  ),
  {
    rule: "sleep",
    what: "the one file that waits",
    files: inTest(
      'import { setTimeout } from "node:timers/promises";\nawait setTimeout(1);',
      "test/support/wait.ts",
    ),
  },
  ...plants(
    "broken-link",
    ["[a](gone.md)", "[a](src/gone.ts#b)", '[a](./gone.md "title")'],
    [
      "[a](README.md#b)",
      "[a](src/dns/a.ts)",
      "[a](src/dns/)",
      "[a](#b)",
      "[a](https://a.example/b)",
      "`[a](gone.md)`",
    ],
    PAGE,
  ),
  { rule: "broken-link", what: "a fenced block", files: { "README.md": "```\n[a](gone.md)\n```\n" } },
  {
    rule: "broken-link",
    what: "a link upwards from a folder, right and wrong",
    at: ["docs/a.md:2"],
    files: { "README.md": "", "docs/a.md": "[a](../README.md)\n[b](README.md)\n" },
  },
  ...plants(
    "unknown-path",
    ["`src/gone.ts`", "run `node test/gone.ts --a`", "`src/dns/{a,gone}.ts`", "`config/gone/`"],
    ["`src/dns/a.ts`", "`src/dns/`", "`src/dns/a.ts:12`", "`src/*.ts`", "`src/<folder>/a.ts`", "src/gone.ts"],
    PAGE,
  ),
  {
    rule: "refused-file-name",
    what: "helpers",
    at: ["test/support/dnsHelpers.ts:1"],
    files: inTest("", "test/support/dnsHelpers.ts"),
  },
  { rule: "refused-file-name", what: "utility", files: inTest("", "test/support/utility.ts") },
  {
    rule: "missing-test",
    what: "a pure file with a function, a class, a constant that is a function",
    at: ["src/dns/a.ts:1", "src/dns/b.ts:1", "src/dns/c.ts:1"],
    files: {
      "src/dns/a.ts": `${HEADER}${DOC}export function a() {}\n`,
      "src/dns/b.ts": `${HEADER}export class B {}\n`,
      "src/dns/c.ts": `${HEADER}${DOC}export const c = (d: number) => d;\n`,
    },
  },
  {
    rule: "missing-test",
    what: "types, values, a shell, and a file with its test",
    files: {
      ...src(`${DOC}export function a() {}`),
      "src/dns/b.ts": `${HEADER}export interface B {}\nexport const c = (["d"] as const).map((e) => e);\n`,
      "src/dns/server.ts": `${HEADER}export class D {}\n`,
    },
  },
];

for (const { rule, what, at = [], files } of PLANTS) {
  test(`${rule}: ${at.length > 0 ? "reports" : "passes"} ${what}`, () => {
    const expected = at.map((place) => `${rule} ${place}`);
    assert.deepEqual(
      found(files).filter((line) => line.startsWith(`${rule} `)),
      expected,
    );
  });
}

test("missing-test: passes an exemption; stale-exemption: reports one that is not needed", () => {
  const files = { "src/dns/a.ts": `${HEADER}${DOC}export function a() {}\n` };
  assert.deepEqual(found(files, { "src/dns/a.ts": "why" }), []);
  const reported = found(src("export const a = 1;"), { "src/dns/a.ts": "why" });
  assert.deepEqual(reported, ["stale-exemption src/dns/a.ts:1"]);
});

test("a file with nothing wrong has no violation of any rule", () => {
  assert.deepEqual(found(src(`${DOC}export function a(): number {\n  return 1;\n}`)), []);
});

test("every rule of the list has a planted violation", () => {
  const planted = new Set(PLANTS.filter((plant) => plant.at).map((plant) => plant.rule));
  const bare = Object.keys(TIDY_RULES).filter((rule) => !planted.has(rule) && rule !== "stale-exemption");
  assert.deepEqual(bare, []);
});
