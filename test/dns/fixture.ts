// What the DNS tests share: views to plan zones from, a client that asks over real sockets, upstreams that misbehave.

import { execFile } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { AddressInfo } from "node:net";

import packet, { type DecodedPacket, type Packet } from "dns-packet";

import type { HostPort } from "../../src/base/ip.ts";
import { seededRandom } from "../../src/base/random.ts";
import type { Draw } from "../../src/dns/names/answer.ts";
import { TCP_BYTES_MAX } from "../../src/dns/encode.ts";
import type { Forwarder } from "../../src/dns/forward/forward.ts";
import { decodeQuery } from "../../src/dns/packet.ts";
import type { Query } from "../../src/dns/query.ts";
import type { Member } from "../../src/model/member.ts";
import type { ServicePort } from "../../src/model/service.ts";
import type { Replica, Service, View } from "../../src/model/view.ts";
import { plainMember, plainReplica, plainService } from "../support/view.ts";
import { within } from "../support/wait.ts";

export const OPTIONS = {
  domain: "skein.internal",
  ttlSeconds: 5,
  reverseRanges: ["10.96.0.0/12"],
  software: "skein test",
};

const PORT_80: ServicePort = { name: "web", port: 80, target: 80, protocol: "tcp" };

export function member(name: string, more: Partial<Member> = {}): Member {
  return plainMember(`id-${name}`, name, more);
}

export function replica(name: string, address: string, more: Partial<Replica> = {}): Replica {
  const here = { name, node: "id-host-1", address, ports: [PORT_80] };
  return plainReplica(`${name}-${address}`, { ...here, ...more });
}

export function service(network: string, name: string, more: Partial<Service> = {}): Service {
  return plainService(network, name, { ports: [PORT_80], ...more });
}

export function view(services: readonly Service[], more: Partial<View> = {}): View {
  return {
    version: 7,
    complete: true,
    self: "id-host-1",
    members: [member("host-1", { self: true })],
    services: [...services].sort((one, other) => (one.key < other.key ? -1 : 1)),
    networks: [],
    problems: [],
    ...more,
  };
}

/** `count` replicas `<name>-1`, ... with slots, at 10.`net`.x.y. */
export function replicas(name: string, count: number, net: number): Replica[] {
  return Array.from({ length: count }, (_, index) =>
    replica(`${name}-${index + 1}`, `10.${net}.${index >> 8}.${index & 255}`, { slot: index + 1 }),
  );
}

/** How an answer over TCP is put together, the same each time. */
export function drawOf(seed: number): Draw {
  return { random: seededRandom(seed), sizeBytesMax: TCP_BYTES_MAX };
}

/** A query as dns-packet encodes it. */
export function query(name: string, type: string, more: Partial<Packet> = {}): Buffer {
  const question = { name, type: type as "A", class: "IN" as const };
  return packet.encode({
    type: "query",
    id: 0x1234,
    flags: packet.RECURSION_DESIRED,
    questions: [question],
    ...more,
  });
}

/** What the server reads in a query; throws where it reads none. */
export function understood(bytes: Buffer): Query {
  const decoded = decodeQuery(bytes);
  if (decoded.kind !== "query") throw new Error(`a query is ${decoded.kind}`);
  return decoded.query;
}

/** An OPT for `additionals`. */
export function opt(more: Record<string, unknown> = {}): NonNullable<Packet["additionals"]>[number] {
  return {
    type: "OPT",
    name: ".",
    udpPayloadSize: 4096,
    extendedRcode: 0,
    ednsVersion: 0,
    flags: 0,
    flag_do: false,
    options: [],
    ...more,
  };
}

/** A forwarder that knows at once. */
export function upstream(answer: (asked: Buffer) => Buffer): Forwarder {
  return {
    upstreams: [],
    hasUpstreams: true,
    remembered: () => null,
    isEcho: () => false,
    forward: (asked) => Promise.resolve({ kind: "reply", bytes: answer(asked), rcodeCode: 0 }),
    setUpstreams: () => {},
    watchLoops: () => {},
    stats: () => ({ underWay: 0, rememberedEntries: 0, rememberedBytes: 0, upstreams: [] }),
    close: () => {},
  };
}

/** Decodes by the oracle; its types leave out what it does give. */
export function decode(bytes: Buffer): DecodedPacket & { readonly rcode: string; readonly id: number } {
  return packet.decode(bytes) as DecodedPacket & { readonly rcode: string; readonly id: number };
}

/** The addresses in the answers; what is no address is left out. */
export function answersOf(bytes: Buffer): string[] {
  const records = decode(bytes).answers ?? [];
  return records.flatMap((record) => (record.type === "A" || record.type === "AAAA" ? [record.data] : []));
}

/** Sends datagrams from one socket and resolves to the answers, in their order, once `count` came. */
export async function askUdp(to: HostPort, queries: readonly Buffer[], count = 1): Promise<Buffer[]> {
  const socket = createSocket(to.host.includes(":") ? "udp6" : "udp4");
  const answers: Buffer[] = [];
  const done = new Promise<void>((resolve) => {
    socket.on("message", (bytes) => {
      answers.push(bytes);
      if (answers.length === count) resolve();
    });
  });
  try {
    for (const bytes of queries) socket.send(bytes, to.port, to.host);
    await within(done, `${count} answers over udp, got ${answers.length}`);
    return answers;
  } finally {
    socket.close();
  }
}

/** Sends messages over one connection, ends it, and resolves to all answers when the other side has ended, too. */
export async function askTcp(to: HostPort, queries: readonly Buffer[]): Promise<Buffer[]> {
  const socket = connect({ host: to.host, port: to.port, allowHalfOpen: true });
  const chunks: Buffer[] = [];
  socket.on("data", (chunk) => chunks.push(chunk));
  socket.end(Buffer.concat(queries.map(frame)));
  await within(once(socket, "close"), "the end of a tcp connection");
  return unframe(Buffer.concat(chunks));
}

export function frame(message: Buffer): Buffer {
  const size = Buffer.alloc(2);
  size.writeUInt16BE(message.length);
  return Buffer.concat([size, message]);
}

export function unframe(stream: Buffer): Buffer[] {
  const messages: Buffer[] = [];
  for (let at = 0; at + 2 <= stream.length;) {
    const size = stream.readUInt16BE(at);
    messages.push(stream.subarray(at + 2, at + 2 + size));
    at += 2 + size;
  }
  return messages;
}

/** How a fake upstream answers a query: with messages (over UDP, each a datagram), or with none. */
export type Behaviour = (query: Buffer, transport: "udp" | "tcp") => readonly Buffer[];

export interface FakeUpstream extends HostPort {
  /** Queries that came, by transport. */
  readonly seen: ("udp" | "tcp")[];
  close(): Promise<void>;
}

/** A server on one loopback port, UDP and TCP, that answers as it is told. */
export async function openUpstream(behave: Behaviour): Promise<FakeUpstream> {
  const seen: ("udp" | "tcp")[] = [];
  for (;;) {
    const udp = createSocket("udp4");
    udp.bind(0, "127.0.0.1");
    await once(udp, "listening");
    const { port } = udp.address();
    const tcp = createServer((socket) => {
      socket.on("error", () => socket.destroy());
      socket.on("data", (chunk) => {
        seen.push("tcp");
        for (const message of behave(chunk.subarray(2), "tcp")) socket.write(frame(message));
      });
    });
    try {
      tcp.listen(port, "127.0.0.1");
      await once(tcp, "listening");
    } catch {
      // The system's choice for UDP is taken for TCP: let it choose again.
      udp.close();
      continue;
    }
    udp.on("message", (bytes, from) => {
      seen.push("udp");
      for (const message of behave(bytes, "udp")) udp.send(message, from.port, from.address);
    });
    const close = async (): Promise<void> => {
      udp.close();
      const closed = once(tcp, "close");
      tcp.close();
      await closed;
    };
    return { host: "127.0.0.1", port: (tcp.address() as AddressInfo).port, seen, close };
  }
}

/** An answer to a query in bytes: `address` for an A record, or an error. */
export function reply(to: Buffer, more: { address?: string; rcode?: number; truncated?: boolean }): Buffer {
  const asked = decode(to);
  const question = asked.questions?.[0];
  const bytes = packet.encode({
    type: "response",
    id: asked.id,
    flags: packet.RECURSION_AVAILABLE | (more.truncated === true ? packet.TRUNCATED_RESPONSE : 0),
    questions: asked.questions ?? [],
    answers:
      more.address === undefined || question === undefined
        ? []
        : [{ type: "A", name: question.name, ttl: 60, data: more.address }],
  });
  bytes.writeUInt8((bytes.readUInt8(3) & 0xf0) | (more.rcode ?? 0), 3);
  return bytes;
}

/** True where Knot's kdig is installed. */
export async function hasKdig(): Promise<boolean> {
  return await new Promise((resolve) => {
    execFile("kdig", ["--version"], (error) => resolve(error === null));
  });
}

/** Runs kdig against a server. */
export async function kdig(server: HostPort, args: readonly string[]): Promise<string> {
  const all = [`@${server.host}`, "-p", String(server.port), "+timeout=5", "+retry=0", ...args];
  return await new Promise((resolve, reject) => {
    execFile("kdig", all, { timeout: 20_000 }, (error, stdout) => {
      if (error === null) resolve(stdout);
      else reject(error);
    });
  });
}
