// The event stream over real sockets: replay, resume, gaps, many followers, and followers that do not read.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import type { EventLine } from "../../src/admin/contract.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { until } from "../support/wait.ts";
import { askSocket, askTcp, codeOf, holdAtPort, openDoors, openRaw, type Doors } from "./doors.ts";
import { event, NOW_MS } from "./picture.ts";

/** The epoch of the snapshots of picture.ts. */
const EPOCH = NOW_MS - 90_000;

test("events: without a wish to follow it is a list, from the asked number on", async (t) => {
  const doors = await openDoors(t);
  for (const id of [1, 2, 3]) doors.daemon.emit(event(id));
  const ids = async (query: string): Promise<readonly number[]> => {
    const { body } = await askSocket(doors, `/api/v1/events${query}`);
    return (JSON.parse(body) as readonly EventLine[]).map(({ id }) => id);
  };
  assert.deepEqual(await ids(""), [1, 2, 3]);
  assert.deepEqual(await ids("?after=2"), [3]);
  assert.deepEqual(await ids("?follow=false"), [1, 2, 3]);
});

test("events: a follower gets what is kept and then what happens, each once and in order", async (t) => {
  const doors = await openDoors(t);
  for (const id of [1, 2]) doors.daemon.emit(event(id));
  const stream = follow(t, doors);
  await until(() => stream.ids().length === 2);
  for (const id of [3, 4]) doors.daemon.emit(event(id, { text: "two\nlines \u2028" }));
  await until(() => stream.ids().length === 4);
  assert.deepEqual(stream.ids(), [1, 2, 3, 4]);
  assert.match(stream.read(), /content-type: text\/event-stream/i);
});

test("events: Accept alone asks for the stream, and HEAD gets the head of what GET would get", async (t) => {
  const doors = await openDoors(t);
  doors.daemon.emit(event(1));
  const stream = follow(t, doors, { path: "/api/v1/events", headers: "accept: text/event-stream\r\n" });
  await until(() => stream.ids().length === 1);
  const head = await askSocket(doors, "/api/v1/events?follow", { method: "HEAD" });
  assert.deepEqual([head.status, head.headers["content-type"], head.body], [200, "text/event-stream", ""]);
});

test("events: a follower that comes back gets what it missed and no more", async (t) => {
  const doors = await openDoors(t);
  for (const id of [1, 2, 3]) doors.daemon.emit(event(id));
  const stream = follow(t, doors, { headers: `last-event-id: ${EPOCH}.2\r\n` });
  await until(() => stream.ids().length === 1);
  doors.daemon.emit(event(4));
  await until(() => stream.ids().length === 2);
  assert.deepEqual(stream.ids(), [3, 4]);
  assert.doesNotMatch(stream.read(), /event: gap/);
});

test("events: a follower of an earlier life of the daemon, or with an odd id, gets all that is kept", async (t) => {
  const doors = await openDoors(t);
  for (const id of [1, 2]) doors.daemon.emit(event(id));
  for (const lastEventId of [`${EPOCH - 1}.900`, "2", "x", `${EPOCH}.${"9".repeat(40)}`]) {
    const stream = follow(t, doors, { headers: `last-event-id: ${lastEventId}\r\n` });
    await until(() => stream.ids().length === 2, { what: lastEventId });
  }
});

test("events: an id from the future hides nothing that happens", async (t) => {
  const doors = await openDoors(t);
  doors.daemon.emit(event(1));
  const stream = follow(t, doors, { headers: `last-event-id: ${EPOCH}.999\r\n` });
  await until(() => stream.read().includes("retry:"));
  doors.daemon.emit(event(2));
  await until(() => stream.ids().length === 1);
  assert.deepEqual(stream.ids(), [2]);
});

test("events: a follower that was away too long is told how many are gone", async (t) => {
  const doors = await openDoors(t);
  doors.daemon.snapshot = { ...doors.daemon.snapshot, events: [event(50), event(51)] };
  const stream = follow(t, doors, { headers: `last-event-id: ${EPOCH}.40\r\n` });
  await until(() => stream.ids().length === 2);
  assert.match(stream.read(), /event: gap\ndata: \{"missed":9\}\n/);
});

test("events: a follower that does not read is dropped, and the others get every event", async (t) => {
  const doors = await openDoors(t);
  const healthy = follow(t, doors);
  const stuck = follow(t, doors);
  await until(() => healthy.read().includes("retry:") && stuck.read().includes("retry:"));
  stuck.socket.pause();
  const text = "x".repeat(16 * 1024);
  const count = 4 * Math.ceil(LIMITS.eventStreamBufferedBytes / text.length);
  for (let id = 1; id <= count; id += 1) {
    doors.daemon.emit(event(id, { text }));
    // The healthy one keeps up: what is tested is the one that does not.
    await until(() => healthy.ids().at(-1) === id, { everyMs: 1 });
  }
  assert.deepEqual(doors.daemon.lines, ["event follower does not read; dropped"]);
  assert.equal(healthy.ids().length, count);
  stuck.socket.resume();
  await until(() => stuck.socket.destroyed);
  assert.ok(stuck.ids().length < count);
});

test("events: callers of the port have a share, and leave room to those of the socket", async (t) => {
  const doors = await openDoors(t);
  const held = holdAtPort(t, doors, "/api/v1/events?follow", LIMITS.eventStreamsOfPortMax);
  await until(() => held.every((one) => one.read().includes("retry:")));
  const refused = await askTcp(doors, "/api/v1/events?follow");
  assert.deepEqual([refused.status, codeOf(refused), refused.headers["retry-after"]], [503, "busy", "5"]);
  const looked = await askTcp(doors, "/api/v1/events?follow", { method: "HEAD" });
  assert.deepEqual([looked.status, looked.headers["retry-after"], looked.body], [503, "5", ""]);
  assert.equal((await askSocket(doors, "/api/v1/events?follow", { method: "HEAD" })).status, 200);
  const local = follow(t, doors);
  await until(() => local.read().includes("retry:"));
});

test("events: followers are bounded, and one that leaves makes room", async (t) => {
  const doors = await openDoors(t);
  const streams = Array.from({ length: LIMITS.eventStreamsMax }, () => follow(t, doors));
  await until(() => streams.every((stream) => stream.read().includes("retry:")));
  const refused = await askSocket(doors, "/api/v1/events?follow");
  assert.deepEqual([refused.status, codeOf(refused), refused.headers["retry-after"]], [503, "busy", "5"]);
  streams[0]?.socket.destroy();
  const next = await until(() => {
    const stream = follow(t, doors);
    return until(() => stream.read() !== "").then(() =>
      stream.read().startsWith("HTTP/1.1 200") ? stream : null,
    );
  });
  assert.match(next.read(), /text\/event-stream/);
});

interface FollowOptions {
  readonly path?: string;
  readonly headers?: string;
}

function follow(t: TestContext, { socketPath }: Doors, options: FollowOptions = {}) {
  const { path = "/api/v1/events?follow", headers = "" } = options;
  const raw = openRaw(t, socketPath, `GET ${path} HTTP/1.1\r\nhost: x\r\n${headers}\r\n`);
  const ids = (): readonly number[] =>
    [...raw.read().matchAll(/^id: \d+\.(\d+)$/gm)].map((one) => Number(one[1]));
  return { ...raw, ids };
}
