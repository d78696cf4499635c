/**
 * Traces: whether this daemon takes part in traces, and where its spans go.
 *
 * Touches: the file of the collector's headers, and the collector through its exporter.
 */

import { Failure } from "../base/failure.ts";
import type { Config } from "../config/schema.ts";
import { secretOf } from "../config/secret-file.ts";
import { HEADERS_FORM, parseHeaders } from "../config/tracing.ts";
import { NO_TRACING, openTracing, type Tracing } from "../proxy/trace/tracing.ts";

import type { Base } from "./base.ts";

/**
 * Opens what records requests, as the configuration has it.
 *
 * @throws Failure when the headers' file cannot be read, or holds something else
 */
export async function traceTo(base: Base, nodeId: string): Promise<Tracing> {
  const { options, lifecycle, metrics, random, report } = base;
  const { config, version, log } = options;
  const { endpoint, sample } = config.tracing;
  if (endpoint === "") return NO_TRACING;
  const headers = await headersOf(config);
  // Few daemons need it.
  const { openExporter, openIds } = await import("../proxy/trace/exporter.ts");
  const resource = { version, nodeId, nodeName: config.node.name };
  const exporter = openExporter({ endpoint, headers, resource, log, metrics, random });
  lifecycle.opened({ name: "traces", close: () => exporter.close(), handover: "serves" });
  report.tracingProblem = () => exporter.problem;
  return openTracing({ sample, random, newId: openIds(), finish: exporter.finish });
}

async function headersOf({ tracing }: Config): Promise<Readonly<Record<string, string>>> {
  const { headers, headersFile } = tracing;
  const list = await secretOf({ token: headers, tokenFile: headersFile }, "file (tracing.headersFile)");
  if (list === null) return {};
  const parsed = parseHeaders(list);
  if (parsed !== null) return parsed;
  throw new Failure("invalid", `headers in ${headersFile} are malformed; expected ${HEADERS_FORM}`);
}
