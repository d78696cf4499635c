// Writer: traffic never waits for its log, and what could not be written is counted and told.

import assert from "node:assert/strict";
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { seededRandom } from "../../../src/base/random.ts";
import { LIMITS } from "../../../src/model/limits.ts";
import { openAccessLog, type AccessSettings, type AccessWriter } from "../../../src/proxy/access/writer.ts";
import type { Log } from "../../../src/runtime/log.ts";
import { openMetrics, type Metrics } from "../../../src/runtime/metrics.ts";
import { openFolder } from "../../support/folder.ts";
import { until } from "../../support/wait.ts";
import { SILENT } from "../fixtures.ts";

import { entry, FACTS } from "./entries.ts";

interface Opened {
  readonly access: AccessWriter;
  readonly metrics: Metrics;
  readonly told: string[];
  readonly path: string;
  readonly settings: AccessSettings;
}

async function openAccess(t: TestContext, changes: Partial<AccessSettings> = {}): Promise<Opened> {
  const path = changes.file ?? join(await openFolder(t), "access.log");
  const settings: AccessSettings = { mode: "full", format: "json", oneIn: 1, file: path, ...changes };
  const metrics = openMetrics();
  const told: string[] = [];
  const tell = (text: string): void => void told.push(text);
  const log: Log = { ...SILENT, info: tell, warn: tell };
  const access = openAccessLog(settings, { log, metrics, random: seededRandom(1) });
  t.after(() => access.close());
  return { access, metrics, told, path, settings };
}

/** The paths of the requests in a file, in its order. */
function paths(file: string): string[] {
  const lines = readFileSync(file, "utf8").split("\n");
  assert.equal(lines.pop(), "", "the last line is whole");
  return lines.map((line) => (JSON.parse(line) as { path: string }).path);
}

const request = (path: string) => entry({ http: { ...FACTS, target: path } });

async function dropped(metrics: Metrics): Promise<number> {
  return (await metrics.accessDropped.get()).values[0]?.value ?? 0;
}

test("access log: every entry becomes one line, in order, and all are there once it is closed", async (t) => {
  const { access, path, told, metrics } = await openAccess(t);
  const wanted = Array.from({ length: 5000 }, (_, at) => `/${at}`);
  for (const target of wanted) access.append(request(target));
  await access.close();
  assert.deepEqual(paths(path), wanted);
  assert.deepEqual(told, []);
  assert.equal(await dropped(metrics), 0);
});

test("access log: when it is off nobody needs to make entries, and no file is made", async (t) => {
  const { access, settings, path } = await openAccess(t, { mode: "off" });
  assert.equal(access.isOn, false);
  access.append(request("/dropped"));
  access.set({ ...settings, mode: "full" });
  assert.equal(access.isOn, true);
  access.append(request("/kept"));
  await access.close();
  assert.deepEqual(paths(path), ["/kept"]);
  assert.equal(access.isOn, false);
});

test("access log: a reload opens the file anew, and another file or form from then on", async (t) => {
  const { access, settings, path } = await openAccess(t);
  const has = (file: string, text: string) => until(() => readFileSync(file, "utf8").includes(text));
  access.append(request("/one"));
  await has(path, "/one");
  renameSync(path, `${path}.1`);
  access.set(settings);
  access.append(request("/two"));
  await has(path, "/two");
  assert.deepEqual(paths(`${path}.1`), ["/one"]);
  access.set({ ...settings, file: `${path}.other`, format: "combined" });
  access.append(request("/three"));
  await has(`${path}.other`, '"GET /three HTTP/1.1" 200 ');
  assert.deepEqual(paths(path), ["/two"]);
});

test("access log: a file that cannot be is told once, counted, and written as soon as it can be", async (t) => {
  const folder = join(await openFolder(t), "logs");
  const { access, metrics, told } = await openAccess(t, { file: join(folder, "access.log") });
  access.append(request("/lost"));
  await until(() => access.problem !== null);
  assert.match(access.problem ?? "", /logs\/access\.log cannot be written: /);
  mkdirSync(folder);
  await until(() => access.problem === null);
  access.append(request("/kept"));
  await access.close();
  assert.deepEqual(paths(join(folder, "access.log")), ["/kept"]);
  assert.equal(await dropped(metrics), 1);
  assert.equal(told.length, 2, told.join("\n"));
  assert.match(told[1] ?? "", /again; 1 lines were lost$/);
});

test("access log: a reader that is too slow costs lines, never time or memory, and is told once", async (t) => {
  const path = join(await openFolder(t), "pipe");
  execFileSync("mkfifo", [path]);
  const reader = await stoppedReader(t, path);
  const { access, metrics, told } = await openAccess(t, { file: path });
  const long = request(`/${"x".repeat(400)}`);
  for (let bytes = 0; bytes < 2 * LIMITS.accessQueueBytes; bytes += 400) access.append(long);
  assert.ok((await dropped(metrics)) > 0);
  assert.equal(told.length, 1, told.join("\n"));
  assert.match(told[0] ?? "", /too slow; lines are dropped/);
  reader.kill("SIGCONT");
  await until(() => access.problem === null);
  assert.equal(told.length, 2);
  await access.close();
});

/** Has the pipe open, and reads nothing until it gets SIGCONT; its own writing end keeps the pipe from ending. */
async function stoppedReader(t: TestContext, path: string): Promise<ChildProcess> {
  const reader = spawn("sh", ["-c", `exec 3<>"${path}"; kill -STOP $$; exec cat <&3`], { stdio: "ignore" });
  t.after(() => reader.kill("SIGKILL"));
  await until(() => readFileSync(`/proc/${reader.pid}/stat`, "utf8").includes(") T "));
  return reader;
}
