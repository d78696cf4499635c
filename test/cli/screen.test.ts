// A screen: what stood on the terminal before is there again, also when a signal ends or stops the command.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test, type TestContext } from "node:test";

import { startScript, type Script } from "../support/script.ts";
import { until } from "../support/wait.ts";

const ENTER = "\u001B[?1049h\u001B[?25l";
const LEAVE = "\u001B[?25h\u001B[?1049l";

/** A command that has the screen until it is ended. */
async function drawing(t: TestContext): Promise<Script> {
  const script = startScript(
    t,
    `import { onScreen, terminalOf } from "@/cli/screen.ts";
     setInterval(() => {}, 60_000);
     await onScreen(process.stdout, terminalOf(process.stdout), async (draw) => {
       draw("the picture");
       await new Promise(() => {});
     });`,
  );
  await until(() => script.stdout().includes("the picture"));
  return script;
}

for (const signal of ["SIGHUP", "SIGQUIT"] as const)
  test(`screen: ${signal} ends the command, and the terminal is given back`, async (t) => {
    const script = await drawing(t);
    script.child.kill(signal);
    assert.equal(await script.ended, signal);
    assert.ok(script.stdout().startsWith(ENTER) && script.stdout().endsWith(LEAVE));
  });

test("screen: a shell that stops the command has its terminal, and the picture comes back with it", async (t) => {
  const script = await drawing(t);
  script.child.kill("SIGTSTP");
  await until(() => /\) T /.test(readFileSync(`/proc/${script.child.pid}/stat`, "utf8")));
  // It was written before the stop; this end of the pipe reads it when it gets to.
  await until(() => script.stdout().endsWith(LEAVE));
  script.child.kill("SIGCONT");
  await until(() => (script.stdout().split(ENTER)[2] ?? "").includes("the picture"));
});
