// The stream of `watch` over real sockets: picture, changes, traffic; many watchers, and watchers that do not read.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import type { Picture, PictureChange, TrafficReport } from "../../src/admin/contract-live.ts";
import { Failure } from "../../src/base/failure.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { until } from "../support/wait.ts";
import { askSocket, askTcp, codeOf, holdAtPort, openDoors, openRaw, type Doors } from "./doors.ts";
import { QUIET } from "./quiet.ts";
import { event, exampleSnapshot, member, replica, service, snapshot, view } from "./picture.ts";

test("watch: it begins with the picture, and then tells what becomes other", async (t) => {
  const doors = await openDoors(t);
  doors.daemon.snapshot = exampleSnapshot();
  const stream = watch(t, doors);
  const picture = await until(() => stream.pictures()[0]);
  assert.deepEqual(
    picture.services.map(({ name }) => name),
    ["db", "web", "日志"],
  );
  assert.deepEqual([picture.drains.length, picture.members.length, picture.events.length], [1, 3, 3]);
  assert.match(stream.read(), /content-type: text\/event-stream/i);
  const members = doors.daemon.snapshot.view.members.slice(0, 1);
  doors.daemon.snapshot = { ...doors.daemon.snapshot, view: { ...doors.daemon.snapshot.view, members } };
  const change = await until(() => stream.changes()[0]);
  assert.deepEqual([change.members?.set, change.members?.gone.length], [[], 2]);
  assert.equal(change.status?.cluster.size, 1);
  assert.equal(change.services, undefined);
});

test("watch: an event reaches a watcher by itself, and who comes later gets it once, in the picture", async (t) => {
  const doors = await openDoors(t);
  const first = watch(t, doors);
  await until(() => first.pictures()[0]);
  doors.daemon.emit(event(1));
  await until(() => first.changes().some(({ events }) => events?.[0]?.id === 1));
  const second = watch(t, doors);
  const picture = await until(() => second.pictures()[0]);
  assert.deepEqual(
    picture.events.map(({ id }) => id),
    [1],
  );
  doors.daemon.emit(event(2));
  const ids = (stream: Watching): readonly number[] =>
    stream.changes().flatMap(({ events = [] }) => events.map(({ id }) => id));
  await until(() => ids(first).includes(2) && ids(second).includes(2));
  assert.deepEqual([ids(first), ids(second)], [[1, 2], [2]]);
});

test("watch: traffic comes while somebody watches, a lost second is skipped; then nothing is looked at", async (t) => {
  const looks = { count: 0 };
  const doors = await openDoors(t, {
    snapshot() {
      looks.count += 1;
      return snapshot();
    },
  });
  let asked = 0;
  const scopes = new Set<string>();
  doors.daemon.traffic = (scope) => {
    asked += 1;
    scopes.add(scope);
    if (asked === 1) return Promise.reject(new Failure("timeout", "nobody answered"));
    return Promise.resolve({ ...QUIET, scope });
  };
  const stream = watch(t, doors);
  await until(() => stream.traffic().length >= 2);
  assert.deepEqual([...scopes], ["cluster"]);
  assert.equal(stream.traffic()[0]?.scope, "cluster");
  stream.socket.destroy();
  const seen = await quiet(() => asked + looks.count);
  assert.ok(seen > 3);
  const again = watch(t, doors);
  await until(() => again.pictures()[0]);
});

test("watch: traffic that is never told is given up, and asked for anew", async (t) => {
  const doors = await openDoors(t);
  let asked = 0;
  doors.daemon.traffic = (scope) => {
    asked += 1;
    return asked === 1 ? new Promise<never>(() => undefined) : Promise.resolve({ ...QUIET, scope });
  };
  const stream = watch(t, doors);
  await until(() => stream.traffic()[0], { what: "traffic is told" });
  assert.ok(asked >= 2);
});

test("watch: one that does not read holds one picture at most, and gets a new one when it reads on", async (t) => {
  const doors = await openDoors(t);
  const text = "x".repeat(1024);
  const wide = (count: number, mark: string) => {
    const services = Array.from({ length: count }, (_, at) => {
      return service("default", `web-${at}`, { problems: [`${mark} ${text}`], replicas: [replica()] });
    });
    return snapshot({ view: view({ services, version: doors.daemon.snapshot.view.version + 1 }) });
  };
  const healthy = watch(t, doors);
  const stuck = watch(t, doors);
  await until(() => healthy.pictures()[0] !== undefined && stuck.pictures()[0] !== undefined);
  stuck.socket.pause();
  // More than sockets hold, in changes of about a third of a megabyte each.
  const rounds = 7;
  for (let round = 1; round <= rounds; round += 1) {
    doors.daemon.snapshot = wide(300, `round ${round}`);
    await until(() => healthy.read().includes(`round ${round} `), { everyMs: 5 });
  }
  stuck.socket.resume();
  await until(() => stuck.pictures().length >= 2);
  const last = stuck.pictures().at(-1);
  assert.ok(last?.services.every(({ problems }) => problems[0]?.startsWith(`round ${rounds} `)));
  assert.ok(stuck.changes().length < rounds);
  // Each round reached the one that reads, as a change or, on a busy machine, in a picture.
  assert.ok(healthy.changes().length + healthy.pictures().length > rounds);
});

test("watch: watchers are bounded, and one that leaves makes room", async (t) => {
  const doors = await openDoors(t);
  const streams = Array.from({ length: LIMITS.watchersMax }, () => watch(t, doors));
  await until(() => streams.every((stream) => stream.pictures().length === 1));
  const refused = await askSocket(doors, "/api/v1/watch");
  assert.deepEqual([refused.status, codeOf(refused), refused.headers["retry-after"]], [503, "busy", "5"]);
  const looked = await askSocket(doors, "/api/v1/watch", { method: "HEAD" });
  assert.equal(looked.status, 503, "who only looks is told as well");
  streams[0]?.socket.destroy();
  const next = await until(async () => {
    const stream = watch(t, doors);
    await until(() => stream.read() !== "");
    return stream.read().startsWith("HTTP/1.1 200") ? stream : null;
  });
  await until(() => next.pictures()[0]);
});

test("watch: callers of the port have a share, and leave room to those of the socket", async (t) => {
  const doors = await openDoors(t);
  const held = holdAtPort(t, doors, "/api/v1/watch", LIMITS.watchersOfPortMax);
  await until(() => held.every((one) => one.read().includes("event: picture")));
  const refused = await askTcp(doors, "/api/v1/watch");
  assert.deepEqual([refused.status, codeOf(refused), refused.headers["retry-after"]], [503, "busy", "5"]);
  const local = watch(t, doors);
  await until(() => local.pictures()[0]);
});

test("watch: a snapshot that fails ends the streams with a line in the log, not the daemon", async (t) => {
  let isBroken = false;
  const doors = await openDoors(t, {
    snapshot() {
      if (isBroken) throw new Error("our bug");
      return snapshot();
    },
  });
  const stream = watch(t, doors);
  await until(() => stream.pictures()[0]);
  isBroken = true;
  await until(() => stream.read().endsWith("\r\n0\r\n\r\n"));
  assert.ok(doors.daemon.lines.includes("watch failed"));
  isBroken = false;
  const again = watch(t, doors);
  await until(() => again.pictures()[0]);
});

test("watch: HEAD tells the type and opens nothing; close ends every stream", async (t) => {
  const doors = await openDoors(t);
  const head = await askTcp(doors, "/api/v1/watch", { method: "HEAD" });
  assert.deepEqual([head.status, head.headers["content-type"], head.body], [200, "text/event-stream", ""]);
  const stream = watch(t, doors);
  await until(() => stream.pictures()[0]);
  await doors.admin.close();
  await until(() => stream.socket.readableEnded || stream.socket.destroyed);
});

test("watch: names with line breaks and markup stay one message, and are told as they are", async (t) => {
  const doors = await openDoors(t);
  const name = 'a\n\ndata: {}\n\n<script>"\u2028';
  doors.daemon.snapshot = snapshot({ view: view({ members: [member({ name })] }) });
  const stream = watch(t, doors);
  const picture = await until(() => stream.pictures()[0]);
  assert.equal(picture.members[0]?.name, name);
});

type Watching = ReturnType<typeof watch>;

function watch(t: TestContext, { socketPath }: Doors) {
  const raw = openRaw(t, socketPath, "GET /api/v1/watch HTTP/1.1\r\nhost: x\r\n\r\n");
  const messages = (kind: string): readonly unknown[] => {
    // Chunked: a chunk is one frame, with its size in a line before it.
    const found = raw.read().matchAll(new RegExp(`^event: ${kind}\\ndata: ([^\\n]*)\\n\\n`, "gm"));
    return [...found].map((match) => JSON.parse(match[1] ?? "") as unknown);
  };
  return {
    ...raw,
    pictures: () => messages("picture") as readonly Picture[],
    changes: () => messages("change") as readonly PictureChange[],
    traffic: () => messages("traffic") as readonly TrafficReport[],
  };
}

/** Waits until a count has stood still for longer than anything would be looked at. @returns the count */
async function quiet(count: () => number): Promise<number> {
  let last = count();
  let still = 0;
  await until(
    () => {
      still = count() === last ? still + 1 : 0;
      last = count();
      return still >= 12;
    },
    { everyMs: 100 },
  );
  return last;
}
