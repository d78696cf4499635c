// A member that is none: it joined for real and speaks the wire as a daemon does, but keeps only those rules that a
// test tells it.

import { randomInt } from "node:crypto";
import { once } from "node:events";
import type { TLSSocket } from "node:tls";

import { WebSocket } from "ws";

import type { TokenReport } from "../../src/admin/contract-trust.ts";
import { meshTrustOf } from "../../src/daemon/mesh.ts";
import { decode, encode } from "../../src/gossip/codec.ts";
import { WIRE_VERSION, type Delta, type Hello, type Message } from "../../src/gossip/message.ts";
import { openDialler } from "../../src/mesh/dial.ts";
import { GOSSIP_ALPN, type MeshProtocol } from "../../src/mesh/secure.ts";
import { GOSSIP_PATH, SUBPROTOCOL } from "../../src/mesh/websocket.ts";
import type { Role } from "../../src/model/credential.ts";
import { CERTIFICATE_KEY } from "../../src/model/seal.ts";
import type { Credentials } from "../../src/trust/credentials.ts";
import { joinCluster } from "../../src/trust/joining.ts";
import { openIdentity } from "../../src/trust/keyfile.ts";
import { adopt, foundCluster } from "../../src/trust/membership.ts";
import { parseToken } from "../../src/trust/token.ts";
import { folderFor, type DaemonUnderTest, type Ending } from "../support/daemons.ts";
import { within } from "../support/wait.ts";

const DIAL_MS = 15_000;

/** An open link to a daemon. */
export interface FakeMember {
  readonly name: string;
  readonly id: string;
  readonly credentials: Credentials;
  /** What it got so far. */
  readonly received: readonly Message[];
  readonly isOpen: () => boolean;
  /** Sends a message, or raw bytes; text goes as a text frame. */
  readonly send: (message: Message | Uint8Array | string) => void;
  /** Writes to its own log, seals it, and sends what was written; its certificate goes before its first words. */
  readonly publish: (entries: readonly (readonly [key: string, body: string])[]) => Delta;
}

/** Joins a daemon's cluster as a new node. */
export async function newMember(
  t: Ending,
  host: DaemonUnderTest,
  { name, role = "worker" }: { readonly name: string; readonly role?: Role },
): Promise<Credentials> {
  const dataDir = folderFor(t);
  const identity = await openIdentity(dataDir);
  const { token: text } = (await host.get(`/api/v1/tokens/${role}`)) as TokenReport;
  const token = parseToken(text);
  if (!token.ok) throw token.failure;
  const now = (): number => Date.now();
  const seeds = [{ host: host.address, port: 7650 }];
  const joined = await joinCluster({ seeds, token: token.value, identity, name, now });
  const saveFailed = (): void => undefined;
  return await adopt({ dataDir, identity, now, saveFailed }, joined);
}

/** Makes a cluster of one node that is no daemon. */
export async function newCluster(t: Ending): Promise<Credentials> {
  const dataDir = folderFor(t);
  const identity = await openIdentity(dataDir);
  return await foundCluster({ dataDir, identity, now: () => Date.now(), saveFailed: () => undefined });
}

/** Opens a connection to a daemon's mesh port as a member. */
export async function connectAs(
  t: Ending,
  credentials: Credentials,
  { address, alpn }: { readonly address: string; readonly alpn: MeshProtocol },
): Promise<TLSSocket> {
  const dial = openDialler(meshTrustOf(credentials), { tell: () => undefined });
  const { socket } = await dial({ host: address, port: 7650 }, { alpn, deadlineMs: DIAL_MS });
  socket.on("error", () => undefined);
  t.after(() => socket.destroy());
  return socket;
}

/**
 * Joins a daemon's cluster, opens a link to it and says hello.
 *
 * @param over  fields of the hello that differ from a good one; `as` a member that joined before
 * @returns a member that answers pings, and nothing else: it never says that it has applied anything
 */
export async function joinAs(
  t: Ending,
  name: string,
  host: DaemonUnderTest,
  { as, ...over }: Partial<Hello> & { readonly as?: Credentials } = {},
): Promise<FakeMember> {
  const credentials = as ?? (await newMember(t, host, { name }));
  const secure = await connectAs(t, credentials, { address: host.address, alpn: GOSSIP_ALPN });
  const socket = new WebSocket(`ws://${host.address}:7650${GOSSIP_PATH}`, [SUBPROTOCOL], {
    createConnection: () => secure,
  });
  const received: Message[] = [];
  const send: FakeMember["send"] = (message) => {
    if (socket.readyState !== WebSocket.OPEN) return;
    const isRaw = typeof message === "string" || message instanceof Uint8Array;
    socket.send(isRaw ? message : encode(message));
  };
  // The daemon may end the link in any way; tests look at what it did, not at how that felt.
  socket.on("error", () => undefined);
  socket.on("message", (frame: Buffer) => {
    const decoded = decode(frame);
    if (!decoded.ok) return;
    received.push(decoded.value);
    if (decoded.value.kind === "ping") send({ kind: "pong", sequence: decoded.value.sequence });
  });
  t.after(() => socket.terminate());
  await within(once(socket, "open"), "the link is open");
  send({
    kind: "hello",
    wire: WIRE_VERSION,
    id: credentials.id,
    name,
    incarnation: 1,
    nonce: randomInt(2 ** 40),
    // Nothing listens there, so nobody gets far who dials it back.
    host: "127.0.0.1",
    port: 9,
    complete: true,
    wanted: true,
    digest: [],
    ...over,
  });
  const isOpen = (): boolean => socket.readyState === WebSocket.OPEN;
  return {
    name,
    id: credentials.id,
    credentials,
    received,
    send,
    isOpen,
    publish: publisher(credentials, send),
  };
}

function publisher(credentials: Credentials, send: FakeMember["send"]): FakeMember["publish"] {
  const { seals, id: owner } = credentials;
  const sum = seals.emptySum();
  const held = new Map<string, { readonly version: number; readonly body: string }>();
  let version = 0;
  return (entries) => {
    const from = version;
    const certificate = [CERTIFICATE_KEY, seals.certificate] as const;
    const writes = [...(version === 0 ? [certificate] : []), ...entries].map(([key, body]) => {
      version += 1;
      const before = held.get(key);
      if (before !== undefined) sum.remove(key, before.version, before.body);
      sum.add(key, version, body);
      held.set(key, { version, body });
      return { key, version, body };
    });
    const head = { owner, incarnation: 1, version };
    const seal = seals.seal(head, sum);
    const delta: Delta = { owner, incarnation: 1, floor: 0, from, to: version, writes, seal };
    send({ kind: "delta", deltas: [delta], until: null, acknowledge: false });
    return delta;
  };
}
