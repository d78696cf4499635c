/**
 * Exchange: one HTTP request and its answer as text.
 *
 * Not fetch: that has no unix sockets, and keeps connections to what may have failed since.
 *
 * Touches: the network, unix sockets.
 */

import { request, type RequestOptions } from "node:http";

const ASK_MS = 30_000;

/** An answer over HTTP. */
export interface Answer {
  readonly status: number;
  readonly text: string;
}

/** Whom to ask: a unix socket, or a host and a port. */
export interface Destination extends Pick<RequestOptions, "socketPath" | "host" | "port"> {
  readonly path: string;
  readonly method: "GET" | "POST";
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * Sends one request, on a connection of its own.
 *
 * @throws when there is no answer within 30 s
 */
export async function exchange(to: Destination, body = ""): Promise<Answer> {
  return await new Promise<Answer>((resolve, reject) => {
    const sent = request({ ...to, agent: false, timeout: ASK_MS }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
      response.on("error", reject);
    });
    sent.on("timeout", () =>
      sent.destroy(new Error(`${to.socketPath ?? to.host}: no answer in ${ASK_MS} ms`)),
    );
    sent.on("error", reject);
    sent.end(body);
  });
}
