// Doctor where no daemon answers: nothing listens, something else does, or what answers is not to be understood.

import assert from "node:assert/strict";
import { createServer } from "node:net";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import type { CheckState, DoctorCheck, DoctorReport } from "../../src/admin/contract-doctor.ts";
import { Failure } from "../../src/base/failure.ts";
import type { Absence, ConfigFlags } from "../../src/cli/context.ts";
import { folder } from "../admin/doors.ts";
import { run } from "./terminal.ts";

test("cli: doctor without a daemon tells what a start needs: 4 where nothing is in the way, else 1", async (t) => {
  const asked: (readonly unknown[])[] = [];
  const check = (id: string, state: CheckState): DoctorCheck => {
    return { id, area: "port", subject: "53", state, text: "is held", why: "", remedy: "stop it" };
  };
  let checks = [check("daemon.answers", "fail"), check("port.free", "warn")];
  const examineHost = (...given: readonly unknown[]): Promise<DoctorReport> => {
    asked.push(given);
    return Promise.resolve({ checks });
  };
  const socket = join(await folder(t), "none.sock");
  const line = ["doctor", "--socket", socket, "--config", "/etc/other.yaml"];
  const free = await run(line, { examineHost });
  assert.deepEqual([free.status, free.err], [4, ""]);
  assert.match(free.out, /^fail +port +53 +is held$/m);
  const flags = { file: "/etc/other.yaml", values: { "admin.socket": socket } };
  assert.deepEqual(asked[0], [flags, { why: `socket "${socket}" does not exist`, remedy: null }]);
  checks = [...checks, check("port.free", "fail")];
  assert.equal((await run(line, { examineHost })).status, 1);
});

/** A socket behind which something else gives this answer. */
async function answering(t: TestContext, answer: string): Promise<string> {
  const path = join(await folder(t), "other.sock");
  const server = createServer((socket) => socket.on("error", () => null).end(answer));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => server.close());
  return path;
}

test("cli: doctor takes what is not Skein's for no daemon, with what to do, and looks at the host", async (t) => {
  const asked: unknown[] = [];
  const examineHost = (_flags: ConfigFlags, absence: Absence): Promise<DoctorReport> => {
    asked.push(absence);
    return Promise.resolve({ checks: [] });
  };
  for (const answer of ["HTTP/1.1 404 Not Found\r\ncontent-type: text/html\r\n\r\n", "220 ESMTP\r\n"]) {
    const socket = await answering(t, answer);
    assert.equal((await run(["doctor", "--socket", socket], { examineHost })).status, 4);
    const { why, remedy } = asked.pop() as Absence;
    assert.match(
      why,
      /other\.sock" is not Skein's: what listens there (answered 404, text\/html|does not speak HTTP)$/,
    );
    assert.match(remedy ?? "", /^name the socket of a daemon with --socket/);
  }
});

test("cli: doctor says what is wrong with the answer of a daemon, and does not take its host for free", async (t) => {
  const examineHost = (): never => assert.fail("the host was looked at");
  const answers: readonly (readonly [string, RegExp])[] = [
    ["HTTP/1.1 200 OK\r\nskein-api: 2\r\n\r\n{}", /speaks version "2" .*expected 1: run the command of the/],
    ["HTTP/1.1 200 OK\r\nskein-api: 1\r\n\r\n<html>", /answered 200 with no JSON; .*log says more/],
  ];
  for (const [answer, told] of answers) {
    const socket = await answering(t, answer);
    const { status, out, err } = await run(["doctor", "--socket", socket], { examineHost });
    assert.deepEqual([status, out], [1, ""]);
    assert.match(err, told);
  }
});

test("cli: doctor --clean asks no daemon, and names what is left with 1", async () => {
  const seen: ConfigFlags[] = [];
  const cleanHost = (flags: ConfigFlags): Promise<readonly string[]> => {
    seen.push(flags);
    return Promise.resolve(seen.length === 1 ? [] : ["Docker network app: it has containers"]);
  };
  const clean = ["doctor", "--clean", "--data-dir", "/srv/skein"];
  const done = await run(clean, { cleanHost });
  assert.deepEqual([done.status, done.err], [0, ""]);
  assert.match(done.out, /nothing of Skein's/);
  const left = await run(clean, { cleanHost });
  assert.deepEqual([left.status, left.out], [1, "left behind: Docker network app: it has containers\n"]);
  assert.deepEqual(seen[0], { file: null, values: { "node.dataDir": "/srv/skein" } });
  const busy = await run(clean, {
    cleanHost: () => Promise.reject(new Failure("busy", "a daemon runs here")),
  });
  assert.deepEqual([busy.status, busy.err], [1, "skein: a daemon runs here\n"]);
});
