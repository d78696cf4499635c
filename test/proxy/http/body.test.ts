// Body: kept while it is short, sent from the start to whoever comes next.

import assert from "node:assert/strict";
import { PassThrough, Writable } from "node:stream";
import { test } from "node:test";

import { LIMITS } from "../../../src/model/limits.ts";
import { RequestBody } from "../../../src/proxy/http/body.ts";
import type { BodySink } from "../../../src/proxy/http/forwarder.ts";
import { until } from "../../support/wait.ts";

class Sink extends Writable implements BodySink {
  text = "";
  trailers: readonly (readonly [string, string])[] = [];
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
  flushHeaders(): void {
    // A head is no matter of these tests.
  }
  addTrailers(trailers: readonly (readonly [string, string])[]): void {
    this.trailers = trailers;
  }
}

const NOTHING = { moved: () => undefined, sent: () => undefined };

/** A client's side, and what it is fed by. */
function request(trailers: readonly string[] = []): {
  readonly body: PassThrough;
  readonly trailers: readonly string[];
} {
  return { body: new PassThrough(), trailers };
}

test("sendTo: a second sink gets the body from its first byte, wherever the first one stopped", async () => {
  const from = request(["X-Sum", "1"]);
  const body = new RequestBody(from, false);
  const [first, second] = [new Sink(), new Sink()];
  from.body.write("one ");
  body.sendTo(first, NOTHING);
  await until(() => first.text === "one ");
  body.stop();
  from.body.end("two");
  body.sendTo(second, NOTHING);
  await until(() => second.writableFinished);
  assert.equal(second.text, "one two");
  assert.deepEqual(second.trailers, [["X-Sum", "1"]]);
  assert.equal(first.text, "one ");

  const third = new Sink();
  body.sendTo(third, NOTHING);
  await until(() => third.writableFinished);
  assert.equal(third.text, "one two");
});

test("sendTo: a body that is gathered leaves in one piece, once all of it is here, to each sink", async () => {
  const from = request();
  const body = new RequestBody(from, true);
  const writes: string[] = [];
  class Pieces extends Sink {
    override _write(chunk: Buffer, encoding: string, done: () => void): void {
      writes.push(chunk.toString());
      super._write(chunk, encoding, done);
    }
    override flushHeaders(): void {
      writes.push("head");
    }
  }
  const [first, second] = [new Pieces(), new Pieces()];
  body.sendTo(first, NOTHING);
  from.body.write("one ");
  await until(() => body.bytesRead === 4);
  assert.deepEqual(writes, []);
  from.body.end("two");
  await until(() => first.writableFinished);
  body.sendTo(second, NOTHING);
  await until(() => second.writableFinished);
  assert.deepEqual(writes, ["one two", "one two"]);
});

test("isKept: until the body outgrows the bound", async () => {
  const from = request();
  const body = new RequestBody(from, false);
  const sink = new Sink();
  body.sendTo(sink, NOTHING);
  from.body.write("x".repeat(LIMITS.httpReplayBytes));
  await until(() => sink.text.length === LIMITS.httpReplayBytes);
  assert.equal(body.isKept, true);
  from.body.write("x");
  await until(() => sink.text.length > LIMITS.httpReplayBytes);
  assert.equal(body.isKept, false);
  assert.equal(body.bytesRead, LIMITS.httpReplayBytes + 1);
});

test("sendTo: tells of progress and of the end, and whose turn it is in between", async () => {
  const from = request();
  const body = new RequestBody(from, false);
  const told: string[] = [];
  assert.equal(body.awaitsClient, false);
  body.sendTo(new Sink(), { moved: () => told.push("moved"), sent: () => told.push("sent") });
  assert.equal(body.awaitsClient, true);
  from.body.write("x");
  await until(() => told.length === 1);
  from.body.end();
  await until(() => told.length === 2);
  assert.deepEqual(told, ["moved", "sent"]);
  assert.equal(body.hasEnded, true);
  assert.equal(body.awaitsClient, false);
});

test("discard: reads the rest and drops it", async () => {
  const from = request();
  const body = new RequestBody(from, false);
  body.discard();
  from.body.end("x".repeat(1_000_000));
  await until(() => from.body.readableEnded);
});
