// The tree that completion is made of has everything that can be typed.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Argument, Command, Option } from "commander";

import { programOf } from "../../../src/cli/cli.ts";
import { placesOf } from "../../../src/cli/completion/tree.ts";
import { surroundings } from "../terminal.ts";

const PLACES = placesOf(programOf(() => () => Promise.resolve(), surroundings()));

test("tree: every command is a place, and none that is hidden", () => {
  const places = PLACES.map(({ at }) => at);
  for (const at of ["", "run", "node", "node drain", "completion bash", "config print", "help", "node help"])
    assert.ok(places.includes(at), at);
  assert.ok(!places.includes("completion names"));
  assert.equal(new Set(places).size, places.length);
});

test("tree: shared options are options of every command, the version that of the program alone", () => {
  for (const { at, flags } of PLACES) {
    const all = flags.flatMap((flag) => flag.flags);
    assert.ok(all.includes("--output") && all.includes("-h"), at);
    assert.equal(all.includes("--version"), at === "", at);
    assert.equal(new Set(all).size, all.length, at);
  }
});

test("tree: what stands for a name, a file or a choice is known by what the help calls it", () => {
  const program = new Command("it");
  program
    .command("act <replica> [file]")
    .addArgument(new Argument("<how>").choices(["one", "two"]))
    .option("--to <node>", "where")
    .addOption(new Option("--as <what>").choices(["a", "b"]))
    .option("--note <text>", "any text,\n in one line")
    .option("--now", "at once");
  const place = placesOf(program).find(({ at }) => at === "act");
  assert.deepEqual(place?.values, [
    { kind: "names", of: "replica" },
    { kind: "files" },
    { kind: "words", words: ["one", "two"] },
  ]);
  assert.deepEqual(
    place?.flags.map(({ flags, value }) => [flags.join(), value]),
    [
      ["--to", { kind: "names", of: "node" }],
      ["--as", { kind: "words", words: ["a", "b"] }],
      ["--note", { kind: "any" }],
      ["--now", null],
      ["-h,--help", null],
    ],
  );
  assert.equal(place?.flags[2]?.text, "any text, in one line");
});

test("tree: every name that a command takes is completed from the daemon", () => {
  const kinds = new Map(
    PLACES.flatMap(({ at, values }) =>
      values.flatMap((value) => (value.kind === "names" ? [[at, value.of]] : [])),
    ),
  );
  assert.deepEqual(Object.fromEntries(kinds), {
    "node inspect": "node",
    "node drain": "node",
    "node activate": "node",
    "node rm": "node",
    "service inspect": "service",
    "network inspect": "network",
    "network rm": "network",
    explain: "service",
    resolve: "service",
    drain: "replica",
  });
});
