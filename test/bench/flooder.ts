/**
 * Flooder: a program that opens links to a daemon and sends on all of them as fast as the daemon takes it.
 *
 *     node flooder.ts HOST PORT LINKS SECONDS LOCAL
 *
 * It reads the cluster's token from standard input, joins with a member for each link, says `joined`, and floods from
 * the next line on that it reads. Each link says a good hello, at an address of its own (LOCAL.10, LOCAL.11, ...), and
 * then what is well-formed and of no use, at the largest size allowed: deltas with a hole before them, digests of
 * owners nobody knows, requests for everything, pings. Every second link reads nothing of the answers. A link that the
 * daemon ends is opened anew. Frames are put on the wire as they are, masked with zeros, so that sending costs little
 * more than their encryption and the daemon is the slower side.
 *
 * A process of its own, so that whoever measures is not kept from its clock.
 *
 * Touches: sockets, timers.
 */

import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { connect as connectTls, type TLSSocket } from "node:tls";

import { base32, sha256 } from "../../src/base/bytes.ts";
import type { NodeId } from "../../src/model/ids.ts";
import { encode } from "../../src/gossip/codec.ts";
import { WIRE_VERSION, type Message } from "../../src/gossip/message.ts";
import { GOSSIP_ALPN, TLS_OPTIONS } from "../../src/mesh/secure.ts";
import { GOSSIP_PATH, SUBPROTOCOL } from "../../src/mesh/websocket.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { SEAL_BYTES } from "../../src/model/seal.ts";
import type { Credentials } from "../../src/trust/credentials.ts";

import { joinAs } from "./credentials.ts";

/** Before a link that was ended is opened again. */
const AGAIN_MS = 50;
/** Bytes of one write of small frames: many of them in one piece, as they come when a peer has gone mad. */
const SMALL_BYTES = 64 * 1024;

const [host = "", port = "", links = "", seconds = "", local = ""] = process.argv.slice(2);

/** A frame as a client puts it on the wire (RFC 6455 5.2); a mask of zeros leaves the bytes as they are. */
function wireOf(message: Message): Buffer {
  const payload = encode(message);
  const head = Buffer.alloc(payload.byteLength < 126 ? 6 : payload.byteLength < 65_536 ? 8 : 14);
  head[0] = 0x82;
  if (head.length === 6) head[1] = 0x80 | payload.byteLength;
  else if (head.length === 8) {
    head[1] = 0x80 | 126;
    head.writeUInt16BE(payload.byteLength, 2);
  } else {
    head[1] = 0x80 | 127;
    head.writeBigUInt64BE(BigInt(payload.byteLength), 2);
  }
  return Buffer.concat([head, payload]);
}

function idOf(text: string): string {
  return base32(sha256(text)).slice(0, 20);
}

function helloOf(index: number, id: NodeId): Message {
  const about = {
    kind: "hello",
    wire: WIRE_VERSION,
    id,
    name: `flooder-${index}`,
  } as const;
  const where = { host: "127.0.0.1", port: 9, complete: true, wanted: true, digest: [] } as const;
  return { ...about, ...where, incarnation: 1, nonce: index + 1 };
}

function floodOf(owner: NodeId): readonly Buffer[] {
  const from = 1e9;
  const writes = Array.from({ length: LIMITS.entriesPerOwner }, (_, at) => {
    return { key: `key/${String(at).padStart(16, "0")}`, version: from + at + 1, body: null };
  });
  // No seal is looked at before the hole is.
  const seal = randomBytes(SEAL_BYTES);
  const holed = { owner, incarnation: 1, floor: 0, from, to: from + writes.length, writes, seal };
  const unknown = Array.from({ length: LIMITS.ownersMax }, (_, at) => {
    return { owner: idOf(`nobody ${at}`), incarnation: 1, version: 1, deadAt: null };
  });
  const ping = wireOf({ kind: "ping", sequence: 1, suspected: null });
  const pings = Buffer.concat(Array.from({ length: Math.floor(SMALL_BYTES / ping.length) }, () => ping));
  return [
    wireOf({ kind: "delta", deltas: [holed], until: null, acknowledge: true }),
    wireOf({ kind: "digest", digest: unknown, scope: { kind: "all" }, wanted: true }),
    pings,
    wireOf({ kind: "digest", digest: [], scope: { kind: "all" }, wanted: true }),
    wireOf({ kind: "announce", digest: unknown }),
    wireOf({ kind: "compare", sum: 1 }),
  ];
}

/** Opens one link, floods it while it lives, and begins again when it has ended. */
function flood(index: number, credentials: Credentials): void {
  const wires = floodOf(credentials.id);
  const hello = wireOf(helloOf(index, credentials.id));
  const open = (): void => {
    const socket = dial(`${local}.${10 + index}`, credentials);
    socket.once("close", () => setTimeout(open, AGAIN_MS));
    socket.write(
      [
        `GET ${GOSSIP_PATH} HTTP/1.1`,
        "Host: mesh",
        "Connection: Upgrade",
        "Upgrade: websocket",
        `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
        "Sec-WebSocket-Version: 13",
        `Sec-WebSocket-Protocol: ${SUBPROTOCOL}`,
        "\r\n",
      ].join("\r\n"),
    );
    socket.once("data", () => {
      if (index % 2 === 1) socket.pause();
      else socket.resume();
      socket.write(hello);
      keepFull(socket, wires);
    });
  };
  open();
}

function dial(localAddress: string, credentials: Credentials): TLSSocket {
  const below = connect({ host, port: Number(port), localAddress });
  const { key, chain: cert } = credentials.material();
  const socket = connectTls({ ...TLS_OPTIONS, socket: below, key, cert, ALPNProtocols: [GOSSIP_ALPN] });
  // Whatever the daemon does with the link, the next one comes.
  below.on("error", () => socket.destroy());
  socket.on("error", () => undefined);
  return socket;
}

function keepFull(socket: TLSSocket, wires: readonly Buffer[]): void {
  let at = 0;
  const write = (): void => {
    while (!socket.destroyed && socket.writable) {
      const wire = wires[at % wires.length] ?? Buffer.alloc(0);
      at += 1;
      if (!socket.write(wire)) return;
    }
  };
  socket.on("drain", write);
  write();
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const token = (await lines.next()).value ?? "";
const daemon = { host, port: Number(port) };
const members: Credentials[] = [];
// One after the other: a daemon takes only so many requests to join from one address at once.
while (members.length < Number(links)) members.push(await joinAs(`flooder-${members.length}`, daemon, token));
process.stdout.write("joined\n");
await lines.next();
for (const [index, credentials] of members.entries()) flood(index, credentials);
setTimeout(() => process.exit(0), Number(seconds) * 1000);
