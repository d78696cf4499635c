// Architecture rules: for each, a planted violation that is found where it stands, and a near miss that is not.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ARCHITECTURE_RULES, checkArchitecture, LAYOUT } from "./architecture.ts";
import { refusedWord } from "./source.ts";

interface Plant {
  readonly rule: string;
  readonly what: string;
  /** Where the violations are expected, as `file:line`; none for a near miss. */
  readonly at?: readonly string[];
  readonly files: Readonly<Record<string, string>>;
}

// A small tree's own shells: the real list names files that no small tree has.
const layout = {
  ...LAYOUT,
  shellFiles: ["dns/server", "main", "daemon/daemon", "runtime/log"],
  plannedShellFiles: ["health/probe", "cli/"],
};
const base = {
  "src/main.ts": 'import { a } from "./daemon/daemon.ts";\na();\n',
  "src/daemon/daemon.ts": 'import { serve } from "../dns/server.ts";\nexport const a = serve;\n',
  "src/dns/server.ts": 'import { log } from "../runtime/log.ts";\nexport const serve = log;\n',
  "src/runtime/log.ts": "export const log = 1;\n",
};
const manifest = { devDependencies: { "fast-check": "1" } };

function found(files: Readonly<Record<string, string>>): readonly string[] {
  const texts = new Map(Object.entries({ ...base, ...files }));
  const used = Object.values(files).flatMap((text) => [...text.matchAll(/"(dns2|valibot|ws|@a\/b)/g)]);
  const shipped = [...new Set(used.map((match) => match[1] ?? ""))];
  const devDependencies = {
    ...manifest.devDependencies,
    ...Object.fromEntries(shipped.map((name) => [name, "1"])),
  };
  return checkArchitecture(texts, { shipped, devDependencies }, layout).map(
    ({ rule, file, line }) => `${rule} ${file}:${line}`,
  );
}

/** A file in `src/dns`, pure, under the name a. */
function pure(text: string): Readonly<Record<string, string>> {
  return { "src/dns/a.ts": text };
}

function ambient(rule: string, uses: readonly string[]): readonly Plant[] {
  return uses.map((use) => ({
    rule,
    what: use,
    at: ["src/dns/a.ts:2"],
    files: pure(`export const one = 1;\nexport const two = () => ${use};\n`),
  }));
}

function fine(rule: string, texts: readonly string[]): readonly Plant[] {
  return texts.map((text) => ({ rule, what: text, files: pure(`export const zero = 0;\n${text}\n`) }));
}

const other = { "src/proxy/b.ts": "export const b = 1;\n", "src/model/m.ts": "export const m = 1;\n" };
const from = (path: string, specifier: string): Readonly<Record<string, string>> => ({
  ...other,
  [path]: `export const one = 1;\nexport const two = () => import("${specifier}");\n`,
});

const PLANTS: readonly Plant[] = [
  {
    rule: "unknown-folder",
    what: "a folder of no row",
    at: ["src/extra/a.ts:1"],
    files: { "src/extra/a.ts": "" },
  },
  {
    rule: "unknown-folder",
    what: "a file of no row",
    at: ["src/extra.ts:1"],
    files: { "src/extra.ts": "" },
  },
  {
    rule: "unknown-folder",
    what: "a text that is no code",
    at: ["src/x/a.css:1"],
    files: { "src/x/a.css": "" },
  },
  {
    rule: "unknown-folder",
    what: "a folder within a folder",
    files: { "src/source/docker/a.ts": "", "src/node.ts": "" },
  },
  {
    rule: "folder-import",
    what: "a sibling",
    at: ["src/dns/a.ts:2"],
    files: from("src/dns/a.ts", "../proxy/b.ts"),
  },
  {
    rule: "folder-import",
    what: "a sibling's type",
    at: ["src/dns/a.ts:1"],
    files: { ...other, ...pure('import type { B } from "../proxy/b.ts";\nexport type C = B;\n') },
  },
  {
    rule: "folder-import",
    what: "a sibling, from a shell",
    at: ["src/health/probe.ts:2"],
    files: from("src/health/probe.ts", "../proxy/b.ts"),
  },
  {
    rule: "folder-import",
    what: "upwards",
    at: ["src/base/a.ts:2"],
    files: from("src/base/a.ts", "../model/m.ts"),
  },
  {
    rule: "folder-import",
    what: "runtime, from a pure file",
    at: ["src/dns/a.ts:2"],
    files: from("src/dns/a.ts", "../runtime/log.ts"),
  },
  {
    rule: "folder-import",
    what: "a top file, from a folder",
    at: ["src/dns/a.ts:2"],
    files: from("src/dns/a.ts", "../main.ts"),
  },
  {
    rule: "folder-import",
    what: "out of src",
    at: ["src/dns/a.ts:2"],
    files: from("src/dns/a.ts", "../../test/a.ts"),
  },
  {
    rule: "folder-import",
    what: "by an alias",
    at: ["src/dns/a.ts:2"],
    files: from("src/dns/a.ts", "#base/a.ts"),
  },
  {
    rule: "folder-import",
    what: "node.ts, a shell file",
    at: ["src/node.ts:2"],
    files: { ...from("src/node.ts", "./health/probe.ts"), "src/health/probe.ts": "" },
  },
  {
    rule: "folder-import",
    what: "node.ts, another folder",
    at: ["src/node.ts:2"],
    files: from("src/node.ts", "./proxy/b.ts"),
  },
  {
    rule: "folder-import",
    what: "cli, beyond the contract",
    at: ["src/cli/a.ts:2"],
    files: { ...from("src/cli/a.ts", "../admin/handlers.ts"), "src/admin/handlers.ts": "" },
  },
  {
    rule: "folder-import",
    what: "cli, the contract",
    files: { ...from("src/cli/a.ts", "../admin/contract.ts"), "src/admin/contract.ts": "" },
  },
  {
    rule: "folder-import",
    what: "node.ts, a pure file",
    files: { ...from("src/node.ts", "./view/v.ts"), "src/view/v.ts": "" },
  },
  { rule: "folder-import", what: "downwards", files: from("src/dns/a.ts", "../model/m.ts") },
  { rule: "folder-import", what: "the same folder", files: from("src/proxy/a.ts", "./b.ts") },
  {
    rule: "folder-import",
    what: "a folder within the same folder",
    files: { ...from("src/source/docker/a.ts", "../b.ts"), "src/source/b.ts": "" },
  },
  {
    rule: "package-folder",
    what: "two folders",
    at: ["src/proxy/b.ts:1"],
    files: {
      "src/dns/server.ts": 'import { WebSocket } from "ws";\n',
      "src/proxy/b.ts": 'import type { W } from "ws";\n',
    },
  },
  {
    rule: "package-folder",
    what: "two files of a folder, and a test",
    files: {
      "src/dns/a.ts": 'import type { W } from "ws";\n',
      "src/dns/b.ts": 'import type { W } from "ws/types";\n',
      "test/dns/a.test.ts": 'import { W } from "ws";\n',
    },
  },
  {
    rule: "undeclared-package",
    what: "a package of nobody's",
    at: ["src/daemon/daemon.ts:1"],
    files: { "src/daemon/daemon.ts": 'import { x } from "left-pad/x";\n' },
  },
  {
    rule: "undeclared-package",
    what: "a development dependency in src",
    at: ["src/daemon/daemon.ts:1"],
    files: { "src/daemon/daemon.ts": 'import { x } from "fast-check";\n' },
  },
  {
    rule: "undeclared-package",
    what: "a development dependency in a test, a node: module, a scope",
    files: {
      "test/a.test.ts":
        'import { x } from "fast-check";\nimport { test } from "node:test";\nimport fs from "fs";\n',
      "src/main.ts": 'import { x } from "@a/b/c";\n',
    },
  },
  {
    rule: "impure-module",
    what: "a module with effects",
    at: ["src/dns/a.ts:2"],
    files: pure('import { isIP } from "node:net";\nimport { connect } from "node:net";\n'),
  },
  {
    rule: "impure-module",
    what: "a whole module",
    at: ["src/dns/a.ts:1"],
    files: pure('import * as crypto from "node:crypto";\n'),
  },
  {
    rule: "impure-module",
    what: "a module without its prefix",
    at: ["src/dns/a.ts:1"],
    files: pure('import { readFile } from "fs/promises";\n'),
  },
  {
    rule: "impure-module",
    what: "a package's sockets",
    at: ["src/dns/a.ts:1"],
    files: pure('import { UDPServer } from "dns2";\n'),
  },
  {
    rule: "impure-module",
    what: "types, values of the table, and a shell",
    files: {
      "src/dns/a.ts": 'import type { Socket } from "node:net";\nimport { Packet } from "dns2";\n',
      "src/dns/b.ts": 'import { hash } from "node:crypto";\nimport { isIP } from "net";\n',
      "src/dns/server.ts": 'import { createServer } from "node:net";\n',
    },
  },
  ...ambient("ambient-clock", ["Date.now()", "new Date()", "new Date", "Date()", "performance.now()"]),
  ...ambient("ambient-clock", ["`at ${Date.now()}`", "Date?.now()"]),
  ...fine("ambient-clock", ["// Date.now()", "export const a = 'new Date()';", "export type A = Date;"]),
  ...fine("ambient-clock", [
    "export const a = (ms: number) => new Date(ms);",
    "export const a = Date.parse;",
  ]),
  ...ambient("ambient-randomness", ["Math.random()", "crypto.randomUUID()", "crypto.getRandomValues(x)"]),
  ...fine("ambient-randomness", [
    "export const a = Math.max(1, 2);",
    "export const a = { crypto: 1 }.crypto;",
  ]),
  ...ambient("ambient-timer", [
    "setTimeout(f, 1)",
    "setInterval(f, 1)",
    "setImmediate(f)",
    "queueMicrotask(f)",
  ]),
  ...ambient("ambient-timer", ["process.nextTick(f)", "AbortSignal.timeout(5)", "pass(setTimeout)"]),
  ...fine("ambient-timer", ["export const a = (clock: Clock) => clock.setTimeout(f, 1);"]),
  ...ambient("ambient-world", [
    "process.env",
    "console.log(1)",
    "fetch('x')",
    "globalThis.x",
    "pass(process)",
  ]),
  ...ambient("ambient-world", ["import.meta.url", "new WebSocket('x')", "x ? process : y"]),
  ...fine("ambient-world", ["export type A = { process: number; fetch(key: string): string; console?: 1 };"]),
  ...fine("ambient-world", ["export class A { fetch() { return this.process; } }", "// process.exit"]),
  {
    rule: "import-cycle",
    what: "two files, one by type only",
    at: ["src/dns/b.ts:2"],
    files: {
      "src/dns/a.ts": 'import { b } from "./b.ts";\nexport const a = b;\n',
      "src/dns/b.ts": 'export const b = 1;\nimport type { A } from "./a.ts";\n',
    },
  },
  {
    rule: "import-cycle",
    what: "a diamond",
    files: {
      "src/dns/a.ts": 'import { b } from "./b.ts";\nimport { c } from "./c.ts";\nexport const a = b + c;\n',
      "src/dns/b.ts": 'import { d } from "./d.ts";\nexport const b = d;\n',
      "src/dns/c.ts": 'import { d } from "./d.ts";\nexport const c = d;\n',
      "src/dns/d.ts": "export const d = 1;\n",
    },
  },
  {
    rule: "unresolved-import",
    what: "a file that is not there",
    at: ["src/dns/a.ts:1"],
    files: pure('import { b } from "./gone.ts";\n'),
  },
  { rule: "unresolved-import", what: "a file that is there", files: from("src/proxy/a.ts", "./b.ts") },
  {
    rule: "barrel",
    what: "re-exports",
    at: ["src/dns/a.ts:1"],
    files: { ...pure('// why\nexport * from "./b.ts";\nexport { c } from "./b.ts";\n'), "src/dns/b.ts": "" },
  },
  {
    rule: "barrel",
    what: "imports and a list",
    at: ["src/dns/a.ts:1"],
    files: { ...pure('import { b } from "./b.ts";\nexport { b };\n'), "src/dns/b.ts": "" },
  },
  {
    rule: "barrel",
    what: "the name",
    at: ["src/dns/index.ts:1"],
    files: { "src/dns/index.ts": "export const a = 1;\n" },
  },
  {
    rule: "barrel",
    what: "a re-export beside code",
    files: { ...pure('export { b } from "./b.ts";\nexport const a = 1;\n'), "src/dns/b.ts": "" },
  },
  {
    rule: "enum",
    what: "an enum",
    at: ["src/dns/a.ts:2"],
    files: pure("// one\nexport const enum A { B }\n"),
  },
  ...fine("enum", ["export const a = { enum: 1 }.enum;", "export const a = 'enum A {';"]),
  {
    rule: "default-export",
    what: "a default",
    at: ["src/dns/a.ts:1"],
    files: pure("export default 1;\n"),
  },
  {
    rule: "default-export",
    what: "a list",
    at: ["src/dns/a.ts:2"],
    files: pure("const a = 1;\nexport { a as default };\n"),
  },
  ...fine("default-export", ['import { default as a } from "valibot";', "switch (zero) { default: }"]),
  {
    rule: "side-effect-import",
    what: "a file",
    at: ["src/daemon/daemon.ts:1"],
    files: { "src/daemon/daemon.ts": 'import "../main.ts";\n', "src/main.ts": "" },
  },
  ...fine("side-effect-import", ['import {} from "valibot";', 'export const a = import("valibot");']),
  { rule: "module-state", what: "let", at: ["src/dns/a.ts:1"], files: pure("let a = 1;\nexport { a };\n") },
  { rule: "module-state", what: "var", at: ["src/dns/a.ts:1"], files: pure("export var a = 1;\n") },
  {
    rule: "module-state",
    what: "a map to fill",
    at: ["src/dns/a.ts:1"],
    files: pure("const a = new Map<string, number[]>();\nexport const b = a;\n"),
  },
  ...fine("module-state", ["export function a(): number { let b = 1; return b++; }"]),
  ...fine("module-state", [
    "export const a: ReadonlyMap<string, number> = new Map();",
    "const a = new Set([1]);",
  ]),
  {
    rule: "refused-name",
    what: "utils",
    at: ["src/dns/packet-utils.ts:1"],
    files: { "src/dns/packet-utils.ts": "" },
  },
  { rule: "refused-name", what: "utilization", files: { "src/dns/utilization.ts": "" } },
];

for (const { rule, what, at = [], files } of PLANTS) {
  test(`${rule}: ${at.length > 0 ? "reports" : "passes"} ${what}`, () => {
    const expected = at.map((place) => `${rule} ${place}`);
    const reported = found(files);
    assert.deepEqual(
      at.length > 0 ? reported : reported.filter((line) => line.startsWith(`${rule} `)),
      expected,
    );
  });
}

test("stale-shell-entry: reports a listed file that is gone, and passes a planned one", () => {
  const reported = checkArchitecture(new Map(), {}, { ...layout, shellFiles: ["dns/gone"] });
  assert.deepEqual(
    reported.map(({ rule, text }) => `${rule}: ${text}`),
    ['stale-shell-entry: no file is listed by "dns/gone"'],
  );
});

const shipsWs = { shipped: ["ws"], devDependencies: { ws: "1" } };

test("unused-dependency: reports what src does not import, though a test may", () => {
  const texts = new Map([["test/a.test.ts", 'import { x } from "ws";\n']]);
  const reported = checkArchitecture(texts, shipsWs, { ...layout, shellFiles: [] });
  assert.deepEqual(
    reported.map(({ rule, file }) => `${rule} ${file}`),
    ["unused-dependency package.json"],
  );
});

test("unused-dependency: passes what src imports, if only for its types", () => {
  const texts = new Map([["src/dns/a.ts", 'import type { X } from "ws";\n']]);
  assert.deepEqual(checkArchitecture(texts, shipsWs, { ...layout, shellFiles: [] }), []);
});

test("undeclared-package: reports what is shipped and in no list that npm reads", () => {
  const texts = new Map([["src/dns/a.ts", 'import type { X } from "ws";\n']]);
  const reported = checkArchitecture(texts, { shipped: ["ws"] }, { ...layout, shellFiles: [] });
  assert.deepEqual(
    reported.map(({ rule, file }) => `${rule} ${file}`),
    ["undeclared-package package.json"],
  );
});

test("every rule of the list has a planted violation", () => {
  const planted = new Set(PLANTS.filter((plant) => plant.at).map((plant) => plant.rule));
  const elsewhere = new Set(["stale-shell-entry", "unused-dependency"]);
  const bare = Object.keys(ARCHITECTURE_RULES).filter((rule) => !planted.has(rule) && !elsewhere.has(rule));
  assert.deepEqual(bare, []);
});

test("no file is listed both as existing and as planned", () => {
  const planned = new Set(LAYOUT.plannedShellFiles);
  assert.deepEqual(
    LAYOUT.shellFiles.filter((entry) => planned.has(entry)),
    [],
  );
});

test("refusedWord: judges words of a name, not letters", () => {
  assert.equal(refusedWord("src/a/dnsHelper.ts"), "helper");
  assert.equal(refusedWord("src/common/a.ts"), "common");
  assert.equal(refusedWord("src/a/miscarriage.ts"), null);
});
