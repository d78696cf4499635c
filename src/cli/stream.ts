/**
 * Stream: reads server-sent events (WHATWG HTML 9.2.6) out of a response.
 *
 * Only what our daemon sends is understood: fields `id`, `event` and `data`, lines ended by LF. A line has a bound, so
 * that something else behind the socket cannot make the command grow.
 *
 * Touches: the response it is given.
 */

import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";

import { Failure } from "../base/failure.ts";
import { LIMITS } from "../model/limits.ts";

/** One message; `event` is `message` where the stream names none. */
export interface StreamMessage {
  readonly event: string;
  readonly data: string;
  /** The id of this message or, where it has none, of the last that had one. */
  readonly lastEventId: string | null;
}

/**
 * The messages of a response, as they come.
 *
 * @throws Failure `corrupt` for a line above the bound; what the response itself throws
 */
export async function* messagesOf(response: Readable): AsyncGenerator<StreamMessage> {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  let event = "";
  let data: string[] = [];
  let lastEventId: string | null = null;
  for await (const chunk of response) {
    const lines = (rest + decoder.write(Buffer.from(chunk as Uint8Array))).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > LIMITS.eventStreamBufferedBytes) {
      throw new Failure("corrupt", `line of the event stream has ${rest.length} bytes; expected fewer`);
    }
    for (const line of lines) {
      const [field, value] = fieldOf(line);
      if (field === "id") lastEventId = value;
      if (field === "event") event = value;
      if (field === "data") data.push(value);
      if (line !== "") continue;
      if (data.length > 0) {
        yield { event: event === "" ? "message" : event, data: data.join("\n"), lastEventId };
      }
      [event, data] = ["", []];
    }
  }
}

/** A comment (`:` first) becomes a field without a name. */
function fieldOf(line: string): readonly [string, string] {
  const colon = line.indexOf(":");
  if (colon === -1) return [line, ""];
  const value = line.slice(colon + 1);
  return [line.slice(0, colon), value.startsWith(" ") ? value.slice(1) : value];
}
