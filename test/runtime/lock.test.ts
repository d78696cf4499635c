// The data dir's lock: one daemon at a time, and the lock of a dead one is no obstacle.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { Failure } from "../../src/base/failure.ts";
import { lockFolder } from "../../src/runtime/lock.ts";
import { openFolder } from "../support/folder.ts";
import { startScript } from "../support/script.ts";
import { until } from "../support/wait.ts";

const takeAndWait = (folder: string): string => `
  import { lockFolder } from "@/runtime/lock.ts";
  await lockFolder(${JSON.stringify(folder)});
  process.stdout.write("locked");
  setInterval(() => {}, 60_000);`;

describe("lock", () => {
  it("a second daemon on a data dir is busy and told the pid of the first", async (t) => {
    const folder = await openFolder(t);
    const first = startScript(t, takeAndWait(folder));
    await until(() => first.stdout() === "locked");
    await assert.rejects(lockFolder(folder), (thrown) => {
      assert.ok(thrown instanceof Failure && thrown.code === "busy");
      assert.ok(thrown.message.includes(`pid ${first.child.pid}`) && thrown.message.includes(folder));
      return true;
    });
    assert.deepEqual(await readdir(folder), ["skein.lock"]);
  });

  it("the lock of a daemon killed without warning is taken over", async (t) => {
    const folder = await openFolder(t);
    const first = startScript(t, takeAndWait(folder));
    await until(() => first.stdout() === "locked");
    first.child.kill("SIGKILL");
    await first.ended;
    const lock = await lockFolder(folder);
    assert.match(await readFile(join(folder, "skein.lock"), "utf8"), new RegExp(`^${process.pid} `));
    await lock.release();
    assert.deepEqual(await readdir(folder), []);
  });

  it("a pid that came round again, for another process, does not hold the lock", async (t) => {
    const folder = await openFolder(t);
    await writeFile(join(folder, "skein.lock"), `${process.pid} another-boot:12345\n`);
    await (await lockFolder(folder)).release();
    // Without a start to compare, a pid that lives has to count.
    await writeFile(join(folder, "skein.lock"), `${process.ppid} -\n`);
    await assert.rejects(lockFolder(folder), (thrown) => thrown instanceof Failure && thrown.code === "busy");
  });

  it("a holder that has ended holds nothing, though its parent has not asked for its end yet", async (t) => {
    const folder = await openFolder(t);
    // The child ends once its parent is a program that knows nothing of it, and never asks.
    const words = "(until grep -q sleep /proc/$$/comm; do :; done) & echo $!; exec sleep 60";
    const parent = spawn("sh", ["-c", words], { stdio: ["ignore", "pipe", "inherit"] });
    t.after(() => parent.kill("SIGKILL"));
    let pid = "";
    parent.stdout.on("data", (chunk: Buffer) => (pid += chunk.toString().trim()));
    const isEnded = async (): Promise<boolean> => / Z /.test(await readFile(`/proc/${pid}/stat`, "utf8"));
    await until(isEnded, { what: "a process that nobody waits for has ended" });
    await writeFile(join(folder, "skein.lock"), `${pid} -\n`);
    await (await lockFolder(folder)).release();
  });

  it("a holder that lives is waited for, where that is wished", async (t) => {
    const folder = await openFolder(t);
    const first = startScript(t, takeAndWait(folder));
    await until(() => first.stdout() === "locked");
    await assert.rejects(lockFolder(folder, { waitMs: 1 }), { code: "busy" });
    const waiting = lockFolder(folder, { waitMs: 60_000 });
    first.child.kill("SIGKILL");
    await (await waiting).release();
  });

  it("a lock that no daemon wrote is taken over", async (t) => {
    const folder = await openFolder(t);
    for (const text of ["", "\n", "not a pid", "-1 -", "0 -", "1.5 -", "99999999999 -"]) {
      await writeFile(join(folder, "skein.lock"), text);
      await (await lockFolder(folder)).release();
      assert.deepEqual(await readdir(folder), [], JSON.stringify(text));
    }
  });

  it("of several daemons that start at once on a stale lock exactly one gets in", async (t) => {
    const folder = await openFolder(t);
    await writeFile(join(folder, "skein.lock"), "99999999999 -");
    const attempt = `
      import { lockFolder } from "@/runtime/lock.ts";
      await lockFolder(${JSON.stringify(folder)}).then(
        () => process.stdout.write("locked"),
        (thrown) => process.stdout.write(thrown.code),
      );
      setInterval(() => {}, 60_000);`;
    const daemons = [1, 2, 3].map(() => startScript(t, attempt));
    await until(() => daemons.every(({ stdout }) => stdout() !== ""));
    assert.deepEqual(daemons.map(({ stdout }) => stdout()).sort(), ["busy", "busy", "locked"]);
  });

  it("letting go twice, or of a lock that has become somebody else's, harms nobody", async (t) => {
    const folder = await openFolder(t);
    const lock = await lockFolder(folder);
    await lock.release();
    await lock.release();
    await writeFile(join(folder, "skein.lock"), "1 somebody-else\n");
    await lock.release();
    assert.equal(await readFile(join(folder, "skein.lock"), "utf8"), "1 somebody-else\n");
  });

  it("a data dir that is not there is a failure", async (t) => {
    const missing = join(await openFolder(t), "missing");
    await assert.rejects(lockFolder(missing), Failure);
  });
});
