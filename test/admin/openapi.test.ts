// The OpenAPI document: made from the route table and the schemas, served, and true. UPDATE_GOLDEN=1 writes it anew.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import * as v from "valibot";

import { documentOf, statusesOf } from "../../build/openapi/document.ts";
import { COUNT, type Tells } from "../../build/openapi/schema.ts";
import { SCHEMAS } from "../../build/openapi/schemas.ts";
import type { EventGap } from "../../src/admin/contract.ts";
import { ROUTES } from "../../src/admin/routes.ts";
import { messageMisfits, misfits } from "../support/conform.ts";
import { contractTexts } from "./contract-texts.ts";
import { askSocket, askTcp, headOf, openDoors, type Answer, type Ask, type Doors } from "./doors.ts";
import { exampleSnapshot } from "./picture.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const PATH = join(ROOT, "config/openapi.json");

const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
const MADE = documentOf(version, contractTexts());

test("openapi: config/openapi.json is made from the route table and the schemas", () => {
  const text = `${JSON.stringify(MADE, null, 2)}\n`;
  if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(PATH, text);
  assert.equal(readFileSync(PATH, "utf8"), text);
});

test("openapi: every type of the contract that an answer can hold has a schema, and no schema is of another", () => {
  const types = contractTexts().flatMap((text) =>
    [...text.matchAll(/^export interface (\w+)/gm)].map((match) => match[1] ?? ""),
  );
  // Where a socket is, and what records say of a service, are no answers.
  const others = new Set(["SocketPlace", "ServiceDeclaration"]);
  assert.deepEqual(Object.keys(SCHEMAS).sort(), types.filter((name) => !others.has(name)).sort());
});

test("openapi: the compiler takes a schema for a type only when both say the same", () => {
  const exact = v.strictObject({ missed: COUNT });
  const more = v.strictObject({ missed: COUNT, more: v.exactOptional(COUNT) });
  const less = v.strictObject({ missed: v.exactOptional(COUNT) });
  const wider = v.strictObject({ missed: v.nullable(COUNT) });
  // Another verdict on any of them would not compile.
  const verdicts: readonly [
    Tells<typeof exact, EventGap>,
    Tells<typeof more, EventGap>,
    Tells<typeof less, EventGap>,
    Tells<typeof wider, EventGap>,
  ] = [true, false, false, false];
  const taken = [{ missed: 1 }, { missed: 1, more: 1 }, {}, { missed: null }].map((one) => v.is(exact, one));
  assert.deepEqual(taken, verdicts);
});

test("openapi: it is whole: every reference leads somewhere, every route is in it once", () => {
  const text = JSON.stringify(MADE);
  const { components, paths } = MADE as {
    components: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
    paths: Record<string, Record<string, { operationId: string }>>;
  };
  for (const [, kind = "", name = ""] of text.matchAll(/"#\/components\/(\w+)\/([\w-]+)"/g)) {
    assert.ok(Object.hasOwn(components[kind] ?? {}, name), `${kind}/${name}`);
  }
  const ids = Object.values(paths).flatMap((one) => Object.values(one).map(({ operationId }) => operationId));
  assert.deepEqual(ids.sort(), ROUTES.map(({ id }) => id).sort());
  assert.match(text, /"description":"Rises with each of its lives\."/);
  assert.doesNotMatch(text, /"additionalProperties":false/);
});

const TOKEN = "correct-horse-battery-staple";
const VALUES: Readonly<Record<string, string>> = { network: "default", role: "worker", file: "app.js" };
const BODIES: Readonly<Record<string, string>> = {
  drain: '{"replica":"web-1"}',
  join: '{"host":"192.0.2.9","token":"x"}',
  backup: '{"passphrase":"long enough"}',
  restore: '{"backup":"x","passphrase":"y"}',
  createNetwork: '{"name":"app"}',
};
/** Where `{name}` is no service. */
const NAMES: Readonly<Record<string, string>> = { members: "host-2", networks: "default" };
const QUERIES: Readonly<Record<string, string>> = { "/api/v1/resolve": "?name=web" };

function filled(path: string): string {
  const kind = path.split("/")[3] ?? "";
  return path.replace(/\{(\w+)\}/g, (_, name: string) => VALUES[name] ?? NAMES[kind] ?? "web");
}

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] as const;
/** Who asks, and what the door thinks of it. */
const CALLERS = [
  { who: "socket", rights: "full" },
  { who: "nobody", rights: "read" },
  { who: "token", rights: "full" },
  { who: "wrong", rights: "none" },
] as const;

/** One question of the table. */
interface Cell {
  readonly pattern: string;
  readonly method: (typeof METHODS)[number];
  readonly caller: (typeof CALLERS)[number];
}

const CELLS: readonly Cell[] = [...new Set(ROUTES.map(({ path }) => path))].flatMap((pattern) =>
  METHODS.flatMap((method) => CALLERS.map((caller) => ({ pattern, method, caller }))),
);

function routeOf({ pattern, method }: Cell): (typeof ROUTES)[number] | undefined {
  const asked = method === "HEAD" ? "GET" : method;
  return ROUTES.find((route) => route.path === pattern && route.method === asked);
}

function askCell(doors: Doors, cell: Cell): Promise<Answer> {
  const { pattern, method, caller } = cell;
  const route = routeOf(cell);
  const body = route === undefined ? undefined : BODIES[route.id];
  const authorization = caller.who === "token" ? `Bearer ${TOKEN}` : "Bearer wrong";
  const hasHeader = caller.who === "token" || caller.who === "wrong";
  const asked: Ask = {
    method,
    ...(hasHeader && { headers: { authorization } }),
    ...(body !== undefined && { body }),
  };
  const path = `${filled(pattern)}${QUERIES[pattern] ?? ""}`;
  const isSocket = caller.who === "socket";
  if (route?.id === "watch" && method === "GET") return headOf(doors, path, { ...asked, isSocket });
  return isSocket ? askSocket(doors, path, asked) : askTcp(doors, path, asked);
}

/** What may come back, by the table alone. */
function expected(cell: Cell): readonly number[] {
  const { method, caller } = cell;
  const route = routeOf(cell);
  if (caller.rights === "none") return [401, 429];
  if (route === undefined) return method === "OPTIONS" ? [204] : [405];
  if (route.access === "full" && caller.rights === "read") return [403];
  return statusesOf(route).filter((status) => status < 401 || status > 403);
}

test("openapi: path x method x door x rights: each is answered as the table says, in a form it has", async (t) => {
  const doors = await openDoors(t, { adminToken: TOKEN });
  // Wrong tokens lock out the right one for a while: they are tried at a door of their own.
  const strangers = await openDoors(t, { adminToken: TOKEN });
  for (const { daemon } of [doors, strangers]) daemon.snapshot = exampleSnapshot();
  for (const cell of CELLS) {
    const { pattern, method, caller } = cell;
    const answer = await askCell(caller.rights === "none" ? strangers : doors, cell);
    const what = `${method} ${pattern} by ${caller.who}: ${answer.status} ${answer.body.slice(0, 200)}`;
    assert.ok(expected(cell).includes(answer.status), what);
    assert.deepEqual(misfits(MADE, { method, path: filled(pattern) }, answer), [], what);
    assert.equal(answer.headers["x-content-type-options"], "nosniff", what);
  }
});

test("openapi: an answer that is not as the document says is found", () => {
  const json = { "content-type": "application/json", "skein-api": "1" };
  const asked = { method: "GET", path: "/api/v1/drains" };
  const drain = {
    replica: "a",
    name: "web-1",
    service: "default/web",
    node: "host-1",
    reason: "asked to",
    sinceMs: 1,
    applied: true,
    pending: [],
  };
  const found = (status: number, told: unknown): readonly string[] =>
    misfits(MADE, asked, { status, headers: json, body: JSON.stringify(told) });
  assert.deepEqual(found(200, [drain]), []);
  assert.equal(found(418, []).length, 1);
  assert.deepEqual(found(200, [{ ...drain, sinceMs: "1" }]), [
    'GET /api/v1/drains[0].sinceMs: "1" is no number',
  ]);
  assert.deepEqual(found(200, [{ ...drain, more: 1 }]), [
    "GET /api/v1/drains[0].more: is not in the document",
  ]);
  const bare = { status: 200, headers: { "content-type": "application/json" }, body: "[]" };
  assert.deepEqual(misfits(MADE, asked, bare), ["GET /api/v1/drains: no header skein-api"]);
  const other = { ...bare, headers: { ...json, "skein-api": "2" } };
  assert.deepEqual(misfits(MADE, asked, other), ['GET /api/v1/drains: header skein-api: "2" is not "1"']);
  assert.deepEqual(messageMisfits(MADE, "EventGap", {}), ["EventGap.missed: is missing"]);
});
