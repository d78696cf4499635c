// Draining a replica or a whole host from the command line: what is told of it, and who is missing.

import assert from "node:assert/strict";
import { test } from "node:test";

import { openDoors, type Doors } from "../admin/doors.ts";
import { exampleSnapshot, member, OTHER, snapshot, view } from "../admin/picture.ts";
import { run, type Ran } from "./terminal.ts";

function at(doors: Doors, line: string): Promise<Ran> {
  return run([...line.split(" "), "--socket", doors.socketPath]);
}

test("node drain: node drain and activate say what became of it, and who is missing", async (t) => {
  const doors = await openDoors(t);
  doors.daemon.snapshot = exampleSnapshot();
  const done = await at(doors, "node drain host-2 --wait");
  assert.deepEqual([done.status, done.err], [0, ""]);
  assert.equal(done.out, "host-2 drains with its 2 replicas, applied by every live member\n");
  const back = await at(doors, "node activate host-2");
  assert.equal(back.out, "host-2 is activated: its 2 replicas take traffic once they are ready\n");
  assert.deepEqual(doors.daemon.trusted, [
    ["drainMember", OTHER, { draining: true, waits: true }],
    ["drainMember", OTHER, { draining: false, waits: false }],
  ]);
  const late = { node: "host-2", id: OTHER, draining: true, replicas: 1, applied: false };
  doors.daemon.trust = { drainMember: () => Promise.resolve({ ...late, pending: ["host-3"] }) };
  const missing = await at(doors, "node drain host-2 --wait -q");
  assert.deepEqual([missing.status, missing.out], [4, "host-2\n"]);
  assert.match(missing.err, /in 10 s it was not applied by: host-3/);
  const unwaited = await at(doors, "node drain host-2");
  assert.deepEqual([unwaited.status, unwaited.err], [0, ""]);
  assert.match(unwaited.out, /its 1 replica, not yet applied by host-3/);
});

test("node drain: a host that is drained is shown alive and draining, with the way back", async (t) => {
  const doors = await openDoors(t);
  const members = [member(), member({ id: OTHER, name: "host-2", self: false, draining: true })];
  doors.daemon.snapshot = snapshot({ view: view({ members }) });
  assert.match((await at(doors, "node ls")).out, /host-2 .* alive, draining /);
  assert.match(
    (await at(doors, "node inspect host-2")).out,
    /traffic +drained; back with: skein node activate host-2/,
  );
});

test("drain --wait is done when all have applied it, and names who has not otherwise", async (t) => {
  const doors = await openDoors(t);
  doors.daemon.snapshot = exampleSnapshot();
  assert.equal((await at(doors, "drain web-1 --wait")).status, 0);
  doors.daemon.drainResult = (replica) =>
    Promise.resolve({ replica, applied: false, pending: ["host-2", "host-3"] });
  const late = await at(doors, "drain web-1 --wait --quiet");
  assert.equal(late.status, 4);
  assert.match(late.err, /host-2, host-3/);
  const unwaited = await at(doors, "drain web-1");
  assert.deepEqual([unwaited.status, unwaited.err], [0, ""]);
  assert.match(unwaited.out, /not yet applied by host-2, host-3/);
  assert.deepEqual(
    doors.daemon.drains.map(({ wait }) => wait),
    [true, true, false],
  );
});
