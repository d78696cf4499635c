// The far end of ways for datagrams: its flows are counted, and those of a stream that wants too many give way.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { DatagramDesk } from "../../src/mesh/datagram-desk.ts";
import { encodeFrame, FrameReader } from "../../src/mesh/datagram-frames.ts";
import { openTcp, openTcpServer } from "../support/tcp.ts";
import { openUdp } from "../support/udp.ts";
import { until } from "../support/wait.ts";

const NOTHING = Buffer.alloc(0);

function openDesk(
  flowsMax = { perStream: 10, all: 10 },
  dropped: () => void = () => undefined,
): DatagramDesk {
  return new DatagramDesk({ dropped, flowsMax });
}

/** A connection that a desk serves, as its near end sees it. */
async function openAt(t: TestContext, desk: DatagramDesk, replicaPort: number) {
  const door = await openTcpServer(t, (socket) => {
    socket.on("error", () => undefined);
    desk.serve(socket, NOTHING, { host: "127.0.0.1", port: replicaPort });
  });
  const { socket } = await openTcp(t, door.port);
  const reader = new FrameReader();
  const heard: string[] = [];
  socket.on("data", (chunk: Buffer) => {
    reader.read(chunk, ({ kind, flow, payload }) =>
      heard.push(`${kind} ${flow} ${payload.toString()}`.trim()),
    );
  });
  const send = (flow: number): void => void socket.write(encodeFrame("datagram", flow, Buffer.from("x")));
  return { socket, heard, send, end: (flow: number) => socket.write(encodeFrame("end", flow)) };
}

test("datagram desk: past the bound of a stream the flow silent for longest gives way, and is told so", async (t) => {
  const replica = await openUdp(t, { answer: () => "y" });
  const desk = openDesk({ perStream: 2, all: 10 });
  const near = await openAt(t, desk, replica.port);
  for (const flow of [1, 2]) {
    near.send(flow);
    await until(() => near.heard.includes(`datagram ${flow} y`));
  }
  near.send(1);
  await until(() => replica.received.length === 3);
  near.send(3);
  await until(() => near.heard.includes("datagram 3 y"));
  assert.ok(near.heard.includes("end 2"));
  assert.ok(!near.heard.includes("end 1"));
  assert.equal(desk.flowCount, 2);
});

test("datagram desk: past the bound of all streams a new flow ends at once; another's end makes room", async (t) => {
  const replica = await openUdp(t, { answer: () => "y" });
  const desk = openDesk({ perStream: 10, all: 1 });
  const one = await openAt(t, desk, replica.port);
  const other = await openAt(t, desk, replica.port);
  one.send(1);
  await until(() => one.heard.includes("datagram 1 y"));
  other.send(1);
  await until(() => other.heard.includes("end 1"));
  one.end(1);
  await until(() => desk.flowCount === 0);
  other.send(2);
  await until(() => other.heard.includes("datagram 2 y"));
});

test("datagram desk: a connection that ends takes its flows with it", async (t) => {
  const replica = await openUdp(t, { answer: () => "y" });
  const desk = openDesk();
  const near = await openAt(t, desk, replica.port);
  near.send(1);
  await until(() => near.heard.length === 1);
  assert.equal(desk.flowCount, 1);
  near.socket.destroy();
  await until(() => desk.flowCount === 0);
});

test("datagram desk: what a near end does not read is dropped and counted, not kept", async (t) => {
  const replica = await openUdp(t, { answer: () => "y".repeat(60_000) });
  let dropped = 0;
  const desk = openDesk({ perStream: 10, all: 10 }, () => (dropped += 1));
  const near = await openAt(t, desk, replica.port);
  near.socket.pause();
  await until(
    () => {
      near.send(1);
      return dropped > 0;
    },
    { everyMs: 1 },
  );
  near.socket.resume();
  await until(() => {
    near.send(2);
    return near.heard.some((text) => text.startsWith("datagram 2"));
  });
});
