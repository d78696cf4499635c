/**
 * Tracing: the section of the configuration that says where spans go, which are recorded, and with which headers.
 *
 * Apart from schema.ts for its size alone. The endpoint is printed as it is and so may hold no secret; headers are one.
 *
 * Pure.
 */

import * as v from "valibot";

const SAMPLE_FORM = "parent, or a share in 0..1";
/** What the headers for a collector have to be. */
export const HEADERS_FORM = "headers such as name=value,name2=value2, of at most 4096 characters";
/** RFC 9110 5.6.2 and 5.5; a comma or a percent sign in a value is written as %2C, %25. */
const HEADER = /^\s*([!#$&'*+.^_`|~0-9A-Za-z-]+)\s*=([^,]*)$/;

/** The headers that text names; null for text of another form. */
export function parseHeaders(list: string): Readonly<Record<string, string>> | null {
  const headers: [name: string, value: string][] = [];
  for (const part of list.split(",")) {
    const [, name = "", value = ""] = HEADER.exec(part) ?? [];
    if (name === "") return null;
    try {
      const decoded = decodeURIComponent(value.trim());
      if (!/^[\x20-\x7e]*$/.test(decoded)) return null;
      headers.push([name.toLowerCase(), decoded]);
    } catch {
      return null;
    }
  }
  return Object.fromEntries(headers);
}

const COLLECTOR_FORM =
  "an http:// or https:// URL without user, password and query, such as http://127.0.0.1:4318";
/** Where OTLP over HTTP is taken unless the URL says another path (OpenTelemetry Protocol Exporter). */
const TRACES_PATH = "/v1/traces";
/** A collector's URL with its path; empty for none. */
const collector = v.pipe(
  v.string(COLLECTOR_FORM),
  v.maxLength(2048, "a URL of at most 2048 characters"),
  v.rawTransform<string, string>(({ dataset, addIssue, NEVER }) => {
    if (dataset.value === "") return "";
    const url = URL.parse(dataset.value);
    // It is printed as it is: what is secret about it belongs into a header.
    const isBare = url !== null && `${url.username}${url.password}${url.search}${url.hash}` === "";
    if (isBare && /^https?:$/.test(url.protocol)) {
      if (url.pathname === "/") url.pathname = TRACES_PATH;
      return url.href;
    }
    addIssue({ message: COLLECTOR_FORM });
    return NEVER;
  }),
);
/** Variables and flags hand numbers over as text. */
const sample = v.pipe(
  v.union([v.number(), v.string()], SAMPLE_FORM),
  v.rawTransform<string | number, "parent" | number>(({ dataset, addIssue, NEVER }) => {
    if (dataset.value === "parent") return "parent";
    const share =
      typeof dataset.value === "number" || dataset.value !== "" ? Number(dataset.value) : Number.NaN;
    if (share >= 0 && share <= 1) return share;
    addIssue({ message: SAMPLE_FORM });
    return NEVER;
  }),
);
/** Names and values of HTTP headers, as OTEL_EXPORTER_OTLP_HEADERS has them. */
const headerList = v.pipe(
  v.string(HEADERS_FORM),
  v.trim(),
  v.maxLength(4096, HEADERS_FORM),
  v.check((list) => list === "" || parseHeaders(list) !== null, HEADERS_FORM),
);

/** The defaults, in the form and order of the file. */
export const TRACING_DEFAULTS = {
  endpoint: "",
  sample: "parent" as "parent" | number,
  headers: "",
  headersFile: "",
};

/** The section. */
export const TRACING_SCHEMA = v.strictObject({
  endpoint: collector,
  sample,
  headers: headerList,
  headersFile: v.pipe(v.string("a file"), v.maxLength(4096, "a path of at most 4096 characters")),
});
