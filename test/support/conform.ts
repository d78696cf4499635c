/**
 * Conform: does an answer of the admin API fit the OpenAPI document that the daemon serves?
 *
 * Reads as much of JSON Schema (2020-12) as the document uses, and throws at anything else. A field that a schema does
 * not name is a misfit here, though a client is told to ignore it: what is answered and not documented is a defect.
 *
 * Pure.
 */

import { routesAt } from "../../src/admin/routes.ts";

type Json = Readonly<Record<string, unknown>>;

/** What came back. */
export interface Answered {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: string;
}

/** What does not fit, in words; nothing when all does. `path` without its query. */
export function misfits(
  document: Json,
  asked: { readonly method: string; readonly path: string },
  answer: Answered,
): readonly string[] {
  const { method, path } = asked;
  const routes = routesAt(path);
  const route = routes.find((one) => one.method === (method === "HEAD" ? "GET" : method));
  const type = String(answer.headers["content-type"] ?? "").replace(/;.*/, "");
  if (route === undefined) return unrouted(document, { isPath: routes.length > 0, method, type }, answer);
  const operation = at(document, "paths", route.path, route.method.toLowerCase());
  const told = resolved(document, at(operation, "responses", String(answer.status)));
  if (told === null) return [`${method} ${path}: status ${answer.status} is not in the document`];
  const wrong = headerMisfits(document, told, answer).map((text) => `${method} ${path}: ${text}`);
  if (wrong.length > 0) return wrong;
  const contents = told["content"];
  if (contents === undefined) return answer.body === "" ? [] : [`${method} ${path}: a body nobody expects`];
  const content = at(contents, type);
  if (content === null) return [`${method} ${path}: ${answer.status} of type "${type}"`];
  if (method === "HEAD") return answer.body === "" ? [] : [`HEAD ${path}: has a body`];
  if (!type.endsWith("json")) return [];
  return fit(document, at(content, "schema"), JSON.parse(answer.body)).map(
    (text) => `${method} ${path}${text}`,
  );
}

function headerMisfits(document: Json, told: Json, { headers }: Answered): readonly string[] {
  return Object.entries(told["headers"] ?? {}).flatMap(([name, given]) => {
    const header = resolved(document, given as Json);
    const value = headers[name.toLowerCase()];
    if (value === undefined) return header?.["required"] === true ? [`no header ${name}`] : [];
    const schema = at(header, "schema");
    const read = schema?.["type"] === "integer" ? Number(value) : value;
    return fit(document, schema, read).map((text) => `header ${name}${text}`);
  });
}

/** What does not fit in the data of a message, whose schema has that name. */
export function messageMisfits(document: Json, name: string, told: unknown): readonly string[] {
  return fit(document, { $ref: `#/components/schemas/${name}` }, told).map((text) => `${name}${text}`);
}

/** No method would do: who asks is to be somebody else, or to wait. */
const REFUSED_AT_THE_DOOR: readonly number[] = [401, 403, 429];

/** Answers that belong to no operation: no such path, no such method there. */
function unrouted(
  document: Json,
  { isPath, method, type }: { readonly isPath: boolean; readonly method: string; readonly type: string },
  { status, body, headers }: Answered,
): readonly string[] {
  if (isPath && headers["allow"] === undefined && !REFUSED_AT_THE_DOOR.includes(status))
    return [`${method}: ${status} without Allow`];
  if (status === 204) return [];
  if (type !== "application/problem+json") return [`${method}: ${status} of type "${type}"`];
  return body === "" ? [] : messageMisfits(document, "Problem", JSON.parse(body));
}

function at(from: unknown, ...keys: readonly string[]): Json | null {
  let value: unknown = from;
  for (const key of keys) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return null;
    value = (value as Json)[key];
  }
  return typeof value === "object" && value !== null ? (value as Json) : null;
}

function resolved(document: Json, value: Json | null): Json | null {
  const ref = value?.["$ref"];
  if (typeof ref !== "string") return value;
  const found = at(document, ...ref.replace(/^#\//, "").split("/"));
  if (found === null) throw new Error(`nothing at ${ref}`);
  return found;
}

const KNOWN = new Set(
  "$ref description type properties required items enum const anyOf minimum maximum additionalProperties".split(
    " ",
  ),
);

function fit(document: Json, given: Json | null, value: unknown): readonly string[] {
  const schema = resolved(document, given);
  if (schema === null) throw new Error("no schema");
  for (const key of Object.keys(schema)) if (!KNOWN.has(key)) throw new Error(`schema has ${key}`);
  const { type, anyOf, enum: listed, const: constant, minimum, maximum } = schema;
  const shown = JSON.stringify(value)?.slice(0, 80) ?? "nothing";
  if (Array.isArray(anyOf)) {
    return anyOf.some((one: Json) => fit(document, one, value).length === 0)
      ? []
      : [`: ${shown} fits no branch`];
  }
  if (Array.isArray(listed) && !listed.includes(value)) return [`: ${shown} is not in the list`];
  if (constant !== undefined && constant !== value) return [`: ${shown} is not ${JSON.stringify(constant)}`];
  if (typeof type === "string" && !isOfType(type, value)) return [`: ${shown} is no ${type}`];
  if (typeof minimum === "number" && Number(value) < minimum) return [`: ${shown} is below ${minimum}`];
  if (typeof maximum === "number" && Number(value) > maximum) return [`: ${shown} is above ${maximum}`];
  if (Array.isArray(value))
    return value.flatMap((one, index) => {
      return fit(document, at(schema, "items"), one).map((text) => `[${index}]${text}`);
    });
  return typeof value === "object" && value !== null ? fitObject(document, schema, value as Json) : [];
}

function fitObject(document: Json, schema: Json, value: Json): readonly string[] {
  const required = (schema["required"] ?? []) as readonly string[];
  const missing = required.filter((key) => !Object.hasOwn(value, key)).map((key) => `.${key}: is missing`);
  const properties = at(schema, "properties");
  const fields = Object.entries(value).flatMap(([key, one]) => {
    const named = at(properties, key) ?? at(schema, "additionalProperties");
    if (named === null) return properties === null ? [] : [`.${key}: is not in the document`];
    return fit(document, named, one).map((text) => `.${key}${text}`);
  });
  return [...missing, ...fields];
}

function isOfType(type: string, value: unknown): boolean {
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "integer") return Number.isInteger(value);
  if (type === "object") return typeof value === "object" && value !== null && !Array.isArray(value);
  return typeof value === type;
}
