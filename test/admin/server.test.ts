// The admin server over a real unix socket and a real port: what it tells, whom it refuses, and what it withstands.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { DrainResult, LeaveResult } from "../../src/admin/contract.ts";
import type { AdminOptions } from "../../src/admin/server.ts";
import { Failure } from "../../src/base/failure.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { until } from "../support/wait.ts";
import { askSocket, askTcp, codeOf, openDoors, openRaw } from "./doors.ts";
import { exampleSnapshot, view } from "./picture.ts";

test("admin: every route for reading answers over both doors, HEAD with the same head and no body", async (t) => {
  const doors = await openDoors(t);
  doors.daemon.snapshot = exampleSnapshot();
  const names = [
    "members/host-2",
    "services/web",
    "services/default/web",
    "services/default%2Fweb",
    "explain/web",
  ];
  const lists = ["members", "services", "networks", "events", "drains"];
  const paths = ["status", ...lists, "traffic", "openapi.json", "resolve?name=web", ...names];
  for (const path of [...paths.map((one) => `/api/v1/${one}`), "/healthz", "/readyz", "/metrics"]) {
    for (const ask of [askSocket, askTcp]) {
      const answer = await ask(doors, path);
      assert.equal(answer.status, 200, path);
      assert.equal(answer.headers["cache-control"], "no-store");
      assert.notEqual(answer.body, "");
      const head = await ask(doors, path, { method: "HEAD" });
      assert.deepEqual(
        [head.status, head.body, head.headers["content-type"]],
        [200, "", answer.headers["content-type"]],
      );
    }
  }
});

test("admin: metrics come in the text format, as the daemon gives them", async (t) => {
  const doors = await openDoors(t);
  const { headers, body } = await askTcp(doors, "/metrics");
  assert.match(headers["content-type"] ?? "", /^text\/plain; version=0\.0\.4/);
  assert.equal(body, "skein_services 3\n");
});

test("admin: it is live at once, and ready when the view is complete", async (t) => {
  const doors = await openDoors(t);
  doors.daemon.snapshot = { ...doors.daemon.snapshot, view: view({ complete: false }) };
  assert.equal((await askTcp(doors, "/healthz")).status, 200);
  assert.equal((await askTcp(doors, "/readyz")).status, 503);
  doors.daemon.snapshot = { ...doors.daemon.snapshot, view: view({ complete: true }) };
  assert.equal((await askTcp(doors, "/readyz")).status, 200);
});

test("admin: a service is told by name and network in each of the forms, or not found with a guess", async (t) => {
  const doors = await openDoors(t);
  doors.daemon.snapshot = exampleSnapshot();
  for (const path of [
    "services/db?network=back",
    "services/back/db",
    "explain/db.back",
    "explain/back%2Fdb",
  ]) {
    const answer = await askSocket(doors, `/api/v1/${path}`);
    assert.equal((JSON.parse(answer.body) as { network: string }).network, "back", path);
  }
  const missing = await askSocket(doors, "/api/v1/explain/wbe");
  assert.equal(missing.status, 404);
  assert.equal(missing.headers["content-type"], "application/problem+json");
  assert.match(missing.body, /did you mean \\"web\\"\?/);
});

test("admin: what is told of a service waits until this host listens at its address, not for long", async (t) => {
  const open = Promise.withResolvers<void>();
  const waited: (readonly string[])[] = [];
  const listening: AdminOptions["listening"] = (addresses) => {
    waited.push(addresses);
    return open.promise;
  };
  const doors = await openDoors(t, { listening });
  const { view: shown, ...rest } = exampleSnapshot();
  const services = shown.services.map((one) => (one.name === "web" ? { ...one, vip6: "fd00::5" } : one));
  doors.daemon.snapshot = { ...rest, view: { ...shown, services } };
  const record = { name: "web", type: "A", ttl: 5, data: "10.96.0.9" };
  const resolved = doors.daemon.resolved;
  doors.daemon.resolved = (...asked) => ({ ...resolved(...asked), answers: [record] });
  let answered = 0;
  const answers = ["explain/web", "services/web", "resolve?name=web"].map(async (path) => {
    const { status } = await askSocket(doors, `/api/v1/${path}`);
    answered += 1;
    return status;
  });
  await until(() => waited.length === answers.length);
  assert.equal((await askSocket(doors, "/api/v1/services")).status, 200);
  assert.equal((await askSocket(doors, "/api/v1/explain/nobody")).status, 404);
  assert.equal(answered, 0);
  assert.deepEqual(waited.flat().toSorted(), ["10.96.0.5", "10.96.0.5", "10.96.0.9", "fd00::5", "fd00::5"]);
  open.resolve();
  assert.deepEqual(await Promise.all(answers), [200, 200, 200]);
});

test("admin: where nothing comes to listen, what is known of a service is told all the same", async (t) => {
  const doors = await openDoors(t, { listening: () => new Promise<void>(() => undefined) });
  doors.daemon.snapshot = exampleSnapshot();
  assert.equal((await askSocket(doors, "/api/v1/explain/web")).status, 200);
});

test("admin: resolve is asked with name, type and asker, and its failures are told as they are", async (t) => {
  const doors = await openDoors(t);
  const answer = await askSocket(doors, "/api/v1/resolve?name=WEB&type=aaaa&as=app-1");
  assert.deepEqual(JSON.parse(answer.body), {
    name: "WEB",
    type: "AAAA",
    rcode: "NOERROR",
    answers: [],
    as: "app-1",
  });
  doors.daemon.resolved = () => {
    throw new Failure("not-found", 'no container "app-1"');
  };
  const refused = await askSocket(doors, "/api/v1/resolve?name=web&as=app-1");
  assert.deepEqual([refused.status, codeOf(refused)], [404, "not-found"]);
});

test("admin: malformed questions are refused as such", async (t) => {
  const doors = await openDoors(t);
  const paths = [
    "/api/v1/resolve",
    `/api/v1/resolve?name=${"a".repeat(300)}`,
    "/api/v1/resolve?name=web&type=A%0A",
    "/api/v1/events?after=-1",
    "/api/v1/events?after=x&follow",
    "/api/v1/events?limit=0",
    "/api/v1/services?limit=x",
    "/api/v1/members?limit=1001",
    "/api/v1/drains?after=%00",
    "/api/v1/traffic?scope=world",
    `/api/v1/explain/${"a".repeat(300)}`,
  ];
  for (const path of paths) {
    const answer = await askSocket(doors, path);
    assert.deepEqual([answer.status, codeOf(answer)], [400, "usage"], path);
  }
});

test("admin: lists are told page by page, each with a link to the next, until the last", async (t) => {
  const doors = await openDoors(t);
  doors.daemon.snapshot = exampleSnapshot();
  const whole = async (path: string): Promise<readonly unknown[]> =>
    JSON.parse((await askTcp(doors, path)).body) as unknown[];
  for (const path of ["members", "services?network=default", "networks", "events", "drains"]) {
    const read: unknown[] = [];
    let next: string | null = `/api/v1/${path}${path.includes("?") ? "&" : "?"}limit=1`;
    while (next !== null) {
      const answer = await askTcp(doors, next);
      assert.equal(answer.status, 200, next);
      const lines = JSON.parse(answer.body) as unknown[];
      assert.equal(lines.length, 1, next);
      read.push(...lines);
      next = /^<([^>]+)>; rel="next"$/.exec(String(answer.headers["link"]))?.[1] ?? null;
    }
    assert.deepEqual(read, await whole(`/api/v1/${path}`), path);
  }
  assert.equal((await askTcp(doors, "/api/v1/members")).headers["link"], undefined);
});

test("admin: an unknown path is answered with the nearest route, a wrong method with the right ones", async (t) => {
  const doors = await openDoors(t);
  const unknown = await askSocket(doors, "/api/v1/sevices");
  assert.equal(unknown.status, 404);
  assert.match(unknown.body, /\/api\/v1\/services/);
  const wrong = await askSocket(doors, "/api/v1/status", { method: "DELETE" });
  assert.deepEqual([wrong.status, wrong.headers.allow, codeOf(wrong)], [405, "GET, HEAD, OPTIONS", "usage"]);
  const read = await askSocket(doors, "/api/v1/leave");
  assert.deepEqual([read.status, read.headers.allow], [405, "POST, OPTIONS"]);
  const both = await askSocket(doors, "/api/v1/drains", { method: "PUT" });
  assert.deepEqual([both.status, both.headers.allow], [405, "GET, HEAD, POST, OPTIONS"]);
  const options = await askTcp(doors, "/api/v1/status", { method: "OPTIONS" });
  assert.deepEqual([options.status, options.headers.allow], [204, "GET, HEAD, OPTIONS"]);
  assert.equal(options.headers["access-control-allow-origin"], undefined);
});

test("admin: rebound names and other sites are refused over TCP on every path, our own page is not", async (t) => {
  const doors = await openDoors(t);
  const { port } = doors.admin.addresses.tcp ?? { port: 0 };
  const foreign: readonly Record<string, string>[] = [
    { host: `evil.example:${port}` },
    { origin: "http://evil.example" },
    { origin: "null" },
    { "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" },
  ];
  for (const headers of foreign) {
    for (const path of ["/api/v1/status", "/metrics", "/healthz", "/nowhere", "/api/v1/events?follow"]) {
      const answer = await askTcp(doors, path, { headers });
      assert.deepEqual([answer.status, codeOf(answer)], [403, "not-allowed"], JSON.stringify(headers));
    }
  }
  const own = { host: `localhost:${port}`, origin: `http://localhost:${port}` };
  assert.equal((await askTcp(doors, "/api/v1/status", { headers: own })).status, 200);
});

test("admin: the unix socket takes any Host, but none that no URL can hold", async (t) => {
  const doors = await openDoors(t);
  assert.equal((await askSocket(doors, "/healthz", { headers: { host: "skein" } })).status, 200);
  const answer = await askSocket(doors, "/healthz", { headers: { host: "a b" } });
  assert.deepEqual([answer.status, codeOf(answer)], [400, "usage"]);
});

test("admin: an answer to HEAD is the head of the one to GET, and has no body", async (t) => {
  const doors = await openDoors(t);
  for (const path of ["/api/v1/members", "/healthz", "/api/v1/nothing"]) {
    const whole = await askTcp(doors, path);
    const head = await askTcp(doors, path, { method: "HEAD" });
    assert.deepEqual([head.status, head.body], [whole.status, ""], path);
    assert.equal(head.headers["content-length"], String(Buffer.byteLength(whole.body)), path);
  }
});

test("admin: a target that is no path is refused, one in a proxy's form is read as its path", async (t) => {
  const { socketPath } = await openDoors(t);
  const statusOf = async (line: string): Promise<string> => {
    const raw = openRaw(t, socketPath, `${line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
    await until(() => raw.read().includes("\r\n"), { what: line });
    return raw.read().split(" ")[1] ?? "";
  };
  assert.equal(await statusOf("OPTIONS *"), "400");
  assert.equal(await statusOf("GET http://elsewhere/healthz"), "200");
  assert.equal(await statusOf("GET /api/../healthz"), "200");
  assert.equal(await statusOf("GET //healthz"), "404");
});

test("admin: drains begin over the unix socket only", async (t) => {
  const doors = await openDoors(t);
  doors.daemon.snapshot = exampleSnapshot();
  const asked = { method: "POST", body: '{"replica":"web-1"}' };
  const refused = await askTcp(doors, "/api/v1/drains", asked);
  assert.deepEqual([refused.status, codeOf(refused)], [403, "not-allowed"]);
  assert.deepEqual(doors.daemon.drains, []);
  assert.equal((await askSocket(doors, "/api/v1/drains", asked)).status, 200);
  assert.deepEqual(doors.daemon.drains, [{ replica: "0123456789ab", wait: false }]);
});

test("admin: leaving is asked over the unix socket only, and answered when farewell is said", async (t) => {
  const doors = await openDoors(t);
  let asked = 0;
  const farewell = Promise.withResolvers<LeaveResult>();
  doors.daemon.leaveResult = () => {
    asked += 1;
    return farewell.promise;
  };
  const refused = await askTcp(doors, "/api/v1/leave", { method: "POST", body: "{}" });
  assert.deepEqual([refused.status, codeOf(refused), asked], [403, "not-allowed", 0]);
  assert.equal((await askSocket(doors, "/api/v1/leave")).status, 405);
  const answer = askSocket(doors, "/api/v1/leave", { method: "POST", body: "{}" });
  await until(() => asked === 1);
  const result: LeaveResult = { node: "host-1", farewell: "left", pending: [] };
  farewell.resolve(result);
  assert.deepEqual(JSON.parse((await answer).body), result);
});

test("admin: a drain that members have not applied is accepted, not done", async (t) => {
  const doors = await openDoors(t);
  doors.daemon.snapshot = exampleSnapshot();
  const result: DrainResult = { replica: "0123456789ab", applied: false, pending: ["host-2"] };
  doors.daemon.drainResult = () => Promise.resolve(result);
  const body = '{"replica":"0123","wait":true}';
  const answer = await askSocket(doors, "/api/v1/drains", { method: "POST", body });
  assert.equal(answer.status, 202);
  assert.deepEqual(JSON.parse(answer.body), result);
});

test("admin: bodies that are no drain request are refused, and what is too large is not read", async (t) => {
  const doors = await openDoors(t);
  doors.daemon.snapshot = exampleSnapshot();
  const post = (body: string, headers: Record<string, string> = {}) =>
    askSocket(doors, "/api/v1/drains", { method: "POST", body, headers });
  for (const body of ["", "{", "null", "[]", "{}", '{"replica":1}', '{"replica":"web-1","wait":1}']) {
    assert.equal((await post(body)).status, 400, body);
  }
  assert.equal((await post('{"replica":"nope"}')).status, 404);
  const large = JSON.stringify({ replica: "x".repeat(LIMITS.adminBodyBytes) });
  assert.equal((await post(large)).status, 413);
  assert.equal((await post(large, { "transfer-encoding": "chunked" })).status, 413);
  assert.deepEqual(doors.daemon.drains, []);
});

test("admin: a body without end gets its answer and then loses its connection", async (t) => {
  const doors = await openDoors(t);
  const head = "POST /api/v1/drains HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
  const raw = openRaw(t, doors.socketPath, head);
  const chunk = `4000\r\n${"x".repeat(0x4000)}\r\n`;
  const timer = setInterval(() => raw.socket.write(chunk), 1);
  t.after(() => clearInterval(timer));
  await until(() => raw.read().includes("413"), { what: "an answer of 413" });
  await until(() => raw.socket.destroyed, { what: "the end of the connection" });
});

test("admin: a caller that goes away in the middle of its body leaves no line in the log", async (t) => {
  const doors = await openDoors(t);
  doors.daemon.snapshot = exampleSnapshot();
  const head = "POST /api/v1/drains HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\n{";
  const raw = openRaw(t, doors.socketPath, `GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n${head}`);
  await until(() => raw.read().includes("ok"));
  raw.socket.destroy();
  // close() waits for every connection, and so for whatever the broken one still does.
  await doors.admin.close();
  assert.deepEqual([doors.daemon.lines, doors.daemon.drains], [[], []]);
});

test("admin: what is no HTTP is answered and closed", async (t) => {
  const doors = await openDoors(t);
  const raw = openRaw(t, doors.socketPath, "\u0016\u0003\u0001 hello\r\n\r\n");
  await until(() => raw.socket.readableEnded || raw.socket.destroyed);
  assert.match(raw.read(), /^HTTP\/1\.1 400 Bad Request\r\n[^]*"code":"usage"/);
});

test("admin: our own bug is a 500 that tells nothing, and a line in the log", async (t) => {
  const doors = await openDoors(t, { metricsText: () => Promise.reject(new Error("secret detail")) });
  const answer = await askSocket(doors, "/metrics");
  assert.deepEqual([answer.status, codeOf(answer)], [500, "internal"]);
  assert.doesNotMatch(answer.body, /secret/);
  assert.deepEqual(doors.daemon.lines, ["admin request failed"]);
});

test("admin: it listens on loopback only", async (t) => {
  for (const host of ["0.0.0.0", "::", "192.0.2.1"]) {
    const opened = openDoors(t, { tcp: { host, port: 0 } });
    await assert.rejects(opened, (thrown: Failure) => thrown.code === "invalid");
  }
});

test("admin: a port that is taken is busy, and nothing stays open behind the failure", async (t) => {
  const first = await openDoors(t);
  const { tcp } = first.admin.addresses;
  const second = openDoors(t, { tcp });
  await assert.rejects(second, (thrown: Failure) => thrown.code === "busy");
  assert.equal((await askTcp(first, "/healthz")).status, 200);
});

test("admin: close frees both doors, ends streams, leaves no subscriber, and may be called twice", async (t) => {
  const doors = await openDoors(t);
  const stream = openRaw(t, doors.socketPath, "GET /api/v1/events?follow HTTP/1.1\r\nhost: x\r\n\r\n");
  await until(() => stream.read().includes("retry:"));
  assert.equal(doors.daemon.subscribers(), 1);
  await doors.admin.close();
  await doors.admin.close();
  await until(() => stream.socket.readableEnded || stream.socket.destroyed);
  assert.equal(doors.daemon.subscribers(), 0);
  await assert.rejects(askSocket(doors, "/healthz"), { code: "ENOENT" });
  await assert.rejects(askTcp(doors, "/healthz"), { code: "ECONNREFUSED" });
});

test("admin: with neither door it opens and closes", async (t) => {
  const { admin } = await openDoors(t, { tcp: null, socket: null });
  assert.deepEqual(admin.addresses, { tcp: null, socket: null });
  await admin.close();
});
