/**
 * Own answer: what a client gets where no upstream answers it.
 *
 * The client's connection, whichever version of HTTP it speaks, is asked for what its language is; a HEAD gets no body.
 *
 * Touches: the client's response.
 */

import { renderAnswer, titleOf } from "./answers.ts";
import type { HttpClient } from "./client.ts";
import { valuesOf } from "./headers.ts";

/**
 * Answers a request in place of any upstream.
 *
 * @param answer.closes  the connection is not to be used again
 * @returns the bytes of the body
 */
export function answerError(
  client: HttpClient,
  answer: {
    readonly status: number;
    readonly reason: string;
    readonly requestId: string;
    readonly closes: boolean;
  },
): number {
  const { status, closes } = answer;
  const accept = valuesOf(client.head.rawHeaders, "accept").join(", ");
  const { headers, body } = renderAnswer(answer, accept);
  client.writeHead({ status, message: titleOf(status), headers, closes });
  const hasBody = client.head.method !== "HEAD";
  if (hasBody) client.write(body);
  client.end();
  return hasBody ? Buffer.byteLength(body) : 0;
}
