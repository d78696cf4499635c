// What the tests of forwarding share: upstreams that misbehave, a forwarder whose timers the test moves.

import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";
import type { TestContext } from "node:test";

import type { HostPort } from "../../../src/base/ip.ts";
import { openForwarder, type Forwarder, type ForwarderOptions } from "../../../src/dns/forward/forward.ts";
import type { Log } from "../../../src/runtime/log.ts";
import { openMetrics } from "../../../src/runtime/metrics.ts";
import { until } from "../../support/wait.ts";
import {
  answersOf,
  decode,
  frame,
  openUpstream,
  query,
  reply,
  type Behaviour,
  type FakeUpstream,
} from "../fixture.ts";

/** Longer than any pause of a busy machine: where silence must be noticed, the test moves the timers. */
export const TIMES = { hedgeMs: 60_000, roundMs: 100_000, staleAfterMs: 200_000, totalMs: 600_000 };
export const ASKED = query("www.example.com", "A");
export const SILENCE = { kind: "failed", reason: "silent" };
export const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {}, setLevel() {} };

export const silent: Behaviour = () => [];
export const says =
  (address: string): Behaviour =>
  (bytes) => [reply(bytes, { address })];
export const fails =
  (rcode: number): Behaviour =>
  (bytes) => [reply(bytes, { rcode })];

export async function upstream(t: TestContext, behave: Behaviour): Promise<FakeUpstream> {
  const opened = await openUpstream(behave);
  t.after(() => opened.close());
  return opened;
}

export function forwarder(
  t: TestContext,
  upstreams: readonly HostPort[],
  more: Partial<ForwarderOptions> = {},
): Forwarder {
  const fixed = { times: TIMES, nowMs: () => 0, log: SILENT, metrics: openMetrics() };
  const opened = openForwarder({ upstreams, ...fixed, ...more });
  t.after(() => opened.close());
  return opened;
}

export async function outcome(from: Forwarder, transport: "udp" | "tcp" = "udp"): Promise<string> {
  const given = await from.forward(ASKED, transport);
  if (given.kind === "failed") return given.reason;
  assert.equal(decode(given.bytes).id, 0x1234, "the reply has the client's id");
  return answersOf(given.bytes).join(" ") || decode(given.bytes).rcode;
}

/** How long what a server is asked out of turn is waited for. */
export const PROBE_MS = 2000;
export const ONLY_HERE = { address: "192.0.2.7" };

export function states(from: Forwarder): string {
  return from
    .stats()
    .upstreams.map(({ state }) => state)
    .join(" ");
}

/** Three names, each of which the first server is late with. */
export async function missThrice(t: TestContext, from: Forwarder, first: FakeUpstream): Promise<void> {
  for (const round of [1, 2, 3]) {
    const told = from.forward(another(), "udp");
    await until(() => first.seen.length === round);
    t.mock.timers.tick(TIMES.hedgeMs);
    await told;
  }
}

/** A different name each time, so that nothing is remembered or shared. */
export function another(): Buffer {
  names += 1;
  return query(`host-${names}.example.com`, "A");
}
let names = 0;

export async function openDripping(t: TestContext): Promise<HostPort> {
  const udp = createSocket("udp4");
  udp.bind(0, "127.0.0.1");
  await once(udp, "listening");
  const { port } = udp.address();
  udp.on("message", (bytes, from) => udp.send(reply(bytes, { truncated: true }), from.port, from.address));
  const tcp = createServer((socket) => {
    socket.setNoDelay(true);
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk) => {
      const whole = frame(reply(chunk.subarray(2), { address: "192.0.2.8" }));
      for (const byte of whole) socket.write(Buffer.of(byte));
    });
  });
  tcp.listen(port, "127.0.0.1");
  await once(tcp, "listening");
  t.after(() => {
    udp.close();
    tcp.close();
  });
  return { host: "127.0.0.1", port };
}

/** A server over UDP that answers when it is told to. */
export interface SlowUpstream extends HostPort {
  /** Queries that came. */
  readonly seen: number;
  /** The query that came last. */
  query(): Buffer;
  release(): void;
}

/** @param came  told of each query: how to let it be answered, and the port it came from */
export async function openSlow(
  t: TestContext,
  came: (release: () => void, port: number) => void = () => {},
): Promise<SlowUpstream> {
  const socket = createSocket("udp4");
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  t.after(() => socket.close());
  const waiting: (() => void)[] = [];
  const queries: Buffer[] = [];
  const release = (): void => {
    for (const answer of waiting.splice(0)) answer();
  };
  socket.on("message", (bytes, from) => {
    queries.push(bytes);
    waiting.push(() => socket.send(reply(bytes, { address: "192.0.2.9" }), from.port, from.address));
    came(release, from.port);
  });
  return {
    host: "127.0.0.1",
    port: socket.address().port,
    get seen() {
      return queries.length;
    },
    query: () => queries.at(-1) ?? assert.fail("no query came"),
    release,
  };
}
