// Overlay networks by command: what is listed, what is asked of the daemon, and how refusals end.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { Failure } from "../../src/base/failure.ts";
import { openDoors, type Doors } from "../admin/doors.ts";
import { overlayView } from "../admin/overlay-picture.ts";
import { snapshot } from "../admin/picture.ts";
import { run, type Ran } from "./terminal.ts";

async function overlayDoors(t: TestContext): Promise<Doors> {
  const doors = await openDoors(t);
  doors.daemon.snapshot = snapshot({ view: overlayView() });
  return doors;
}

function at(doors: Doors, line: string): Promise<Ran> {
  return run([...line.split(" "), "--socket", doors.socketPath]);
}

test("cli: network ls tells ranges, slices in use and state; what is wrong stands on stderr", async (t) => {
  const doors = await overlayDoors(t);
  const { status, out, err } = await at(doors, "network ls");
  assert.equal(status, 0);
  const rows = out.split("\n").map((row) => row.trim().split(/ {2,}/));
  assert.deepEqual(rows.slice(0, 4), [
    ["NAME", "KIND", "RANGE", "ENCRYPTED", "SLICES", "SERVICES", "READY", "STATE"],
    ["app", "overlay", "10.160.0.0/16", "no", "2/256", "1", "3/3", "ok"],
    ["default", "named", "-", "-", "-", "1", "1/1", "ok"],
    ["late", "overlay", "10.160.4.0/24", "yes", "0/4", "0", "0/0", "not made real"],
  ]);
  assert.match(err, /network late: 10\.160\.4\.0\/24 overlaps 10\.160\.0\.0\/16 of network app/);
  assert.equal((await at(doors, "network ls -q")).out, "app\ndefault\nlate\n");
  const lines = JSON.parse((await at(doors, "network ls -o json")).out) as readonly {
    readonly vni: number;
  }[];
  assert.equal(lines[0]?.vni, 5000);
});

test("cli: network inspect tells each host's slice, and why a host does not carry it", async (t) => {
  const doors = await overlayDoors(t);
  const { status, out } = await at(doors, "network inspect app");
  assert.equal(status, 0);
  assert.match(out, /slices +2 of 256 in use, each a \/24\n/);
  assert.match(out, /host-1 +10\.160\.3\.0\/24 +2\/253 +yes/);
  assert.match(out, /host-2 +10\.160\.9\.0\/24 \(tentative\) +1\/253 +no +its daemon is not in kernel mode/);
  const missing = await at(doors, "network inspect nope");
  assert.deepEqual([missing.status, missing.out], [3, ""]);
});

test("cli: network create sends what was asked, with the defaults of interface and all", async (t) => {
  const doors = await overlayDoors(t);
  const { status, out } = await at(doors, "network create app");
  assert.equal(status, 0);
  assert.equal(out, "network app was made: 10.160.0.0/16, 256 slices of /24, one for each host\n");
  await at(doors, "network create db --subnet 10.50.0.0/16 --encrypted --no-ipv6");
  assert.deepEqual(doors.daemon.trusted, [
    ["createNetwork", { name: "app", subnet: null, encrypted: false, ipv6: true }],
    ["createNetwork", { name: "db", subnet: "10.50.0.0/16", encrypted: true, ipv6: false }],
  ]);
});

test("cli: network rm asks for force by itself only, and names who is on it still", async (t) => {
  const doors = await overlayDoors(t);
  assert.equal((await at(doors, "network rm app")).out, "network app was removed\n");
  doors.daemon.trust = {
    removeNetwork(name, force) {
      doors.daemon.trusted.push(["forced", name, force]);
      return Promise.resolve({ name, users: ["web-1 on host-1"] });
    },
  };
  const { status, err } = await at(doors, "network rm app --force");
  assert.equal(status, 0);
  assert.match(err, /still on it: web-1 on host-1/);
  assert.deepEqual(doors.daemon.trusted, [
    ["removeNetwork", "app", false],
    ["forced", "app", true],
  ]);
});

test("cli: what the daemon refuses of networks ends with the status of its reason", async (t) => {
  const doors = await overlayDoors(t);
  const refuse = (failure: Failure): void => {
    const trust = {
      createNetwork: () => Promise.reject(failure),
      removeNetwork: () => Promise.reject(failure),
    };
    doors.daemon.trust = trust;
  };
  refuse(new Failure("not-allowed", "making a network is for managers; ask a manager: host-2"));
  const { status, out, err } = await at(doors, "network create app");
  assert.deepEqual([status, out], [5, ""]);
  assert.match(err, /ask a manager: host-2/);
  refuse(new Failure("not-found", 'no network "app"'));
  assert.equal((await at(doors, "network rm app")).status, 3);
  assert.equal((await at(doors, "network create")).status, 2);
  assert.equal((await at(doors, "network create a b")).status, 2);
});

test("cli: network create says where to look when the network is not there on this host in time", async (t) => {
  const doors = await overlayDoors(t);
  const slices = { total: 256, bits: 24 };
  const made = { range: "10.160.0.0/16", range6: null, encrypted: false, slices, vni: 5000, created: true };
  doors.daemon.trust = { createNetwork: ({ name }) => Promise.resolve({ ...made, name, ready: false }) };
  const { status, err } = await at(doors, "network create app");
  assert.equal(status, 0);
  assert.match(err, /not there on this host yet; see: skein network inspect app, skein doctor/);
});
