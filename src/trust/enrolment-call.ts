/**
 * Enrolment call: one connection to another node's door.
 *
 * Opens TLS 1.3 with the protocol name for joining and says what is on the other side: its certificate, as proved by
 * the handshake, and what both ends of this connection have in common. Whether that certificate is to be trusted is not
 * asked here: a joiner has nothing but a token to judge it by, and judges before it says anything (joining.ts). TLS's
 * own check is off for that reason, and because it compares names, where we compare keys.
 *
 * All failures of the network are told apart here, each with what to do.
 *
 * Touches: sockets, timers.
 */

import { once } from "node:events";
import { Agent, request as startRequest, type IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";

import { Failure, systemCodeOf, textOf } from "../base/failure.ts";
import { renderHostPort, type HostPort } from "../base/ip.ts";
import { LIMITS } from "../model/limits.ts";
import { JOIN_ALPN, JOIN_BINDING_BYTES, JOIN_BINDING_LABEL } from "../model/mesh-port.ts";
import { startDeadline } from "../runtime/deadline.ts";

/** What a caller shows of itself: key and certificate in PEM. */
export interface CallerMaterial {
  readonly key: string;
  readonly chain: string;
}

/** How a call is made. */
export interface CallOptions {
  /** Null for a stranger. */
  readonly material: CallerMaterial | null;
  /** For the whole call, from connecting to its end. */
  readonly timeoutMs: number;
}

/** An answer of the other side. */
export interface Answer {
  readonly status: number;
  readonly body: string;
}

/** An open connection. */
export interface Call {
  /** `host:port`, for texts. */
  readonly to: string;
  /** The other side's certificate, DER. The handshake proved that it has the key. */
  readonly certificate: Uint8Array;
  readonly binding: Uint8Array;
  /** One request at a time. @param body  what is sent as JSON; none for a GET */
  ask(method: "GET" | "POST", path: string, body?: unknown): Promise<Answer>;
  close(): void;
}

/**
 * Connects, and closes the connection once `talk` is over.
 *
 * @throws Failure `unreachable` or `timeout` when nobody answers, `refused` when whoever answers is no door of ours
 */
export async function withCall<T>(
  to: HostPort,
  options: CallOptions,
  talk: (call: Call) => Promise<T>,
): Promise<T> {
  const text = renderHostPort(to);
  const socket = connect(tlsOptions(to, options.material));
  const late = new Failure("timeout", `${text} did not answer within ${options.timeoutMs} ms`);
  // Destroying with the failure makes every wait below end with it.
  const deadline = startDeadline(options.timeoutMs, () => socket.destroy(late));
  // For as long as nobody else listens: an error without a listener would end the process.
  socket.on("error", () => undefined);
  const agent = new OneSocket(socket);
  try {
    await connected(socket, text);
    return await talk(callOver(socket, agent, text));
  } finally {
    deadline.clear();
    agent.destroy();
    socket.destroy();
  }
}

function tlsOptions(to: HostPort, material: CallerMaterial | null): ConnectionOptions {
  const own = material === null ? {} : { key: material.key, cert: material.chain };
  return {
    host: to.host,
    port: to.port,
    ALPNProtocols: [JOIN_ALPN],
    minVersion: "TLSv1.3",
    rejectUnauthorized: false,
    // Both are for names, and ours are keys.
    servername: "",
    checkServerIdentity: () => undefined,
    ...own,
  };
}

async function connected(socket: TLSSocket, text: string): Promise<void> {
  try {
    await once(socket, "secureConnect");
  } catch (thrown) {
    throw callFailure(text, thrown);
  }
  if (socket.alpnProtocol === JOIN_ALPN) return;
  throw new Failure(
    "refused",
    `${text} is not the mesh port of a skein daemon: it speaks TLS for something else`,
  );
}

function callOver(socket: TLSSocket, agent: Agent, text: string): Call {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) throw new Failure("refused", `${text} has shown no certificate`);
  return {
    to: text,
    certificate: certificate.raw,
    binding: socket.exportKeyingMaterial(JOIN_BINDING_BYTES, JOIN_BINDING_LABEL, Buffer.alloc(0)),
    ask(method, path, body) {
      // A request over a connection that is gone would wait for ever: nothing of it ends any more.
      if (!socket.destroyed) return ask(agent, { method, path, body, text });
      return Promise.reject(new Failure("unreachable", `${text} closed the connection before it was asked`));
    },
    close: () => socket.destroy(),
  };
}

async function ask(
  agent: Agent,
  { method, path, body, text }: { method: string; path: string; body: unknown; text: string },
): Promise<Answer> {
  const sent = body === undefined ? null : JSON.stringify(body);
  const headers =
    sent === null ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(sent) };
  const request = startRequest({ agent, method, path, host: "skein", headers, setDefaultHeaders: true });
  // What comes behind an answer that is whole may be junk, and nobody waits any more: it would end the process.
  request.on("error", () => undefined);
  const gone = new AbortController();
  // An answer that switches protocols ends the request, and tells nothing else.
  request.once("close", () => gone.abort(new Failure("refused", `${text} ends the call without an answer`)));
  try {
    request.end(sent);
    const [response] = (await once(request, "response", { signal: gone.signal })) as [IncomingMessage];
    return { status: response.statusCode ?? 0, body: await readAnswer(response, text) };
  } catch (thrown) {
    throw callFailure(text, gone.signal.aborted && isAbort(thrown) ? gone.signal.reason : thrown);
  }
}

function isAbort(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.name === "AbortError";
}

async function readAnswer(response: IncomingMessage, text: string): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > LIMITS.enrolAnswerBytes) {
      const most = LIMITS.enrolAnswerBytes;
      throw new Failure("refused", `${text} answers with more than ${most} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** Gives every request the one socket that is there. */
class OneSocket extends Agent {
  readonly #socket: TLSSocket;

  constructor(socket: TLSSocket) {
    super({ keepAlive: true, maxSockets: 1 });
    this.#socket = socket;
  }

  override createConnection(): Duplex {
    return this.#socket;
  }
}

/** What a failed connection means to whoever started it. */
function callFailure(text: string, cause: unknown): Failure {
  if (cause instanceof Failure) return cause;
  const code = systemCodeOf(cause) ?? "";
  const options = { cause };
  if (/WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST|RECORD_LAYER/.test(code)) {
    const why = "is not the mesh port of a skein daemon: it does not speak TLS";
    return new Failure("refused", `${text} ${why}`, options);
  }
  if (/PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL/.test(code)) {
    return new Failure("refused", `${text} does not speak TLS 1.3; expected a skein daemon`, options);
  }
  if (/NO_APPLICATION_PROTOCOL/.test(code)) {
    const why = "is not the mesh port of a skein daemon: it does not know how to let hosts join";
    return new Failure("refused", `${text} ${why}`, options);
  }
  switch (code) {
    case "ECONNREFUSED":
      return new Failure("unreachable", `${text} refuses connections; is skein running there?`, options);
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return new Failure("unreachable", `${text}: no such host name`, options);
    case "ECONNRESET":
    case "EPIPE":
      return new Failure("unreachable", `${text} closed the connection; is it a skein daemon?`, options);
    default:
      return new Failure("unreachable", `${text} cannot be reached: ${textOf(cause)}`, options);
  }
}
