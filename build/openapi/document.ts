/**
 * Document: the admin API as an OpenAPI 3.1 document, made from the route table and the schemas.
 *
 * It is checked in as config/openapi.json, for whoever makes a client of it, and the daemon serves that file. Objects
 * are left open in it: they may grow. Which statuses a route may answer with is told for each of them; what all share,
 * and what the guard of the TCP door says, is told once.
 *
 * Pure.
 */

import { toJsonSchemaDefs } from "@valibot/to-json-schema";

import { API_HEADER, API_VERSION } from "../../src/admin/contract.ts";
import { ROUTES, type Route, type RouteId } from "../../src/admin/routes.ts";

import { SCHEMAS } from "./schemas.ts";
import { wordsOf, type Words } from "./words.ts";

type Json = Readonly<Record<string, unknown>>;

/** What may go wrong with any call: malformed; the door's refusals; our bug. */
const ALWAYS = [400, 401, 403, 429, 500] as const;
/** A change may be refused for what it names, for the state of things, or for want of somebody else's answer. */
const CHANGE = [404, 409, 413, 422, 502, 503, 504] as const;

/** Statuses beyond ALWAYS that a route may refuse with. */
const REFUSALS: Readonly<Record<RouteId, readonly number[]>> = {
  status: [],
  doctor: [503, 504],
  members: [],
  member: [404],
  services: [],
  service: [404],
  serviceInNetwork: [404],
  networks: [],
  network: [404],
  createNetwork: CHANGE,
  removeNetwork: CHANGE,
  explain: [404],
  resolve: [404, 422, 504],
  events: [503],
  watch: [503],
  traffic: [503, 504],
  drains: [],
  drain: CHANGE,
  drainMember: CHANGE,
  leave: CHANGE,
  handover: [426],
  join: CHANGE,
  token: CHANGE,
  rotateToken: CHANGE,
  remove: CHANGE,
  backup: CHANGE,
  restore: CHANGE,
  rotateAuthority: CHANGE,
  live: [],
  ready: [503],
  metrics: [504],
  openapi: [],
  page: [404],
  asset: [404],
};

/** Statuses that say that all is well, with what each says. */
const DONE: Readonly<Record<number, string>> = {
  101: "the connection is a handover's now",
  200: "done",
  202: "begun: somebody has not applied it yet",
  304: "the caller has it as it is",
};

const REFUSED: Readonly<Record<number, string>> = {
  400: "the request is malformed",
  401: "the admin token is wrong",
  403: "the caller may not do this, or not from there",
  404: "no such thing",
  409: "taken, or not possible as things are",
  413: "the body is too large",
  422: "understood and refused",
  426: "to be asked as an upgrade to skein-handover, over the unix socket",
  429: "too many wrong admin tokens; ask again after a pause",
  500: "a bug of the daemon, whose log says more",
  502: "the other side said no",
  503: "the other side does not answer, or the daemon is not ready or has no room",
  504: "the deadline passed",
};

/** Headers beside those of HTTP itself, by the name under which responses refer to them. */
const HEADERS: Readonly<Record<string, Json>> = {
  [API_HEADER]: {
    description: "on every answer: what lacks it is not Skein's",
    required: true,
    schema: { const: API_VERSION },
  },
  "Retry-After": {
    description: "seconds after which there may be room, where want of it is why (RFC 9110 10.2.3)",
    schema: { type: "integer", minimum: 1 },
  },
  Link: {
    description: 'the next page, rel="next" (RFC 8288), while there is one',
    schema: { type: "string" },
  },
};

/** Statuses that may pass by waiting. */
const PASSING: readonly number[] = [429, 503];

/** Statuses that a route may answer with over any door, 405 aside. */
export function statusesOf(route: Route & { readonly id: RouteId }): readonly number[] {
  return [...doneOf(route.id), ...ALWAYS, ...REFUSALS[route.id]].sort((one, other) => one - other);
}

function doneOf(id: RouteId): readonly number[] {
  if (id === "handover") return [101];
  if (id === "page" || id === "asset") return [200, 304];
  return id === "drain" || id === "drainMember" ? [200, 202] : [200];
}

/**
 * The document.
 *
 * @param version  of the software
 * @param contract  texts of the contract's files, for their words
 */
export function documentOf(version: string, contract: readonly string[]): Json {
  const paths = new Map<string, Record<string, Json>>();
  for (const route of ROUTES) {
    const operations = paths.get(route.path) ?? {};
    operations[route.method.toLowerCase()] = operationOf(route);
    paths.set(route.path, operations);
  }
  return {
    openapi: "3.1.0",
    jsonSchemaDialect: "https://json-schema.org/draft/2020-12/schema",
    info: {
      title: "Skein admin API",
      version,
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
      description: [
        "Over the unix socket of the daemon all of it may be asked; over its loopback port what reads,",
        "and the rest with the admin token. GET answers HEAD too; OPTIONS tells the methods of a path,",
        "and another method is answered with 405. Objects may grow: ignore fields that you do not know.",
      ].join(" "),
    },
    servers: [{ url: "http://127.0.0.1:7651", description: "admin.listen" }],
    paths: Object.fromEntries(paths),
    components: {
      securitySchemes: { adminToken: { type: "http", scheme: "bearer", description: "admin.token" } },
      headers: HEADERS,
      responses: Object.fromEntries(
        Object.entries(REFUSED).map(([status, text]) => [status, refusal(Number(status), text)]),
      ),
      schemas: schemasOf(wordsOf(contract)),
    },
  };
}

function operationOf(route: Route & { readonly id: RouteId }): Json {
  const { id, summary, parameters, access, request } = route;
  const refused = [...ALWAYS, ...REFUSALS[id]].map((status) => [status, refTo("responses", String(status))]);
  const done = doneOf(id).map((status) => [status, success(route, status)]);
  const token = { adminToken: [] };
  return {
    operationId: id,
    summary,
    security: access === "full" ? [token] : [{}, token],
    ...(parameters.length > 0 && { parameters: parameters.map(parameterOf) }),
    ...(request !== undefined && {
      requestBody: { required: true, content: { "application/json": { schema: refTo("schemas", request) } } },
    }),
    responses: Object.fromEntries([...done, ...refused]),
  };
}

function parameterOf({ name, in: place, required, summary }: Route["parameters"][number]): Json {
  const schema = name === "limit" ? { type: "integer", minimum: 1, maximum: 1000 } : { type: "string" };
  return { name, in: place, required, description: summary, schema };
}

function success(route: Route & { readonly id: RouteId }, status: number): Json {
  const description = DONE[status] ?? "";
  if (status === 101 || status === 304) return { description, headers: headersOf() };
  const isPaged = route.parameters.some(({ name }) => name === "limit");
  const headers = isPaged ? headersOf("Link") : headersOf();
  return { description, headers, content: contentOf(route) };
}

function headersOf(...more: readonly string[]): Json {
  return Object.fromEntries([API_HEADER, ...more].map((name) => [name, refTo("headers", name)]));
}

function contentOf({ id, response }: Route & { readonly id: RouteId }): Json {
  const string = { schema: { type: "string" } };
  const stream = (messages: Json): Json => ({ "text/event-stream": { ...string, "x-messages": messages } });
  if (response === "text") return { "text/plain": string };
  if (response === "document") return { "application/json": { schema: { type: "object" } } };
  if (response === "stream")
    return stream({
      picture: refTo("schemas", "Picture"),
      change: refTo("schemas", "PictureChange"),
      traffic: refTo("schemas", "TrafficReport"),
    });
  if (response === "file")
    return id === "page"
      ? { "text/html": string }
      : { "text/javascript": string, "text/css": string, "image/svg+xml": string };
  const item = refTo("schemas", response.replace("[]", ""));
  const told = { "application/json": { schema: response.endsWith("[]") ? listOf(item) : item } };
  if (id !== "events") return told;
  return { ...told, ...stream({ message: item, gap: refTo("schemas", "EventGap") }) };
}

function listOf(items: Json): Json {
  return { type: "array", items };
}

function refusal(status: number, description: string): Json {
  const headers = PASSING.includes(status) ? headersOf("Retry-After") : headersOf();
  const content = { "application/problem+json": { schema: refTo("schemas", "Problem") } };
  return { description, headers, content };
}

function refTo(kind: "headers" | "schemas" | "responses", name: string): Json {
  return { $ref: `#/components/${kind}/${name}` };
}

function schemasOf(wordsByType: ReadonlyMap<string, Words>): Json {
  const converted = toJsonSchemaDefs(SCHEMAS, {
    target: "draft-2020-12",
    overrideRef: ({ referenceId }) => `#/components/schemas/${referenceId}`,
  });
  const named = Object.entries(converted).map(([name, schema]) => {
    const { properties, ...rest } = opened(schema as Json);
    const words = wordsByType.get(name);
    const fields = Object.entries((properties ?? {}) as Readonly<Record<string, Json>>).map(
      ([field, told]) => {
        const description = words?.byField.get(field);
        return [field, description === undefined ? told : { ...told, description }];
      },
    );
    const description = words?.type ?? null;
    return [
      name,
      { ...(description !== null && { description }), ...rest, properties: Object.fromEntries(fields) },
    ];
  });
  return Object.fromEntries(named);
}

/** Without the strictness that the tests want: a client must not refuse a field that came later. */
function opened(schema: Json): Json {
  const kept = Object.entries(schema).filter(([key, value]) => {
    // That names are text is true of every JSON object.
    return (
      key !== "$schema" && key !== "propertyNames" && !(key === "additionalProperties" && value === false)
    );
  });
  return Object.fromEntries(kept.map(([key, value]) => [key, openedValue(value)]));
}

function openedValue(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(openedValue);
  return typeof value === "object" && value !== null ? opened(value as Json) : value;
}
