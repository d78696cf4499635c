// What the tests of connections share: pools over loopback, or over streams made by hand, and attempts written down.

import type { Socket } from "node:net";
import type { TestContext } from "node:test";
import { setImmediate as turn } from "node:timers/promises";

import type { UpstreamAnswer } from "../../../../src/proxy/http/answer.ts";
import { openConnector, type Connect, type GivenOf } from "../../../../src/proxy/connect.ts";
import { Deadlines } from "../../../../src/proxy/deadlines.ts";
import type {
  Attempt,
  BodySink,
  Freshness,
  HttpForwarder,
  OutgoingHead,
} from "../../../../src/proxy/http/forwarder.ts";
import { openWireForwarder } from "../../../../src/proxy/http/wire/forwarder.ts";
import { UpstreamPools } from "../../../../src/proxy/http/wire/pool.ts";
import type { Upstream } from "../../../../src/proxy/routes.ts";
import { until } from "../../../support/wait.ts";

import { CALLER, tcpReplica } from "../../fixtures.ts";

/** Pools with a clock that stands until it is moved. */
export interface Bench {
  readonly pools: UpstreamPools;
  readonly deadlines: Deadlines;
  readonly forwarder: HttpForwarder;
  now: number;
  /** Compares deadlines with the clock. */
  tick(): void;
}

/** Opens pools, closed when the test ends. */
export function openBench(
  t: TestContext,
  { dial, givenOf }: { readonly dial?: Connect; readonly givenOf?: GivenOf } = {},
): Bench {
  const deadlines = new Deadlines();
  const on = { deadlines, now: 0, tick: () => deadlines.tick(on.now) };
  const nowMs = (): number => on.now;
  const noDial = (): Promise<never> => Promise.reject(new Error("no mesh in this test"));
  const times = { connectMs: 500, streamMs: 1000 };
  const connect = dial ?? openConnector({ dial: noDial, deadlines, nowMs, ...times });
  let receipts = 0;
  const pools = new UpstreamPools({
    connect,
    deadlines,
    nowMs,
    streamMs: times.streamMs,
    givenOf: givenOf ?? (() => Promise.resolve(null)),
    newReceipt: () => `receipt-${(receipts += 1)}`,
  });
  t.after(() => pools.close());
  const upgrade = (): never => {
    throw new Error("nothing here is a WebSocket");
  };
  return Object.assign(on, { pools, forwarder: openWireForwarder(pools, { upgrade }) });
}

/** An attempt, and all that was told of it. */
export interface Course {
  readonly events: string[];
  readonly attempt: Attempt;
  answer: UpstreamAnswer | null;
  /** Why it failed. */
  cause: unknown;
  sink: BodySink | null;
  text: string;
}

const GET: OutgoingHead = { method: "GET", target: "/", fields: new Map([["Host", ["app"]]]) };

/** Sends a request; its body is the caller's to send where it is to have one. */
export function send(
  { forwarder }: Pick<Bench, "forwarder">,
  to: Upstream,
  given: Partial<OutgoingHead> & { readonly freshness?: Freshness; readonly hasBody?: boolean } = {},
): Course {
  const { hasBody = false, freshness = "any", ...head } = given;
  const course: Omit<Course, "attempt"> = { events: [], answer: null, cause: null, sink: null, text: "" };
  const attempt = forwarder.send(
    to,
    { ...GET, ...head, caller: CALLER, freshness },
    {
      connected: (sink) => {
        course.events.push("connected");
        course.sink = sink;
        if (!hasBody) sink.end();
      },
      informed: (status) => course.events.push(`informed ${status}`),
      answered: (answer) => {
        course.events.push(`answered ${answer.status}`);
        course.answer = answer;
        answer.read({
          data: (part) => (course.text += part.toString("latin1")),
          ended: () => course.events.push("ended"),
          cut: (by) => course.events.push(by === "request" ? "cut by the request" : "cut"),
        });
      },
      failed: ({ end, cause, wasSent }) => {
        course.cause = cause;
        course.events.push(`failed ${end}${wasSent ? "" : " unsent"}`);
      },
    },
  );
  return Object.assign(course, { attempt });
}

/** Waits until an attempt has come to its end. */
export async function ended(course: Course): Promise<readonly string[]> {
  await until(() => /^(?:ended|cut|failed)/.test(course.events.at(-1) ?? ""), {
    what: `the end of ${course.events.join()}`,
  });
  // What would be told once too often is told by then.
  await turn();
  return course.events;
}

/** A replica that counts its connections, and answers each request with what `answer` says. */
export async function countingReplica(
  t: TestContext,
  answer: string | ((socket: Socket, request: string) => void) = "HTTP/1.1 204 No Content\r\n\r\n",
): Promise<{ readonly port: number; readonly sockets: Set<Socket>; readonly opened: () => number }> {
  const sockets = new Set<Socket>();
  let opened = 0;
  const port = await tcpReplica(t, (socket) => {
    opened += 1;
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.once("end", () => socket.end());
    socket.on("data", (chunk: Buffer) => {
      if (typeof answer === "string") socket.write(answer, "latin1");
      else answer(socket, chunk.toString("latin1"));
    });
  });
  return { port, sockets, opened: () => opened };
}
