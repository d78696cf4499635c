/**
 * Websocket: links over RFC 6455, by way of the ws library.
 *
 * WebSocket framing gives us whole messages, a closing handshake that tells goodbye from death, and a
 * protocol that existing tools can read. What ws leaves to its user is done here: `send` never blocks in ws,
 * so the lane is asked first; a stock ws compresses, follows redirects, takes 100 MiB messages, and reads on
 * whatever its reader does, so a valve stands between it and the socket. Pings are gossip's business, not the
 * WebSocket's: they carry more than an echo.
 *
 * Touches: sockets, timers. The listener hands over upgrade requests; dial.ts makes the connections.
 */

import type { IncomingMessage } from "node:http";

import { WebSocket, WebSocketServer } from "ws";

import { assert } from "../base/assert.ts";
import { Failure, systemCodeOf, textOf, type FailureCode } from "../base/failure.ts";
import { renderHostPort, unmapped, type HostPort } from "../base/ip.ts";
import type { Credential } from "../model/credential.ts";
import { LIMITS } from "../model/limits.ts";
import { nowMs } from "../runtime/clock.ts";

import { codeOfBroken, type DialMember } from "./dial.ts";
import type { Lane, Lanes } from "./lanes.ts";
import type { Link, LinkEnd, LinkReceiver, SendOutcome, WhenBehind } from "./link.ts";
import { GOSSIP_ALPN } from "./secure.ts";
import { REASON_HEADER, type Refusal, type Upgrade } from "./upgrade.ts";
import { Valve } from "./valve.ts";

/** Path of the upgrade request, and the one subprotocol there is: the version of the wire. */
export const GOSSIP_PATH = "/gossip";
export const SUBPROTOCOL = "skein.v1";

/** The whole opening handshake: a peer that is alive answers in milliseconds. */
export const HANDSHAKE_MS = 5000;

const OPTIONS = {
  perMessageDeflate: false,
  maxPayload: LIMITS.frameBytes,
  // The valve lets whole frames through, one at a time, and none that is a fragment.
  maxFragments: 1,
  maxBufferedChunks: 16,
  allowSynchronousEvents: true,
  // How long a peer may take to answer our goodbye before the socket is destroyed.
  closeTimeout: 1000,
  followRedirects: false,
} as const;

/** Close codes of RFC 6455 7.4.1. */
const GOODBYE = 1000;
const LEAVING = 1001;
const NO_CODE = 1005;
const NO_CLOSE_FRAME = 1006;
const NOT_BINARY = 1003;
const AGAINST_THE_RULES = 1008;

/**
 * Opens a link to a peer's mesh listener.
 *
 * @param options.id          the link's id, not used before in this process
 * @param options.deadlineMs  for connecting and the handshake together
 * @param options.lanes       those of all links of this daemon
 * @throws Failure `refused` when nothing listens there (and only then), `timeout`, `unreachable` when the
 *   connection fails in another way, `busy` when the peer is full, `not-allowed` or `invalid` when what
 *   answers says no or is none of us
 */
export async function dialLink(
  peer: HostPort,
  options: {
    readonly id: number;
    readonly deadlineMs: number;
    readonly lanes: Lanes;
    readonly dialMember: DialMember;
  },
): Promise<Link> {
  const startedMs = nowMs();
  const dialled = await options.dialMember(peer, { alpn: GOSSIP_ALPN, deadlineMs: options.deadlineMs });
  const { socket, credential } = dialled;
  const valve = new Valve(socket, { dialled: true });
  const leftMs = Math.max(1, Math.min(HANDSHAKE_MS, options.deadlineMs - (nowMs() - startedMs)));
  return new Promise((resolve, reject) => {
    // Not the peer's own host in the URL: a host told by others may be no URL at all, and nobody reads this
    // header.
    const webSocket = new WebSocket(`ws://mesh${GOSSIP_PATH}`, [SUBPROTOCOL], {
      ...OPTIONS,
      createConnection: () => valve,
    });
    let failure: Failure | null = null;
    const fail = (code: FailureCode, text: string): void => {
      failure ??= new Failure(code, `${renderHostPort(peer)} ${text}`);
      // Emits `error`, which rejects below.
      webSocket.terminate();
    };
    // Not ws's handshakeTimeout: it is an idle timeout, which a peer that sends a byte now and then never
    // meets.
    const timer = setTimeout(() => fail("timeout", `did not answer the handshake in ${leftMs} ms`), leftMs);
    webSocket.on("unexpected-response", (_request, response) => {
      const reason = response.headers[REASON_HEADER] ?? "no reason given";
      const status = response.statusCode ?? 0;
      fail(codeOfStatus(status), `answered ${status} to the handshake: ${String(reason).slice(0, 160)}`);
    });
    const broken = (thrown: Error): void => {
      clearTimeout(timer);
      socket.destroy();
      const text = `${renderHostPort(peer)} broke off the handshake: ${textOf(thrown)}`;
      reject(failure ?? new Failure(codeOfBroken(thrown), text, { cause: thrown }));
    };
    webSocket.once("error", broken);
    webSocket.once("open", () => {
      clearTimeout(timer);
      webSocket.off("error", broken);
      const about = { id: options.id, remote: peer, peer: credential, direction: "dialled" } as const;
      resolve(new WebSocketLink({ webSocket, valve, lanes: options.lanes }, about));
    });
  });
}

function codeOfStatus(status: number): FailureCode {
  if (status === 503) return "busy";
  return status === 401 || status === 403 ? "not-allowed" : "invalid";
}

/** Makes links of upgrade requests; the listener has one. */
export interface LinkAcceptor {
  /**
   * Answers an upgrade request to GOSSIP_PATH.
   *
   * @param about.id    the link's id, not used before in this process
   * @param about.peer  who asks
   * @returns the link, or why there is none: then the caller answers
   */
  accept(upgrade: Upgrade, about: Pick<Link, "id" | "peer">): Link | Refusal;
}

const NOTHING_EARLY = Buffer.alloc(0);

/** Opens a LinkAcceptor; it holds nothing that must be closed. */
export function openLinkAcceptor(lanes: Lanes): LinkAcceptor {
  const server = new WebSocketServer({ ...OPTIONS, noServer: true, clientTracking: false });
  // Invariant: ws calls back, or emits wsClientError, before handleUpgrade returns (there is no
  // verifyClient).
  let problem = "";
  server.on("wsClientError", (thrown) => {
    problem = textOf(thrown);
  });
  return {
    accept({ request, socket, head }, about) {
      if (!offers(request, SUBPROTOCOL)) {
        return { status: 400, reason: `expected the WebSocket subprotocol ${SUBPROTOCOL}` };
      }
      const remote = { host: unmapped(socket.remoteAddress ?? ""), port: socket.remotePort ?? 0 };
      let link: Link | null = null;
      problem = "the connection ended during the handshake";
      const valve = new Valve(socket, { dialled: false, early: head });
      server.handleUpgrade(request, valve, NOTHING_EARLY, (webSocket) => {
        link = new WebSocketLink({ webSocket, valve, lanes }, { ...about, remote, direction: "accepted" });
      });
      // Whoever answers now ends the connection in form, and reads what still comes.
      if (link === null) valve.hush();
      return link ?? { status: 400, reason: problem };
    },
  };
}

function offers(request: IncomingMessage, protocol: string): boolean {
  const offered = request.headers["sec-websocket-protocol"] ?? "";
  return offered.split(",").some((name) => name.trim() === protocol);
}

/** What a link is made of. */
interface Wire {
  readonly webSocket: WebSocket;
  readonly valve: Valve;
  readonly lanes: Lanes;
}

/** The link over an open WebSocket; must be made in the turn in which it opened. */
class WebSocketLink implements Link {
  readonly id: number;
  readonly remote: HostPort;
  readonly direction: "dialled" | "accepted";
  readonly peer: Credential;
  hasSpoken = false;
  readonly #webSocket: WebSocket;
  readonly #valve: Valve;
  readonly #lane: Lane;
  #receiver: LinkReceiver | null = null;
  /**
   * Why it ends, once that is decided: the first reason counts, what the library says later only follows from it.
   */
  #ending: LinkEnd | null = null;
  #hasEnded = false;

  constructor({ webSocket, valve, lanes }: Wire, about: Pick<Link, "id" | "remote" | "direction" | "peer">) {
    this.id = about.id;
    this.remote = about.remote;
    this.direction = about.direction;
    this.peer = about.peer;
    this.#webSocket = webSocket;
    this.#valve = valve;
    this.#lane = lanes.enter({
      release: () => valve.release(),
      admit: () => valve.admit(),
      evict: () =>
        this.#violated(AGAINST_THE_RULES, "a large frame did not come, and others wait for its place"),
    });
    // Invariant: binaryType is left at "nodebuffer".
    webSocket.on("message", (frame, isBinary) => this.#took(frame as Buffer, isBinary));
    webSocket.on("error", (thrown) => {
      const isViolation = systemCodeOf(thrown)?.startsWith("WS_ERR_") === true;
      this.#ending ??= { kind: isViolation ? "violation" : "lost", text: textOf(thrown) };
      valve.hush();
    });
    webSocket.once("close", (code, reason) => {
      this.#lane.leave();
      this.#ending ??= endOf(code, reason.toString());
      this.#hasEnded = true;
      this.#receiver?.closed(this.#ending);
    });
  }

  get bufferedBytes(): number {
    return this.#lane.unsentBytes;
  }

  start(receiver: LinkReceiver): void {
    assert(this.#receiver === null, "a link is started once");
    this.#receiver = receiver;
    const ended = this.#hasEnded ? this.#ending : null;
    if (ended !== null) setImmediate(() => receiver.closed(ended));
    else this.#valve.open(this.#lane, ({ code, text }) => this.#violated(code, text));
  }

  send(frame: Uint8Array, whenBehind: WhenBehind = "skip"): SendOutcome {
    if (this.#ending !== null || this.#webSocket.readyState !== WebSocket.OPEN) return "closed";
    const { byteLength } = frame;
    if (byteLength > LIMITS.frameBytes) return "oversize";
    const room = this.#lane.queue(frame, whenBehind);
    if (room === "skip") return "skipped";
    if (room === "end") {
      this.#ending = { kind: "overfull", text: `the peer left ${this.bufferedBytes} bytes unread` };
      // Not close(): the goodbye would wait behind all that the peer does not read.
      this.#webSocket.terminate();
      return "closed";
    }
    this.#webSocket.send(frame, { binary: true }, (error) => {
      this.#lane.taken(byteLength);
      if (error) this.#ending ??= { kind: "lost", text: textOf(error) };
    });
    return "sent";
  }

  close(reason: string): void {
    this.#end({ kind: "ours", text: reason }, GOODBYE, reason);
  }

  #took(frame: Buffer, isBinary: boolean): void {
    if (this.#ending !== null) return;
    this.hasSpoken = true;
    const receiver = this.#receiver;
    if (isBinary) this.#lane.handle(frame, (bytes) => receiver?.frame(bytes));
    else this.#violated(NOT_BINARY, "the peer sent a text frame; expected binary");
    this.#valve.handled();
  }

  #violated(code: number, text: string): void {
    this.#end({ kind: "violation", text }, code, text);
  }

  /** Ends it with a word; a peer that reads learns why. */
  #end(how: LinkEnd, code: number, word: string): void {
    if (this.#ending !== null) return;
    this.#ending = how;
    // Three bytes at most to a UTF-16 unit: 40 of them fit the 123 bytes of a close frame.
    this.#webSocket.close(code, word.slice(0, 40));
    this.#valve.hush();
  }
}

function endOf(code: number, reason: string): LinkEnd {
  const said = reason === "" ? "" : `: ${reason}`;
  if (code === GOODBYE || code === LEAVING || code === NO_CODE)
    return { kind: "goodbye", text: `the peer said goodbye${said}` };
  if (code === NO_CLOSE_FRAME) return { kind: "lost", text: "the connection ended without goodbye" };
  return { kind: "violation", text: `the peer closed with ${code}${said}` };
}
