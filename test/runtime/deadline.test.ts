// Deadlines: they pass, they can be cleared, and a pause of the process is nobody else's fault.

import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";

import { outcomeWithin, startDeadline } from "../../src/runtime/deadline.ts";
import { openTcp, openTcpServer } from "../support/tcp.ts";
import { until } from "../support/wait.ts";

describe("deadline", () => {
  it("passes once, and not when it was cleared, be it at the last moment", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const passed: string[] = [];
    startDeadline(100, () => passed.push("kept"));
    const early = startDeadline(100, () => passed.push("cleared before it was due"));
    const late = startDeadline(100, () => passed.push("cleared when it was due"));
    early.clear();
    t.mock.timers.tick(99);
    assert.deepEqual(passed, []);
    t.mock.timers.tick(1);
    late.clear();
    await until(() => passed.length > 0);
    assert.deepEqual(passed, ["kept"]);
    late.clear();
  });

  it("what arrived while the process was paused is read before it passes", async (t) => {
    const order: string[] = [];
    const { port } = await openTcpServer(t, (socket) => {
      socket.once("data", () => {
        socket.write("answer");
        startDeadline(1, () => order.push("deadline"));
        // The pause: the answer is on its way, and nobody reads it before the timer is due.
        for (const start = performance.now(); performance.now() - start < 10;);
      });
    });
    const { socket } = await openTcp(t, port);
    socket.on("data", () => order.push("answer"));
    socket.write("question");
    await once(socket, "data");
    await until(() => order.length === 2);
    assert.deepEqual(order, ["answer", "deadline"]);
  });
});

describe("outcome within", () => {
  it("is what work came to, or that it failed, or that it was late; what fails later harms nobody", async () => {
    assert.deepEqual(await outcomeWithin(Promise.resolve(7), 60_000), { kind: "whole", value: 7 });
    const thrown = new Error("no");
    assert.deepEqual(await outcomeWithin(Promise.reject(thrown), 60_000), { kind: "failed", thrown });
    const { promise, reject } = Promise.withResolvers<never>();
    assert.deepEqual(await outcomeWithin(promise, 1), { kind: "late" });
    reject(new Error("too late"));
    await new Promise((resolve) => setImmediate(resolve));
  });
});
