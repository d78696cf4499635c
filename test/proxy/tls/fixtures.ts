// A proxy with an HTTPS ingress at 127.0.0.2, and clients of it.

import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import {
  connect as connectHttp2,
  type ClientHttp2Session,
  type ClientSessionRequestOptions,
} from "node:http2";
import type { IncomingHttpHeaders, IncomingHttpStatusHeader } from "node:http2";
import { request as httpsRequest, type RequestOptions } from "node:https";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";

import type { Proxy, ProxyOptions } from "../../../src/proxy/proxy.ts";
import type { IngressRoute, PassthroughRoute, RouteTable } from "../../../src/proxy/routes.ts";
import { openCertificates, type Certificates } from "../../../src/proxy/tls/certificates.ts";
import type { Metrics } from "../../../src/runtime/metrics.ts";
import { makePair, type TestPair } from "../../support/certificate.ts";
import { openFolder } from "../../support/folder.ts";
import { readToEnd, within } from "../../support/wait.ts";
import { portAt, responseTo, SILENT, startProxy } from "../fixtures.ts";

export const ADDRESS = "127.0.0.2";

/** What the ingress is to serve. */
export interface Ingress {
  readonly routes?: readonly IngressRoute[];
  readonly passthrough?: readonly PassthroughRoute[];
}

/** A table with an HTTPS ingress and nothing else. */
export function httpsTable({ routes = [], passthrough = [] }: Ingress): RouteTable {
  const ingress = { address: ADDRESS, port: null, httpsPort: 0, routes, passthrough };
  return { complete: true, frontends: [], ingress, problems: [] };
}

/** A running HTTPS ingress. */
export interface Serving {
  readonly proxy: Proxy;
  readonly metrics: Metrics;
  readonly port: number;
  readonly folder: string;
  readonly certificates: Certificates;
}

/** Starts an ingress with a certificate per entry of `hostsByName`: files of that name, for those hosts. */
export async function serveHttps(
  t: TestContext,
  ingress: Ingress,
  hostsByName: Readonly<Record<string, readonly string[]>>,
  changes: Partial<ProxyOptions> = {},
): Promise<Serving> {
  const folder = await openFolder(t);
  for (const [name, hosts] of Object.entries(hostsByName)) await writePair(folder, name, makePair({ hosts }));
  const certificates = await openCertificates({ folder, log: SILENT, nowMs: Date.now, pollMs: 2 ** 30 });
  t.after(() => certificates.close());
  const { proxy, metrics } = await startProxy(t, { certificates, ...changes });
  await proxy.set(httpsTable(ingress));
  return { proxy, metrics, port: portAt(proxy, ADDRESS), folder, certificates };
}

/** Writes a pair as one file. */
export async function writePair(folder: string, name: string, pair: TestPair): Promise<void> {
  await writeFile(join(folder, `${name}.pem`), pair.certificate + pair.key, { mode: 0o600 });
}

/** A TLS connection to the ingress, its handshake done; rejects when that fails. */
export async function handshake(
  t: TestContext,
  port: number,
  options: ConnectionOptions = {},
): Promise<TLSSocket> {
  const socket = connect({ host: ADDRESS, port, rejectUnauthorized: false, ...options });
  t.after(() => socket.destroy());
  await within(once(socket, "secureConnect"), `a handshake with ${ADDRESS}:${port}`);
  socket.on("error", () => undefined);
  return socket;
}

/** The names in the certificate that a client is shown, as node prints them. */
export async function shownTo(t: TestContext, port: number, servername?: string): Promise<string> {
  const socket = await handshake(t, port, servername === undefined ? {} : { servername });
  const names = socket.getPeerCertificate().subjectaltname ?? "";
  socket.destroy();
  return names;
}

/** An HTTP/2 client of the ingress, which asks for `host` by SNI; over a connection of the test's own if it has one. */
export function http2Client(
  t: TestContext,
  port: number,
  host: string,
  over?: TLSSocket,
): ClientHttp2Session {
  const session = connectHttp2(`https://${ADDRESS}:${port}`, {
    servername: host,
    rejectUnauthorized: false,
    ...(over && { createConnection: () => over }),
  });
  session.on("error", () => undefined);
  t.after(() => session.destroy());
  return session;
}

/** What an HTTP/2 client got. */
export interface Http2Answer {
  readonly headers: IncomingHttpHeaders & IncomingHttpStatusHeader;
  readonly trailers: IncomingHttpHeaders;
  readonly text: string;
}

/** One request of an HTTP/2 client; rejects when its stream is reset. */
export async function askHttp2(
  session: ClientHttp2Session,
  headers: Readonly<Record<string, string>>,
  options: ClientSessionRequestOptions & { readonly body?: string } = {},
): Promise<Http2Answer> {
  const { body, ...rest } = options;
  const stream = session.request({ ":path": "/", ...headers }, rest);
  let trailers: IncomingHttpHeaders = {};
  stream.on("trailers", (told) => (trailers = told));
  if (body !== undefined) stream.end(body);
  const told = once(stream, "response") as Promise<[Http2Answer["headers"]]>;
  const [answer] = await within(told, `an answer to ${JSON.stringify(headers)} over HTTP/2`);
  const text = await readToEnd(stream, `the end of the answer to ${JSON.stringify(headers)} over HTTP/2`);
  return { headers: answer, trailers, text };
}

/** One request over HTTP/1.1 and TLS. */
export async function askHttps(
  port: number,
  host: string,
  options: RequestOptions = {},
): Promise<{ readonly status: number; readonly text: string; readonly headers: IncomingMessage["headers"] }> {
  const request = httpsRequest({
    host: ADDRESS,
    port,
    servername: host,
    headers: { host },
    rejectUnauthorized: false,
    agent: false,
    ...options,
  });
  request.end();
  const response = await responseTo(request);
  const text = await readToEnd(response, `the end of the answer of ${host}`);
  return { status: response.statusCode ?? 0, text, headers: response.headers };
}
