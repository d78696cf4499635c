// The examples of README and docs are executed, here or in the lab: what a reader copies must work as it stands.

import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

import { parse } from "yaml";

import { loadConfig } from "../../src/config/load.ts";
import { defaults } from "../../src/config/schema.ts";
import { readLabels } from "../../src/source/docker/labels.ts";

import { folderFor, run } from "../support/daemons.ts";

import { anchorsOf, blocksOf, commandsOf, pages, type Block } from "./pages.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const PAGES = pages();
const BLOCKS = [...PAGES].flatMap(([page, text]) => blocksOf(page, text));
const WHOLE = [...PAGES.values()].join("\n");

/** The container that labels are read of. */
const CONTAINER = {
  containerName: "x",
  exposed: [{ port: 80, protocol: "tcp" as const }],
  reported: null,
  health: { intervalMs: 1000, timeoutMs: 1000, rise: 1, fall: 2 },
};

function placeOf({ page, line }: Block): string {
  return `${page}:${line}`;
}

test("docs: every block of shell or YAML says how it is tested", () => {
  const tested = BLOCKS.filter(({ language }) => ["sh", "yaml"].includes(language));
  assert.ok(tested.length > 30);
  assert.deepEqual(tested.filter(({ way }) => way.kind === "unsaid").map(placeOf), []);
});

test("docs: every config of Skein in them loads", (t) => {
  const found = BLOCKS.filter(({ way }) => way.kind === "check" && way.as === "config");
  assert.ok(found.length > 2);
  for (const [index, { text, ...block }] of found.entries()) {
    const file = join(folderFor(t), `block-${index}.yaml`);
    writeFileSync(file, text);
    const surroundings = { env: { HOME: "/nowhere" }, isRoot: false };
    const { config } = loadConfig({ surroundings, file, flags: {} });
    const services = text.match(/^ {2}- name: /gm)?.length ?? 0;
    assert.equal(config.services.length, services, placeOf({ text, ...block }));
  }
});

/** How blocks that are not run may be checked. */
const CHECKS = ["commands", "config", "compose", "the demo has a test of its own", "this is such a run"];

test("docs: every check that a block names is one", () => {
  const named = BLOCKS.flatMap(({ way }) => (way.kind === "check" ? [way.as] : []));
  assert.deepEqual(
    named.filter((name) => !CHECKS.includes(name)),
    [],
  );
});

test("docs: labels of every compose file in them, and of the example, say what they mean to", () => {
  const found = BLOCKS.filter(({ way }) => way.kind === "check" && way.as === "compose");
  assert.ok(found.length > 2);
  const texts = [
    ...found.map(({ text }) => text),
    readFileSync(join(ROOT, "docs/example/compose.yaml"), "utf8"),
  ];
  for (const text of texts) {
    const { services } = parse(text) as { services: Record<string, { labels?: Record<string, string> }> };
    for (const [name, { labels = {} }] of Object.entries(services)) {
      assert.deepEqual(
        readLabels(new Map(Object.entries(labels)), CONTAINER).problems,
        [],
        `${name} in ${text}`,
      );
    }
  }
});

test("docs: every npm script in them exists", () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { scripts: object };
  const named = Array.from(WHOLE.matchAll(/npm (?:run ([a-z:]+)|(start|test)\b)/g), ([, script, short]) => {
    return script ?? short ?? "";
  });
  assert.ok(named.length > 0);
  for (const script of named) assert.ok(Object.hasOwn(scripts, script), script);
});

test("docs: every skein command in them is one, with the options it shows", async () => {
  const shown = BLOCKS.filter(({ language }) => language === "sh").flatMap(({ text }) => commandsOf(text));
  const lists = [...new Map(shown.map((words) => [words.join(" "), words])).values()];
  assert.ok(lists.length > 20);
  for (const words of lists) {
    const ran = await run([
      join(ROOT, "src/main.ts"),
      ...words.filter((word) => !/[$<>"]/.test(word)),
      "--help",
    ]);
    assert.equal(ran.code, 0, `${words.join(" ")}: ${ran.stderr}`);
    assert.ok(words[0] === undefined || ran.stdout.startsWith(`Usage: skein ${words[0]}`), words.join(" "));
    for (const option of words.filter((word) => word.startsWith("-")))
      assert.ok(ran.stdout.includes(option.split("=")[0] ?? ""), `${words.join(" ")}: ${option}`);
  }
});

test("docs: every label in them is known", () => {
  const named = Array.from(
    WHOLE.matchAll(/`?\b(skein\.(?!internal|yaml|sock|service:|tar|log)[a-z.-]*[a-z])\b`?[:=]/g),
  );
  const ticked = Array.from(WHOLE.matchAll(/`(skein\.[a-z.-]+)`/g));
  const labels = new Set([...named, ...ticked].map(([, label = ""]) => label));
  for (const other of ["skein.internal", "skein.yaml"]) labels.delete(other);
  assert.ok(labels.size >= 15);
  for (const label of labels) {
    const { problems } = readLabels(new Map([[label, "?"]]), CONTAINER);
    const unknown = problems.filter((text) => /is unknown|not supported/.test(text));
    assert.deepEqual(unknown, [], label);
  }
});

test("docs: the ports in the table are the defaults", () => {
  const { mesh, admin, dns, ingress } = defaults({ hostName: "host-1", stateDir: "/nowhere" });
  const table = PAGES.get("docs/ports.md") ?? "";
  for (const address of [mesh.listen, admin.listen, ...dns.listen, `:${ingress.http}`, `:${ingress.https}`]) {
    const port = address.slice(address.lastIndexOf(":") + 1);
    assert.match(table, new RegExp(`^\\| ${port}\\b`, "m"), port);
  }
});

test("docs: every link leads to a file that is there, and to a heading of it", () => {
  const links = [...PAGES]
    .flatMap(([page, text]) =>
      Array.from(text.matchAll(/\]\(([^)\s]+)\)/g), ([, target = ""]) => ({ page, target })),
    )
    .filter(({ target }) => !/^https?:/.test(target));
  assert.ok(links.length > 30);
  for (const { page, target } of links) {
    const [path = "", anchor = ""] = target.split("#");
    const file = path === "" ? page : join(dirname(page), path);
    assert.ok(existsSync(join(ROOT, file)), `${page}: ${target}`);
    if (anchor === "") continue;
    assert.ok(anchorsOf(PAGES.get(file) ?? "").has(anchor), `${page}: ${target}`);
  }
});
