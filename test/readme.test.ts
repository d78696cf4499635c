// The README's examples are executed: what a first reader copies must work as it stands.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

import { loadConfig } from "../src/config/load.ts";
import { defaults } from "../src/config/schema.ts";
import { readLabels } from "../src/source/docker/labels.ts";

import { folderFor, run } from "./support/daemons.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const README = readFileSync(join(ROOT, "README.md"), "utf8");

/** Fenced blocks in one language. */
function blocks(language: string): string[] {
  return Array.from(
    README.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "gms")),
    ([, text = ""]) => text,
  );
}

test("readme: every YAML block is a config that loads", (t) => {
  const found = blocks("yaml");
  assert.ok(found.length > 0);
  for (const [index, text] of found.entries()) {
    const file = join(folderFor(t), `block-${index}.yaml`);
    writeFileSync(file, text);
    const { config } = loadConfig({
      surroundings: { env: { HOME: "/nowhere" }, isRoot: false },
      file,
      flags: {},
    });
    assert.equal(config.services.length, text.match(/^  - name: /gm)?.length ?? 0, text);
  }
});

test("readme: every npm script in it exists", () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { scripts: object };
  const named = Array.from(
    README.matchAll(/npm (?:run ([a-z:]+)|(start|test)\b)/g),
    ([, script, short]) => script ?? short,
  );
  assert.ok(named.length > 0);
  for (const script of named) assert.ok(Object.hasOwn(scripts, script ?? ""), script);
});

test("readme: every skein command in it is one, with the options it shows", async () => {
  const lines = blocks("sh").flatMap((text) => text.split("\n"));
  const lists = lines.flatMap((line) => {
    const words = /^npx skein ([^#]*)/.exec(line)?.[1]?.trim().split(/\s+/);
    return words === undefined ? [] : [words];
  });
  assert.ok(lists.length > 0);
  const outcomes = await Promise.all(
    lists.map(async (words) => ({ words, ran: await run([join(ROOT, "src/main.ts"), ...words, "--help"]) })),
  );
  for (const { words, ran } of outcomes) {
    assert.equal(ran.code, 0, `${words.join(" ")}: ${ran.stderr}`);
    assert.match(ran.stdout, new RegExp(`^Usage: skein ${words[0]}`), words.join(" "));
    for (const option of words.filter((word) => word.startsWith("-")))
      assert.ok(ran.stdout.includes(option), option);
  }
});

test("readme: every label in it is known", () => {
  const named = Array.from(README.matchAll(/`(skein\.[a-z.-]+)`/g), ([, label = ""]) => label);
  const labels = [...new Set(named)].filter((label) => label !== "skein.internal");
  assert.ok(labels.length >= 10);
  const context = {
    containerName: "x",
    exposed: [{ port: 80, protocol: "tcp" as const }],
    reported: null,
    health: { intervalMs: 1000, timeoutMs: 1000, rise: 1, fall: 2 },
  };
  for (const label of labels) {
    const { problems } = readLabels(new Map([[label, "?"]]), context);
    assert.ok(
      !problems.some((text) => /is unknown|not supported/.test(text)),
      `${label}: ${problems.join("; ")}`,
    );
  }
});

test("readme: the ports in its table are the defaults", () => {
  const { mesh, admin, dns, ingress } = defaults({ hostName: "host-1", stateDir: "/nowhere" });
  const table = README.slice(README.indexOf("### Ports"));
  for (const address of [mesh.listen, admin.listen, ...dns.listen, `:${ingress.http}`]) {
    const port = address.slice(address.lastIndexOf(":") + 1);
    assert.match(table, new RegExp(`^\\| ${port}\\b`, "m"), port);
  }
});
