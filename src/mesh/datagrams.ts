/**
 * Datagrams: the near end of a way for datagrams to a replica of another host.
 *
 * It is asked for as a stream is, through the same daemons and under the same rules, and carries frames of many flows.
 * A daemon that is too old for it answers 404, which is a failed connect as any other.
 *
 * Touches: the streams it opens.
 */

import type { Socket } from "node:net";

import { textOf } from "../base/failure.ts";
import { DATAGRAM_BYTES_MAX, type DatagramReceiver, type DatagramWay } from "../model/datagram.ts";

import { FrameReader } from "./datagram-frames.ts";
import { FrameWriter } from "./frame-writer.ts";
import type { Ask, OpenStream, StreamPeer } from "./stream.ts";

/**
 * Opens a way for datagrams to a replica through a member's daemon. Rejects as OpenStream does.
 *
 * @param receiver  hears what comes back, from when this settles
 */
export type OpenDatagrams = (peer: StreamPeer, ask: Ask, receiver: DatagramReceiver) => Promise<DatagramWay>;

/** Makes what opens them. */
export function openDatagrams(open: OpenStream): OpenDatagrams {
  return async (peer, ask, receiver) => {
    const socket = await open(peer, { ...ask, carries: "datagrams" });
    return wayOver(socket, receiver);
  };
}

function wayOver(socket: Socket, receiver: DatagramReceiver): DatagramWay {
  const writer = new FrameWriter(socket);
  const reader = new FrameReader();
  let isOver = false;
  let why = "the other end closed it";
  socket.on("error", (thrown) => (why = textOf(thrown)));
  socket.on("end", () => socket.destroy());
  socket.on("close", () => {
    if (isOver) return;
    isOver = true;
    receiver.broke(why);
  });
  socket.on("data", (chunk: Buffer) => {
    const isRead = reader.read(chunk, ({ kind, flow, payload }) => {
      if (isOver) return;
      if (kind === "datagram") receiver.answered(flow, payload);
      else if (kind === "refused") receiver.refused(flow);
      else receiver.ended(flow);
    });
    if (isRead) return;
    why = "what came is no frame of datagrams";
    socket.destroy();
  });
  return {
    send: (flow, payload) =>
      !isOver && payload.length <= DATAGRAM_BYTES_MAX && writer.write("datagram", flow, payload),
    end(flow) {
      if (!isOver) writer.write("end", flow);
    },
    close() {
      isOver = true;
      socket.destroy();
    },
  };
}
