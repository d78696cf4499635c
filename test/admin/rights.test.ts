// Rights: what the TCP listener gives to whom, with an admin token and without; what joining asks of the daemon.

import assert from "node:assert/strict";
import { test } from "node:test";

import { HANDOVER_PATH, HANDOVER_PROTOCOL } from "../../src/admin/contract.ts";
import { ROUTES } from "../../src/admin/routes.ts";
import { Failure } from "../../src/base/failure.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { askSocket, askTcp, codeOf, JOIN_TOKEN, openDoors, type Ask } from "./doors.ts";
import { CLUSTER, exampleSnapshot, OTHER } from "./picture.ts";

const TOKEN = "correct-horse-battery-staple";
const WITH_TOKEN = { headers: { authorization: `Bearer ${TOKEN}` } };

/** Everything that needs full rights, as it is asked rightly. */
const CHANGES: readonly (readonly [string, Ask])[] = [
  ["drains", { method: "POST", body: '{"replica":"web-1"}' }],
  ["leave", { method: "POST" }],
  ["join", { method: "POST", body: JSON.stringify({ host: "192.0.2.9", token: JOIN_TOKEN }) }],
  ["tokens/worker", {}],
  ["tokens/worker", { method: "HEAD" }],
  ["tokens/manager", { method: "POST" }],
  ["members/host-2", { method: "DELETE" }],
  ["authority/backup", { method: "POST", body: '{"passphrase":"long enough"}' }],
  ["authority/restore", { method: "POST", body: '{"backup":"x","passphrase":"y"}' }],
  ["authority/rotate", { method: "POST" }],
  ["networks", { method: "POST", body: '{"name":"app"}' }],
  ["networks/app", { method: "DELETE" }],
  ["members/host-2/drain", { method: "POST", body: '{"wait":true}' }],
];

test("rights: over TCP all that changes something or is secret needs the admin token", async (t) => {
  const doors = await openDoors(t, { adminToken: TOKEN });
  doors.daemon.snapshot = exampleSnapshot();
  for (const [path, asked] of CHANGES) {
    const refused = await askTcp(doors, `/api/v1/${path}`, asked);
    assert.equal(refused.status, 403, path);
    assert.doesNotMatch(refused.body, /SKTKN/);
  }
  assert.deepEqual([doors.daemon.trusted, doors.daemon.drains], [[], []]);
  assert.ok(doors.daemon.refusals.every(({ reason }) => reason === "rights"));
  assert.equal(doors.daemon.refusals.length, CHANGES.length);
  for (const [path, asked] of CHANGES) {
    const answer = await askTcp(doors, `/api/v1/${path}`, { ...asked, ...WITH_TOKEN });
    assert.equal(answer.status, 200, `${path}: ${answer.body}`);
  }
  const tried = new Set(CHANGES.map(([path, { method = "GET" }]) => `${method} ${path.split("/")[0]}`));
  for (const { method, path, access } of ROUTES)
    if (access === "full" && path !== HANDOVER_PATH)
      assert.ok(tried.has(`${method} ${path.split("/")[3]}`), path);
});

test("rights: a handover is asked over the unix socket; over TCP it is none, with the token or without", async (t) => {
  const doors = await openDoors(t, { adminToken: TOKEN });
  const asked = { method: "POST", headers: { connection: "Upgrade", upgrade: HANDOVER_PROTOCOL } };
  assert.equal((await askTcp(doors, HANDOVER_PATH, asked)).status, 403);
  const headers = { ...asked.headers, ...WITH_TOKEN.headers };
  assert.equal((await askTcp(doors, HANDOVER_PATH, { ...asked, headers })).status, 426);
  assert.deepEqual(doors.daemon.handovers, []);
});

test("rights: a path written in another way is the same path", async (t) => {
  const doors = await openDoors(t, { adminToken: TOKEN });
  for (const path of ["/api/v1/t%6Fkens/worker", "/api/v1/tokens/%77orker", "/api/v1//tokens/worker"]) {
    const answer = await askTcp(doors, path);
    assert.ok(answer.status === 403 || answer.status === 404, `${path}: ${answer.status}`);
  }
  assert.deepEqual(doors.daemon.trusted, []);
});

test("rights: with the token, too, a rebound name or another site gets nothing", async (t) => {
  const doors = await openDoors(t, { adminToken: TOKEN });
  const { port } = doors.admin.addresses.tcp ?? { port: 0 };
  const foreign: readonly Record<string, string>[] = [
    { host: `evil.example:${port}` },
    { origin: "http://evil.example" },
    { "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors" },
  ];
  for (const headers of foreign) {
    for (const path of ["tokens/worker", "status"]) {
      const answer = await askTcp(doors, `/api/v1/${path}`, {
        headers: { ...headers, ...WITH_TOKEN.headers },
      });
      assert.equal(answer.status, 403, JSON.stringify(headers));
    }
  }
  assert.deepEqual(
    doors.daemon.refusals.map(({ reason }) => reason),
    ["host", "host", "origin", "origin", "site", "site"],
  );
});

test("rights: a wrong token is 401, many are 429 for a while; who reads without one is let be", async (t) => {
  const doors = await openDoors(t, { adminToken: TOKEN });
  const guess = () => askTcp(doors, "/api/v1/status", { headers: { authorization: "Bearer guess" } });
  const first = await guess();
  assert.deepEqual([first.status, first.headers["www-authenticate"]], [401, 'Bearer realm="skein"']);
  let last = first;
  for (let count = 0; count < 40 && last.status !== 429; count += 1) last = await guess();
  assert.deepEqual([last.status, last.headers["retry-after"], codeOf(last)], [429, "1", "not-allowed"]);
  assert.equal((await askTcp(doors, "/api/v1/status")).status, 200);
  const reasons = new Set(doors.daemon.refusals.map(({ reason }) => reason));
  assert.deepEqual(reasons, new Set(["token", "attempts"]));
});

test("rights: without an admin token no header gives any", async (t) => {
  const doors = await openDoors(t);
  const headers = { authorization: "Bearer null" };
  assert.equal((await askTcp(doors, "/api/v1/tokens/worker", { headers })).status, 403);
  assert.equal((await askTcp(doors, "/api/v1/status", { headers })).status, 200);
});

test("trust: the daemon is asked with what was sent", async (t) => {
  const doors = await openDoors(t);
  doors.daemon.snapshot = exampleSnapshot();
  for (const [path, asked] of CHANGES.slice(2)) await askSocket(doors, `/api/v1/${path}`, asked);
  assert.deepEqual(doors.daemon.trusted, [
    ["join", { host: "192.0.2.9", port: 7650 }, JOIN_TOKEN],
    ["token", "worker"],
    ["token", "worker"],
    ["rotateToken", "manager"],
    ["remove", OTHER],
    ["backup", "long enough"],
    ["restore", "x", "y"],
    ["rotateAuthority"],
    ["createNetwork", { name: "app", subnet: null, encrypted: false, ipv6: true }],
    ["removeNetwork", "app", false],
    ["drainMember", OTHER, { draining: true, waits: true }],
  ]);
  const token = await askSocket(doors, "/api/v1/tokens/worker");
  assert.deepEqual(Object.keys(JSON.parse(token.body) as object)[0], "token");
  const joined = await askSocket(doors, "/api/v1/join", CHANGES[2]?.[1]);
  assert.equal((JSON.parse(joined.body) as { clusterId: string }).clusterId, CLUSTER);
});

test("trust: what does not fit is refused before the daemon hears of it, and nothing of it is repeated", async (t) => {
  const doors = await openDoors(t);
  doors.daemon.snapshot = exampleSnapshot();
  const post = (path: string, body: string) => askSocket(doors, `/api/v1/${path}`, { method: "POST", body });
  const bad = [
    ["join", '{"host":"a"}', 400],
    ["join", `{"token":"${JOIN_TOKEN}"}`, 400],
    ["join", `{"host":"a:0","token":"${JOIN_TOKEN}"}`, 422],
    ["join", JOIN_TOKEN, 400],
    ["join", `["${JOIN_TOKEN}"]`, 400],
    ["leave", '{"force":"yes"}', 400],
    ["tokens/owner", "", 400],
    ["authority/backup", "{}", 400],
    ["authority/restore", '{"backup":"hunter2hunter2"}', 400],
    ["authority/restore", JSON.stringify({ backup: "x".repeat(LIMITS.adminRestoreBytes) }), 413],
  ] as const;
  for (const [path, body, status] of bad) {
    const answer = await post(path, body);
    assert.equal(answer.status, status, `${path} ${body.slice(0, 80)}: ${answer.body}`);
    assert.doesNotMatch(answer.body, /SKTKN|hunter2/);
  }
  assert.equal((await askSocket(doors, "/api/v1/members/nope", { method: "DELETE" })).status, 404);
  assert.deepEqual(doors.daemon.trusted, []);
  const forgotten = "d".repeat(20);
  assert.equal((await askSocket(doors, `/api/v1/members/${forgotten}`, { method: "DELETE" })).status, 200);
  assert.deepEqual(doors.daemon.trusted, [["remove", forgotten]]);
});

test("trust: what the daemon refuses is told in its words, its own bug is not told", async (t) => {
  const doors = await openDoors(t);
  doors.daemon.trust = {
    token: () => Promise.reject(new Failure("not-allowed", "host-1 is a worker; ask a manager: host-2")),
    backup: () => Promise.reject(new Error("a bug")),
  };
  const refused = await askSocket(doors, "/api/v1/tokens/worker");
  assert.deepEqual([refused.status, codeOf(refused)], [403, "not-allowed"]);
  assert.match(refused.body, /ask a manager: host-2/);
  const body = '{"passphrase":"a secret phrase"}';
  const bug = await askSocket(doors, "/api/v1/authority/backup", { method: "POST", body });
  assert.equal(bug.status, 500);
  assert.doesNotMatch(bug.body, /a secret phrase/);
});
