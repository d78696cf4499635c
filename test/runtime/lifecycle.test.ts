// Going down: parts close in reverse order, signals mean what they should, crashes leave last words.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { openLifecycle } from "../../src/runtime/lifecycle.ts";
import { startScript } from "../support/script.ts";
import { openSilentLog } from "../support/silence.ts";
import { until } from "../support/wait.ts";

describe("lifecycle: closing", () => {
  it("parts close one after the other, the last opened first, whatever each does", async () => {
    const behaviour = fc.constantFrom("sync", "async", "throws", "rejects");
    await fc.assert(
      fc.asyncProperty(fc.array(behaviour, { maxLength: 8 }), async (behaviours) => {
        const lifecycle = openLifecycle({ log: openSilentLog(), totalMs: 10_000 });
        const closed: string[] = [];
        let closing = 0;
        for (const [index, how] of behaviours.entries()) {
          const close = async (): Promise<void> => {
            assert.equal((closing += 1), 1);
            await Promise.resolve();
            closing -= 1;
            closed.push(`${index}`);
            if (how === "rejects") throw new Error("no");
          };
          const closeNow = (): void => {
            closed.push(`${index}`);
            if (how === "throws") throw new Error("no");
          };
          lifecycle.opened({
            name: `${index}`,
            close: how === "sync" || how === "throws" ? closeNow : close,
          });
        }
        const left = await lifecycle.close();
        const names = behaviours.map((_, index) => `${index}`).reverse();
        assert.deepEqual(closed, names);
        assert.deepEqual(
          left,
          names.filter((name) => ["throws", "rejects"].includes(behaviours[Number(name)] ?? "")),
        );
      }),
    );
  });

  it("for a successor what serves on stays open until the end, and what passes to it is never closed", async () => {
    const lifecycle = openLifecycle({ log: openSilentLog(), totalMs: 10_000 });
    const closed: string[] = [];
    const opened = (name: string, handover?: "serves" | "passes"): void => {
      const close = (): void => void closed.push(name);
      lifecycle.opened({ name, close, ...(handover !== undefined && { handover }) });
    };
    opened("lock");
    opened("pool", "passes");
    opened("proxy", "serves");
    opened("doors");
    await lifecycle.yieldParts();
    assert.deepEqual(closed, ["doors", "lock"]);
    await lifecycle.close();
    assert.deepEqual(closed, ["doors", "lock", "proxy"]);
  });

  it("a part that hangs is left behind and named in the log, the rest is closed", async () => {
    const log = openSilentLog();
    const lifecycle = openLifecycle({ log, totalMs: 10_000 });
    const closed: string[] = [];
    lifecycle.opened({ name: "first", close: () => void closed.push("first") });
    lifecycle.opened({ name: "stuck", close: () => new Promise(() => undefined), deadlineMs: 20 });
    assert.deepEqual(await lifecycle.close(), ["stuck"]);
    assert.deepEqual(closed, ["first"]);
    assert.deepEqual(
      log.lines.map(({ level, text }) => [level, text.includes("stuck")]),
      [["warn", true]],
    );
  });

  it("many parts that hang cannot outlast the total, and what closes at once still does", async () => {
    const lifecycle = openLifecycle({ log: openSilentLog(), totalMs: 50 });
    let isClosed = false;
    lifecycle.opened({ name: "quick", close: () => void (isClosed = true) });
    for (let count = 0; count < 100; count += 1) {
      lifecycle.opened({ name: "stuck", close: () => new Promise(() => undefined), deadlineMs: 60_000 });
    }
    assert.equal((await lifecycle.close()).length, 100);
    assert.equal(isClosed, true);
  });

  it("closing twice closes once; a part that comes late is closed too", async () => {
    const lifecycle = openLifecycle({ log: openSilentLog(), totalMs: 1000 });
    let closes = 0;
    const part = { name: "part", close: () => void (closes += 1) };
    lifecycle.opened({
      name: "opens another",
      close: () => lifecycle.opened(part),
    });
    await Promise.all([lifecycle.close(), lifecycle.close()]);
    assert.equal(closes, 1);
    lifecycle.opened(part);
    await until(() => closes === 2);
  });
});

describe("lifecycle: signals", () => {
  const SCRIPT = `
    import { watchSignals } from "@/runtime/lifecycle.ts";
    const timer = setInterval(() => {}, 60_000);
    watchSignals({
      stop: (signal) => process.stdout.write("stop " + signal + "\\n"),
      stopNow: () => process.exit(3),
      reload: () => process.stdout.write("reload\\n"),
    });
    process.stdout.write("ready\\n");`;

  for (const first of ["SIGTERM", "SIGINT"] as const) {
    for (const second of ["SIGTERM", "SIGINT"] as const) {
      it(`${first} stops in order, then ${second} at once; SIGHUP reloads`, async (t) => {
        const script = startScript(t, SCRIPT);
        await until(() => script.stdout() === "ready\n");
        script.child.kill("SIGHUP");
        await until(() => script.stdout() === "ready\nreload\n");
        script.child.kill(first);
        await until(() => script.stdout() === `ready\nreload\nstop ${first}\n`);
        script.child.kill("SIGHUP");
        await until(() => script.stdout() === `ready\nreload\nstop ${first}\nreload\n`);
        script.child.kill(second);
        assert.equal(await script.ended, 3);
      });
    }
  }

  it("once no longer watched, a signal does what it does by default", async (t) => {
    const script = startScript(
      t,
      `import { watchSignals } from "@/runtime/lifecycle.ts";
       setInterval(() => {}, 60_000);
       watchSignals({ stop() {}, stopNow() {}, reload() {} })();
       process.stdout.write("ready");`,
    );
    await until(() => script.stdout() === "ready");
    script.child.kill("SIGTERM");
    assert.equal(await script.ended, "SIGTERM");
  });
});

describe("lifecycle: crashes", () => {
  for (const [kind, bug] of [
    ["exception", `setImmediate(() => { throw new Error("a bug") });`],
    ["rejection", `void Promise.reject(new Error("a bug"));`],
    ["thrown string", `setImmediate(() => { throw "a bug" });`],
    [
      "second crash while dying",
      `setImmediate(() => { throw new Error("a bug") }); void Promise.reject(new Error("more"));`,
    ],
  ] as const) {
    it(`an uncaught ${kind} is logged and ends the process with the status given`, async (t) => {
      const script = startScript(
        t,
        `import { watchCrashes } from "@/runtime/lifecycle.ts";
         import { openLog } from "@/runtime/log.ts";
         setInterval(() => {}, 60_000);
         const log = openLog({ level: "info", format: "json" });
         watchCrashes(log, () => setTimeout(() => process.exit(1), 50));
         ${bug}`,
      );
      assert.equal(await script.ended, 1);
      const lines = script.stderr().trim().split("\n");
      assert.equal(lines.length, 1);
      assert.match((JSON.parse(lines[0] ?? "") as { readonly msg: string }).msg, /a bug|more/);
    });
  }

  it("a log that throws does not keep the process from ending", async (t) => {
    const script = startScript(
      t,
      `import { watchCrashes } from "@/runtime/lifecycle.ts";
       setInterval(() => {}, 60_000);
       const log = { error() { throw new Error("no disk") } };
       watchCrashes(log as never, () => process.exit(4));
       setImmediate(() => { throw new Error("a bug") });`,
    );
    assert.equal(await script.ended, 4);
  });
});
