// What completion asks while somebody types: names, and never a message.

import assert from "node:assert/strict";
import { test } from "node:test";

import { NAME_KINDS } from "../../src/cli/completion/tree.ts";
import { Failure } from "../../src/base/failure.ts";
import { openDoors } from "../admin/doors.ts";
import { exampleSnapshot } from "../admin/picture.ts";
import { run } from "./terminal.ts";

test("completion names: where no daemon answers there are none, and no message in the line being typed", async () => {
  for (const kind of NAME_KINDS) {
    const ran = await run(["completion", "names", kind, "--socket", "/nowhere/skein.sock"]);
    assert.deepEqual(ran, { status: 0, out: "", err: "" }, kind);
  }
});

test("completion names: a daemon in trouble is as none", async (t) => {
  const { daemon, socketPath } = await openDoors(t);
  Object.defineProperty(daemon, "snapshot", {
    get: () => {
      throw new Failure("unreachable", "no view yet");
    },
  });
  const ran = await run(["completion", "names", "service", "--socket", socketPath]);
  assert.deepEqual(ran, { status: 0, out: "", err: "" });
});

test("completion names: of each kind, sorted, one a line", async (t) => {
  const { daemon, socketPath } = await openDoors(t);
  daemon.snapshot = exampleSnapshot();
  for (const [kind, first] of [
    ["service", "back/db"],
    ["node", "host-1"],
    ["network", "back"],
    ["replica", "web-1"],
  ] as const) {
    const { status, out } = await run(["completion", "names", kind, "--socket", socketPath]);
    assert.equal(status, 0);
    const names = out.trim().split("\n");
    assert.deepEqual(names, names.toSorted());
    assert.ok(names.includes(first), `${kind}: ${out}`);
  }
});
