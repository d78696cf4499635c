// State files: what a crash, a flipped bit or a newer version leaves is loaded, set aside or refused.

import assert from "node:assert/strict";
import {
  chmod,
  mkdir,
  readdir,
  readFile,
  rename,
  stat,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { failed, Failure, success } from "../../src/base/failure.ts";
import { LIMITS } from "../../src/model/limits.ts";
import {
  ensureFolder,
  fileFailure,
  loadState,
  readBounded,
  saveState,
  writeWhole,
  type StateFormat,
} from "../../src/runtime/files.ts";
import { openFolder } from "../support/folder.ts";

const ANY: StateFormat<unknown> = { schema: 1, parse: (value) => success(value) };
const NOW = 1_700_000_000_123;

const withCode =
  (code: string) =>
  (thrown: unknown): boolean =>
    thrown instanceof Failure && thrown.code === code;

describe("files: saving and loading state", () => {
  it("any JSON value saved is loaded again, equal, from the current file", async (t) => {
    const path = join(await openFolder(t), "state.json");
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), async (value) => {
        await saveState(path, 1, value);
        const loaded = await loadState(path, ANY, NOW);
        // Through JSON, as -0 is 0 there.
        assert.deepEqual(loaded.value, JSON.parse(JSON.stringify(value)));
        assert.deepEqual([loaded.from, loaded.setAside, loaded.reason], ["current", null, null]);
      }),
      { numRuns: 50 },
    );
  });

  it("a folder is made with those above it; where none can be made it fails, and does not try for ever", async (t) => {
    const folder = await openFolder(t);
    const path = join(folder, "a/b/c");
    await ensureFolder(path);
    await ensureFolder(path);
    assert.ok((await stat(path)).isDirectory());
    await writeFile(join(folder, "file"), "");
    for (const taken of ["/proc/none/below", join(folder, "file"), join(folder, "file/below")])
      await assert.rejects(ensureFolder(taken), withCode("invalid"), taken);
  });

  it("without a file there is nothing, and nothing is wrong", async (t) => {
    const path = join(await openFolder(t), "state.json");
    const loaded = await loadState(path, ANY, NOW);
    assert.deepEqual(loaded, { value: null, from: "none", setAside: null, reason: null });
  });

  it("the file is one JSON document that only its owner may read", async (t) => {
    const path = join(await openFolder(t), "state.json");
    await saveState(path, 3, { peers: ["10.0.0.1:7650"] });
    const document = JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>;
    assert.deepEqual([document["schema"], document["value"]], [3, { peers: ["10.0.0.1:7650"] }]);
    assert.equal((await stat(path)).mode & 0o777, 0o600);
  });

  it("a save leaves the current and the previous file and nothing else", async (t) => {
    const folder = await openFolder(t);
    const path = join(folder, "state.json");
    for (const value of [1, 2, 3]) await saveState(path, 1, value);
    assert.deepEqual((await readdir(folder)).sort(), ["state.json", "state.json.previous"]);
    assert.equal((await loadState(`${path}.previous`, ANY, NOW)).value, 2);
  });

  it("state above the bound is refused before anything is written", async (t) => {
    const folder = await openFolder(t);
    await assert.rejects(
      saveState(join(folder, "state.json"), 1, "x".repeat(LIMITS.fileBytes)),
      withCode("invalid"),
    );
    assert.deepEqual(await readdir(folder), []);
  });

  it("an older schema reaches the parser with its number", async (t) => {
    const path = join(await openFolder(t), "state.json");
    await saveState(path, 1, "old");
    const format: StateFormat<string> = {
      schema: 2,
      parse: (value, schema) => success(`${String(value)} ${schema}`),
    };
    assert.equal((await loadState(path, format, NOW)).value, "old 1");
  });
});

describe("files: damage", () => {
  it("cut anywhere or with any bit flipped, a file is set aside and the previous one used", async (t) => {
    const folder = await openFolder(t);
    let round = 0;
    const damage = fc.oneof(
      fc.record({ kind: fc.constant("cut" as const), at: fc.double({ min: 0, max: 0.999, noNaN: true }) }),
      fc.record({
        kind: fc.constant("flip" as const),
        at: fc.double({ min: 0, max: 0.999, noNaN: true }),
        bit: fc.nat({ max: 7 }),
      }),
      fc.record({ kind: fc.constant("junk" as const), bytes: fc.uint8Array({ maxLength: 300 }) }),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.jsonValue(),
        fc.array(damage, { minLength: 1, maxLength: 3 }),
        async (value, damages) => {
          const path = join(folder, `state-${(round += 1)}.json`);
          await saveState(path, 1, { saved: "first" });
          await saveState(path, 1, { saved: "second", value });
          const whole = await readFile(path);
          let bytes = Buffer.from(whole);
          for (const one of damages) {
            if (one.kind === "junk") bytes = Buffer.from(one.bytes);
            else {
              const at = Math.floor(one.at * bytes.length);
              if (one.kind === "cut") bytes = bytes.subarray(0, at);
              else if (bytes.length > 0) bytes[at] = (bytes[at] ?? 0) ^ (1 << one.bit);
            }
          }
          fc.pre(!bytes.equals(whole));
          await writeFile(path, bytes);

          const loaded = await loadState(path, ANY, NOW);
          assert.deepEqual(loaded.value, { saved: "first" });
          assert.deepEqual([loaded.from, loaded.setAside], ["previous", `${path}.corrupt-${NOW}`]);
          assert.ok(loaded.reason?.startsWith(`${path}: `));
          assert.deepEqual(await readFile(`${path}.corrupt-${NOW}`), bytes);

          // The next save must not push the one good file out by a damaged one.
          await saveState(path, 1, { saved: "third" });
          assert.deepEqual((await loadState(path, ANY, NOW)).value, { saved: "third" });
          assert.deepEqual((await loadState(`${path}.previous`, ANY, NOW)).value, { saved: "first" });
        },
      ),
      { numRuns: 60 },
    );
  });

  it("a flipped bit in the schema is damage, not a newer version", async (t) => {
    const path = join(await openFolder(t), "state.json");
    await saveState(path, 1, "one");
    await saveState(path, 1, "two");
    const text = await readFile(path, "utf8");
    for (const schema of [3, 5, 9]) {
      await writeFile(path, text.replace('"schema":1', `"schema":${schema}`));
      assert.deepEqual((await loadState(path, ANY, NOW)).value, "one");
    }
  });

  it("with both files damaged there is nothing, and both are kept for a person to look at", async (t) => {
    const folder = await openFolder(t);
    const path = join(folder, "state.json");
    await saveState(path, 1, 1);
    await saveState(path, 1, 2);
    await truncate(path, 10);
    await truncate(`${path}.previous`, 10);
    const loaded = await loadState(path, ANY, NOW);
    assert.deepEqual([loaded.value, loaded.from, loaded.setAside], [null, "none", `${path}.corrupt-${NOW}`]);
    assert.deepEqual((await readdir(folder)).sort(), [
      `state.json.corrupt-${NOW}`,
      `state.json.previous.corrupt-${NOW}`,
    ]);
  });

  it("a value its parser refuses counts as damage", async (t) => {
    const path = join(await openFolder(t), "state.json");
    const numbers: StateFormat<number> = {
      schema: 1,
      parse: (value) => (typeof value === "number" ? success(value) : failed("invalid", "expected a number")),
    };
    await saveState(path, 1, 1);
    await saveState(path, 1, "two");
    const loaded = await loadState(path, numbers, NOW);
    assert.deepEqual([loaded.value, loaded.from], [1, "previous"]);
    assert.match(loaded.reason ?? "", /expected a number/);
  });

  it("a crash at any step of a save leaves the old or the new state", async (t) => {
    const folder = await openFolder(t);
    const path = join(folder, "state.json");
    await saveState(path, 1, "old");
    // While the new file is being written.
    await writeFile(`${path}.new`, '{"schema":1,"sha2');
    assert.equal((await loadState(path, ANY, NOW)).value, "old");
    await saveState(path, 1, "newer");
    assert.equal((await loadState(path, ANY, NOW)).value, "newer");
    // Between the two renames.
    await rename(path, `${path}.previous`);
    const loaded = await loadState(path, ANY, NOW);
    assert.deepEqual([loaded.value, loaded.from, loaded.setAside], ["newer", "previous", null]);
    assert.match(loaded.reason ?? "", /missing/);
  });
});

describe("files: what is refused, with everything left as it was", () => {
  it("a newer schema is a failure, even in the previous of a damaged file", async (t) => {
    const folder = await openFolder(t);
    const path = join(folder, "state.json");
    await saveState(path, 2, "from the future");
    const before = await readFile(path);
    await assert.rejects(loadState(path, ANY, NOW), (thrown) => {
      assert.ok(thrown instanceof Failure && thrown.code === "invalid");
      assert.ok(thrown.message.includes(path) && /schema 2.*up to 1/.test(thrown.message));
      return true;
    });
    await saveState(path, 2, "again");
    await truncate(path, 5);
    await assert.rejects(loadState(path, ANY, NOW), withCode("invalid"));
    assert.deepEqual((await readdir(folder)).sort(), ["state.json", "state.json.previous"]);
    assert.deepEqual(await readFile(`${path}.previous`), before);
  });

  it("a file above the bound is not read", async (t) => {
    const path = join(await openFolder(t), "state.json");
    await writeFile(path, "");
    await truncate(path, LIMITS.fileBytes + 1);
    await assert.rejects(loadState(path, ANY, NOW), withCode("invalid"));
    await assert.rejects(readBounded(path), withCode("invalid"));
  });

  it("a folder or a file in the wrong place is a failure, not a crash", async (t) => {
    const folder = await openFolder(t);
    await mkdir(join(folder, "state.json"));
    await assert.rejects(loadState(join(folder, "state.json"), ANY, NOW), withCode("invalid"));
    await writeFile(join(folder, "file"), "");
    await assert.rejects(saveState(join(folder, "file", "state.json"), 1, 1), withCode("invalid"));
    await assert.rejects(ensureFolder(join(folder, "file", "data")), withCode("invalid"));
    await assert.rejects(saveState(join(folder, "missing", "state.json"), 1, 1), withCode("invalid"));
  });

  it("what the system forbids names the path and what to do", async (t) => {
    for (const [system, code] of [
      ["EACCES", "not-allowed"],
      ["EPERM", "not-allowed"],
      ["EROFS", "not-allowed"],
      ["ENOSPC", "busy"],
      ["EMFILE", "busy"],
      ["EIO", "corrupt"],
      ["ELOOP", "invalid"],
    ] as const) {
      const failure = fileFailure(
        "/var/lib/skein/state.json",
        "read",
        Object.assign(new Error(system), { code: system }),
      );
      assert.equal(failure.code, code, system);
      assert.ok(failure.message.startsWith("/var/lib/skein/state.json cannot be read: "), system);
    }
    if (process.getuid?.() === 0)
      return t.diagnostic("as root nothing is forbidden; the real case is skipped");
    const folder = await openFolder(t);
    await chmod(folder, 0o500);
    await assert.rejects(saveState(join(folder, "state.json"), 1, 1), withCode("not-allowed"));
  });
});

describe("files: whole files and folders", () => {
  it("a whole file has mode 0600, and a link in its way is not followed", async (t) => {
    const folder = await openFolder(t);
    const path = join(folder, "node.key");
    await writeFile(join(folder, "victim"), "precious");
    await symlink(join(folder, "victim"), `${path}.new`);
    await writeWhole(path, "one");
    await writeWhole(path, "two");
    assert.equal(await readBounded(path), "two");
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    assert.equal(await readFile(join(folder, "victim"), "utf8"), "precious");
  });

  it("a file that is not there reads as null", async (t) => {
    assert.equal(await readBounded(join(await openFolder(t), "none")), null);
  });

  it("folders are made with mode 0700, and one that is there keeps its own", async (t) => {
    const folder = await openFolder(t);
    await ensureFolder(join(folder, "a", "b"));
    assert.equal((await stat(join(folder, "a", "b"))).mode & 0o777, 0o700);
    await chmod(join(folder, "a"), 0o755);
    await ensureFolder(join(folder, "a"));
    assert.equal((await stat(join(folder, "a"))).mode & 0o777, 0o755);
  });
});
