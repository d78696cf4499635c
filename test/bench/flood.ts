/**
 * Flood: what a daemon holds, and how late it answers, while members send it as fast as they can.
 *
 * A daemon that knows a thousand replicas gets 1 and then 40 links that flood it (flooder.ts, a process of its own),
 * while one honest member pings it ten times a second, as a member's failure detection does twice a second. A pong that
 * takes longer than 500 ms would count as a miss.
 *
 * Touches: child processes, links, timers.
 */

import { spawn, type ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";

import { WebSocket } from "ws";

import type { EventLine } from "../../src/admin/contract.ts";
import { meshTrustOf } from "../../src/daemon/mesh.ts";
import { decode, encode } from "../../src/gossip/codec.ts";
import { WIRE_VERSION, type Message } from "../../src/gossip/message.ts";
import { openDialler } from "../../src/mesh/dial.ts";
import { GOSSIP_ALPN } from "../../src/mesh/secure.ts";
import { GOSSIP_PATH, SUBPROTOCOL } from "../../src/mesh/websocket.ts";
import { untold, type OnStep } from "../support/steps.ts";
import { until } from "../support/wait.ts";

import { joinAs } from "./credentials.ts";
import { startDaemon, type MeasuredDaemon } from "./daemon.ts";
import { joinMembers, openMember, type Member } from "./members.ts";

const ADDRESS = "127.0.46.1";
const FLOODERS = "127.0.47";
const FLOODER = fileURLToPath(new URL("./flooder.ts", import.meta.url));
const SECONDS = 10;
const PING_EVERY_MS = 100;
const SAMPLE_EVERY_MS = 20;
/** Members that hold what the flooders ask for, each with so many replicas. */
const MEMBERS = 4;
const SERVICES = 250;
const HONEST = "honest";
const DIAL_MS = 5000;

/** One flood. Resident memory in megabytes (10^6 bytes): the most during it, above that right before it. */
export interface FloodFigures {
  readonly links: number;
  readonly seconds: number;
  readonly rssBeforeMb: number;
  readonly rssGrowthMb: number;
  /** In the two seconds before: what this machine alone is good for. */
  readonly calmPongMs: number;
  readonly slowestPongMs: number;
  readonly medianPongMs: number;
  readonly pongs: number;
  /** Pings of the honest member without an answer by the end of the flood. */
  readonly unanswered: number;
  /** Whether the daemon thought the honest member gone. */
  readonly suspected: boolean;
  readonly framesHandled: number;
  readonly bytesHandled: number;
}

/** Floods a fresh daemon over each number of links. */
export async function measureFlood(onStep: OnStep = untold): Promise<readonly FloodFigures[]> {
  const figures: FloodFigures[] = [];
  for (const links of [1, 40]) {
    onStep(`flooding links: ${links}`);
    figures.push(await floodOver(links));
  }
  return figures;
}

async function floodOver(links: number): Promise<FloodFigures> {
  const daemon = await startDaemon(ADDRESS, { config: { log: { level: "error" } } });
  const members: Member[] = [];
  try {
    const joined = await joinMembers(daemon, MEMBERS);
    members.push(...joined.map((plan) => openMember({ ...plan, serviceCount: SERVICES })));
    const isLearnt = async (): Promise<boolean> => {
      const { view } = (await daemon.get("/api/v1/status")) as { view: { ready: number } };
      return view.ready === MEMBERS * SERVICES;
    };
    await until(isLearnt, { deadlineMs: 30_000, what: "the replicas are learnt" });
    const honest = await openHonest(daemon);
    await until(() => honest.tookMs.length >= 20, { what: "pongs come" });
    const calmPongMs = Math.max(...honest.tookMs.splice(0));
    return { ...(await underFlood({ links, daemon, honest })), calmPongMs };
  } finally {
    for (const member of members) member.close();
    await daemon.end();
  }
}

async function underFlood(given: {
  readonly links: number;
  readonly daemon: MeasuredDaemon;
  readonly honest: Honest;
}): Promise<Omit<FloodFigures, "calmPongMs">> {
  const { links, daemon, honest } = given;
  const flooder = await startFlooder(links, await daemon.token());
  const before = await handled();
  const rssBefore = daemon.rssBytes();
  let rssMost = rssBefore;
  const sampler = setInterval(() => (rssMost = Math.max(rssMost, daemon.rssBytes())), SAMPLE_EVERY_MS);
  flooder.stdin.end("go\n");
  try {
    await once(flooder, "exit");
  } finally {
    flooder.kill("SIGKILL");
    clearInterval(sampler);
  }
  const events = (await daemon.get("/api/v1/events")) as readonly EventLine[];
  const unanswered = honest.close();
  const after = await handled();
  const sorted = honest.tookMs.toSorted((one, other) => one - other);
  return {
    links,
    seconds: SECONDS,
    rssBeforeMb: rssBefore / 1e6,
    rssGrowthMb: (rssMost - rssBefore) / 1e6,
    slowestPongMs: sorted.at(-1) ?? Number.NaN,
    medianPongMs: sorted[Math.floor(sorted.length / 2)] ?? Number.NaN,
    pongs: sorted.length,
    unanswered,
    suspected: events.some(({ kind, subject }) => kind === "member.suspect" && subject === HONEST),
    framesHandled: after.frames - before.frames,
    bytesHandled: after.bytes - before.bytes,
  };
}

/** Starts the flooder and waits until all its members have joined; it floods when it is told to. */
async function startFlooder(
  links: number,
  token: string,
): Promise<ChildProcessByStdio<Writable, Readable, null>> {
  const args = [FLOODER, ADDRESS, "7650", String(links), String(SECONDS), FLOODERS];
  const flooder = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
  flooder.stdin.write(`${token}\n`);
  const exited = once(flooder, "exit").then(() => "ended");
  const first = await Promise.race([once(flooder.stdout, "data"), exited]);
  if (first === "ended") throw new Error("the flooder ended before its members had joined");
  return flooder;
}

/** Frames and bytes of gossip that the daemon has taken so far. */
async function handled(): Promise<{ readonly frames: number; readonly bytes: number }> {
  const response = await fetch(`http://${ADDRESS}:7651/metrics`);
  const text = await response.text();
  const sumOf = (name: string): number => {
    const lines = text.matchAll(new RegExp(`^skein_${name}\\{.*direction="in".*\\} (\\S+)$`, "gm"));
    return Array.from(lines, ([, value]) => Number(value)).reduce((sum, value) => sum + value, 0);
  };
  return { frames: sumOf("gossip_messages_total"), bytes: sumOf("gossip_bytes_total") };
}

/** A member that pings and answers pings. */
interface Honest {
  /** How long each pong took, in the order in which they came. */
  readonly tookMs: number[];
  /** Ends it. @returns how many pings had no answer yet */
  readonly close: () => number;
}

async function openHonest({ mesh, token }: MeasuredDaemon): Promise<Honest> {
  const credentials = await joinAs(HONEST, mesh, await token());
  const dial = openDialler(meshTrustOf(credentials), { tell: () => undefined });
  const secure = await dial(mesh, { alpn: GOSSIP_ALPN, deadlineMs: DIAL_MS });
  const socket = new WebSocket(`ws://mesh${GOSSIP_PATH}`, [SUBPROTOCOL], {
    createConnection: () => secure.socket,
  });
  const send = (message: Message): void => {
    if (socket.readyState === WebSocket.OPEN) socket.send(encode(message));
  };
  const sentAtMs = new Map<number, number>();
  const tookMs: number[] = [];
  // A link that the daemon ends shows as pings without an answer.
  socket.on("error", () => undefined);
  socket.on("message", (frame: Buffer) => {
    const decoded = decode(frame);
    if (!decoded.ok) return;
    const message = decoded.value;
    if (message.kind === "ping") send({ kind: "pong", sequence: message.sequence });
    if (message.kind !== "pong") return;
    tookMs.push(performance.now() - (sentAtMs.get(message.sequence) ?? Number.NaN));
    sentAtMs.delete(message.sequence);
  });
  await once(socket, "open");
  const about = {
    kind: "hello",
    wire: WIRE_VERSION,
    id: credentials.id,
    name: HONEST,
  } as const;
  const where = { host: "127.0.0.1", port: 9, complete: true, wanted: false, digest: [] } as const;
  send({ ...about, ...where, incarnation: 1, nonce: 1 });
  let sequence = 0;
  const timer = setInterval(() => {
    sequence += 1;
    sentAtMs.set(sequence, performance.now());
    send({ kind: "ping", sequence, suspected: null });
  }, PING_EVERY_MS);
  return {
    tookMs,
    close() {
      clearInterval(timer);
      socket.terminate();
      return Array.from(sentAtMs.values()).filter((atMs) => performance.now() - atMs > 500).length;
    },
  };
}

if (import.meta.main) console.log(JSON.stringify(await measureFlood(), null, 2));
