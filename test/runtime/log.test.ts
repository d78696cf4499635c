// The log: one line each, on stderr, in the format asked for, harmless whatever a label or peer put into it.

import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";

import { startScript } from "../support/script.ts";

/** Runs statements with a `log` at level `level` and gives what they wrote to stderr. */
async function written(t: TestContext, options: string, statements: string): Promise<string> {
  const script = startScript(
    t,
    `import { openLog } from "@/runtime/log.ts";
     const log = openLog(${options});
     ${statements}`,
  );
  assert.equal(await script.ended, 0);
  assert.equal(script.stdout(), "");
  return script.stderr();
}

describe("log", () => {
  it("off a terminal `auto` writes JSON lines with time, level, msg and fields", async (t) => {
    const text = await written(
      t,
      `{ level: "info", format: "auto" }`,
      `log.info("member alive", { member: "host-2", rttMs: 1.5, relayed: false, zone: null });
       log.error("second");`,
    );
    const [first, second] = text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.deepEqual(Object.keys(first ?? {}), [
      "level",
      "time",
      "member",
      "rttMs",
      "relayed",
      "zone",
      "msg",
    ]);
    assert.match(String(first?.["time"]), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.deepEqual(
      [first?.["msg"], first?.["member"], first?.["rttMs"], first?.["relayed"], first?.["zone"]],
      ["member alive", "host-2", 1.5, false, null],
    );
    assert.deepEqual([first?.["level"], second?.["level"], second?.["msg"]], ["info", "error", "second"]);
  });

  it("text lines have time, level, text and fields", async (t) => {
    const text = await written(
      t,
      `{ level: "info", format: "text" }`,
      `log.warn("label is bad", { label: "skein.port", count: 2 });`,
    );
    assert.match(text, /^\d\d:\d\d:\d\d\.\d{3} warn {2}label is bad label=skein\.port count=2\n$/);
  });

  for (const format of ["json", "text"]) {
    it(`${format}: only the level asked for and above is written, and it can change`, async (t) => {
      const text = await written(
        t,
        `{ level: "warn", format: "${format}" }`,
        `for (const level of ["warn", "debug", "error"]) {
           log.setLevel(level);
           for (const at of ["debug", "info", "warn", "error"]) log[at](level + "-" + at);
         }`,
      );
      assert.deepEqual(text.match(/(warn|debug|error)-(debug|info|warn|error)/g), [
        "warn-warn",
        "warn-error",
        "debug-debug",
        "debug-info",
        "debug-warn",
        "debug-error",
        "error-error",
      ]);
    });

    it(`${format}: control characters cannot move the cursor or forge a line`, async (t) => {
      const text = await written(
        t,
        `{ level: "info", format: "${format}" }`,
        String.raw`log.info("one\nforged", { name: "\u001b[2J\r\u0085\u0000" });`,
      );
      assert.equal(text.split("\n").length, 2);
      // oxlint-disable-next-line no-control-regex -- their absence is the point
      assert.doesNotMatch(text, /[\u0000-\u0009\u000b-\u001f\u007f]/);
    });
  }

  it("a line is out before the process that wrote it dies at once", async (t) => {
    for (const format of ["json", "text"]) {
      const script = startScript(
        t,
        `import { openLog } from "@/runtime/log.ts";
         openLog({ level: "info", format: "${format}" }).error("last words");
         process.kill(process.pid, "SIGKILL");`,
      );
      assert.equal(await script.ended, "SIGKILL");
      assert.match(script.stderr(), /last words/);
    }
  });
});
