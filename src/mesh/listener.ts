/**
 * Listener: the one port that hosts need between them.
 *
 * Gossip links and relayed streams share it, each as an HTTP/1.1 upgrade within its own protocol of TLS, so one
 * parser with one set of limits stands before both. Requests of hosts that want to join come in a third protocol and
 * are handed on; so are questions of members, which come in that of streams (questions.ts). Who is let in at all the
 * gate decides; what is decided here is what a caller may ask for, and how many of each there may be. Whatever is not
 * a request we know is refused in a line, counted and told of.
 *
 * A request with an Origin is refused: a browser sends one, a daemon never, and no web page may speak to a
 * daemon.
 *
 * Touches: the mesh port.
 */

import {
  createServer,
  type IncomingMessage,
  type Server as HttpServer,
  type ServerResponse,
} from "node:http";
import type { Duplex } from "node:stream";

import { systemCodeOf, textOf } from "../base/failure.ts";
import type { HostPort } from "../base/ip.ts";
import type { Credential } from "../model/credential.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import { JOIN_ALPN, JOIN_BINDING_BYTES, JOIN_BINDING_LABEL } from "../model/mesh-port.ts";
import type { Log } from "../runtime/log.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { SharedSockets } from "../runtime/sharing.ts";

import { DatagramDesk } from "./datagram-desk.ts";
import { openGate, type Caller, type Gate } from "./gate.ts";
import { Guests } from "./guests.ts";
import type { Lanes } from "./lanes.ts";
import type { Link } from "./link.ts";
import { addressOf, listen } from "./listening.ts";
import { QUESTION_PATH, QuestionDesk, type Answers } from "./questions.ts";
import { Receipts } from "./receipts.ts";
import type { RefusalReason, Refusals } from "./refusals.ts";
import { GOSSIP_ALPN, refusalOf, STREAM_ALPN, vouch } from "./secure.ts";
import { carriesOf, type OwnerWay, type ResolveReplica } from "./stream.ts";
import { serveStream } from "./stream-serving.ts";
import type { Streams } from "./streams.ts";
import type { MeshTrust, Objection } from "./trust.ts";
import { refuse, type Refusal, type Upgrade } from "./upgrade.ts";
import { GOSSIP_PATH, HANDSHAKE_MS, openLinkAcceptor } from "./websocket.ts";

/** How long a replica of this host may take to accept a relayed connection. */
const REPLICA_CONNECT_MS = 500;
/** How long a connection of somebody who asks to join may last, with all answers. */
const JOIN_MS = 10_000;
/** What is asked over one such connection: who we are, then to be let in; and again with what was learnt. */
const JOIN_REQUESTS_MAX = 4;

/** Whoever asks to join or to renew. */
export interface JoinCaller {
  /** Of the certificate that was shown, when it counts. */
  readonly credential: Credential | null;
  /** Why there is no credential: none shown, expired, revoked, ...; null when there is one. */
  readonly problem: string | null;
  readonly address: string;
  /** What both ends of this connection know and nobody else: JOIN_BINDING_BYTES of JOIN_BINDING_LABEL. */
  readonly binding: Buffer;
}

/** What openListener needs. */
export interface ListenerOptions {
  /** Where to listen; port 0 lets the system choose. */
  readonly listen: HostPort;
  readonly trust: MeshTrust;
  /** Those of the links and the dialler. */
  readonly refusals: Refusals;
  /** Gives an id that no link of this process had. */
  readonly nextLinkId: () => number;
  /** Takes each accepted link and starts it. The listener closes it when it closes itself. */
  readonly onLink: (link: Link) => void;
  /** Those of all links of this daemon. */
  readonly lanes: Lanes;
  /** Finds replicas of this host for relayed streams. */
  readonly resolve: ResolveReplica;
  /** How other members are reached, for streams that are passed on to them. */
  readonly wayTo: (node: NodeId) => OwnerWay;
  /** Opens the streams that are passed on. */
  readonly streams: Pick<Streams, "open">;
  /** Answers whoever asks to join. A request has at most LIMITS.enrolBodyBytes. */
  readonly onJoin: (request: IncomingMessage, response: ServerResponse, caller: JoinCaller) => void;
  /** Answers what members ask; nothing where none is told. */
  readonly answers?: Answers;
  readonly log: Log;
  readonly metrics: Pick<Metrics, "streams" | "relayedDropped">;
  /** How long a connection may take to say what it wants; HANDSHAKE_MS unless told. */
  readonly handshakeMs?: number;
  /** How long a connection of somebody who asks to join may last; JOIN_MS unless told. */
  readonly joinMs?: number;
  /** Those of the daemon that this one takes over from: what they hold may be listened on beside them. */
  readonly shared?: SharedSockets;
  /** True to listen not before it is told to: beside another daemon each takes its share of what comes. */
  readonly isLate?: boolean;
}

/** An open mesh port. */
export interface Listener {
  /** Where it listens, with the port the system chose; where it is to listen until then. */
  readonly address: HostPort;
  /** Listens, if it does not yet. To be called once where it is late, before it is closed. @throws as openListener */
  listen(): Promise<void>;
  /** How many streams it relays now. */
  readonly streamCount: () => number;
  /** How many connections members keep ready here. */
  readonly readyCount: () => number;
  /** Ends all that whoever there is an objection to has here: links with a word, streams with a reset. */
  cut(objection: Objection): void;
  /** Takes no more links: a successor has them from now on. Streams are relayed as before. */
  retire(): void;
  /** Takes no more connections, since the successor does. Those that are here go on. */
  stopListening(): void;
  /**
   * Takes no more connections, says goodbye on its links, resets its streams; done within two seconds.
   * Settles when the last socket is gone. May be called again.
   */
  close(): Promise<void>;
}

/**
 * Opens the mesh port, unless it is to be late.
 *
 * @throws Failure `busy` when the address is taken, `not-allowed` when the port needs privileges, `invalid`
 *   when the address is none of this host's
 */
export async function openListener(options: ListenerOptions): Promise<Listener> {
  const guests = new Guests();
  const door = new Door(options, guests);
  const { server } = door.gate;
  const open = async (): Promise<void> => {
    if (server.listening) return;
    await listen(server, options);
    server.on("error", (thrown) => options.log.warn("mesh listener", { error: textOf(thrown) }));
  };
  if (options.isLate !== true) await open();

  let closing: Promise<void> | null = null;
  return {
    address: addressOf(server, options.listen),
    listen: open,
    streamCount: () => guests.streamCount,
    readyCount: () => guests.readyCount,
    cut: (objection) => guests.cut(objection),
    retire: () => door.retire(),
    stopListening() {
      server.close();
      guests.dropReady();
      door.endDatagrams();
    },
    close() {
      if (closing === null) {
        const gone = new Promise((resolve) => server.close(resolve));
        door.gate.close();
        closing = guests.close(gone);
      }
      return closing;
    },
  };
}

/** Answers callers, by what their protocol is for. */
class Door {
  readonly gate: Gate;
  readonly #options: ListenerOptions;
  readonly #guests: Guests;
  readonly #acceptor: ReturnType<typeof openLinkAcceptor>;
  readonly #http: HttpServer;
  readonly #desk: DatagramDesk;
  readonly #receipts = new Receipts();
  readonly #questions: QuestionDesk;
  /** Of the connections that node:http reads. */
  readonly #callers = new WeakMap<Duplex, Caller>();
  #isRetired = false;

  constructor(options: ListenerOptions, guests: Guests) {
    this.#options = options;
    this.#guests = guests;
    this.#acceptor = openLinkAcceptor(options.lanes);
    this.#desk = new DatagramDesk({ dropped: () => options.metrics.relayedDropped.inc() });
    this.#questions = new QuestionDesk(options.answers ?? {});
    this.#http = this.#openHttp();
    const { trust, refusals, handshakeMs = HANDSHAKE_MS } = options;
    this.gate = openGate({ trust, refusals, handshakeMs, onCaller: (caller) => this.#take(caller) });
  }

  /** It does not listen, and so has no timeouts of its own: the gate's deadline, and those below, stand for them. */
  #openHttp(): HttpServer {
    const http = createServer({ maxHeaderSize: LIMITS.meshHeadBytes });
    http.maxRequestsPerSocket = JOIN_REQUESTS_MAX;
    const with_ = (duplex: Duplex, then: (caller: Caller) => void): void => {
      const caller = this.#callers.get(duplex);
      if (caller === undefined) duplex.destroy();
      else then(caller);
    };
    http.on("upgrade", (request: IncomingMessage, duplex: Duplex, head: Buffer) =>
      with_(duplex, (caller) => this.#upgrade(caller, { request, socket: caller.socket, head })),
    );
    http.on("request", (request: IncomingMessage, response: ServerResponse) =>
      with_(request.socket, (caller) => {
        if (caller.protocol === JOIN_ALPN) this.#join(caller, request, response);
        else if (isQuestion(caller, request)) this.#answer(caller, request, response);
        else this.#turnAway(caller, "request", NO_UPGRADE);
      }),
    );
    http.on("clientError", (thrown: Error, duplex: Duplex) =>
      with_(duplex, (caller) => {
        // What its parser says begins with HPE_; all else is a connection that broke, which is no refusal.
        if (systemCodeOf(thrown)?.startsWith("HPE_") === true) this.#turnAway(caller, "junk", JUNK);
        else duplex.destroy();
      }),
    );
    return http;
  }

  /** Ends the ways for datagrams: they would last for ever, and their flows are as well off at the successor. */
  endDatagrams(): void {
    this.#desk.end();
  }

  /** Takes no more links. */
  retire(): void {
    this.#isRetired = true;
  }

  #take(caller: Caller): void {
    const { socket, protocol, credential } = caller;
    this.#callers.set(socket, caller);
    if (protocol === STREAM_ALPN && credential !== null) {
      this.gate.settle(socket);
      if (this.#guests.addReady(socket, credential))
        this.#tell(caller, "ready", `more than ${LIMITS.readyAcceptedPerMember} connections kept ready`);
    }
    // It takes the connections that it is given (node:http, Event: 'connection').
    this.#http.emit("connection", socket);
  }

  #upgrade(caller: Caller, upgrade: Upgrade): void {
    const wanted = wantedBy(upgrade.request);
    if (typeof wanted !== "string") return this.#turnAway(caller, "request", wanted);
    if (wanted === "link" && caller.protocol === GOSSIP_ALPN && caller.credential !== null)
      return this.#openLink(caller, upgrade, caller.credential);
    if (wanted === "stream" && caller.protocol === STREAM_ALPN) return this.#openStream(caller, upgrade);
    this.#turnAway(caller, "protocol", {
      status: 404,
      reason: `${caller.protocol} is for something else; ${EACH_FOR_ITS_OWN}`,
    });
  }

  #openLink(caller: Caller, upgrade: Upgrade, peer: Credential): void {
    // Again: it may have been removed while it was on its way from the handshake to here.
    const vouched = vouch(caller.socket, this.#options.trust);
    if (!vouched.ok) return this.#turnAway(caller, vouched.reason, refusalOf(vouched.text));
    if (this.#isRetired) return refuse(caller.socket, RETIRED);
    const crowd = crowdOf(this.#guests, caller.address);
    if (crowd !== null) return this.#turnAway(caller, crowd, crowd === "address" ? FULL_OF_YOU : FULL);
    const answer = this.#acceptor.accept(upgrade, { id: this.#options.nextLinkId(), peer });
    if ("status" in answer) return this.#turnAway(caller, "upgrade", answer);
    this.gate.settle(caller.socket);
    if (this.#guests.addLink(caller.socket, answer))
      this.#tell(caller, "links", `more than ${LIMITS.linksPerMember} links of one member`);
    this.#options.onLink(answer);
  }

  #openStream(caller: Caller, upgrade: Upgrade): void {
    const { resolve, wayTo, streams, metrics } = this.#options;
    // Again: the connection was kept ready, and it may have been removed since.
    const vouched = vouch(caller.socket, this.#options.trust);
    if (!vouched.ok) return this.#turnAway(caller, vouched.reason, refusalOf(vouched.text));
    if (!this.#guests.hasRoomFor(caller.socket)) {
      metrics.streams.inc({ result: "busy" });
      return this.#turnAway(caller, "streams", FULL);
    }
    this.#guests.addStream(caller.socket);
    void serveStream(upgrade, {
      resolve,
      wayTo,
      open: streams.open,
      desk: this.#desk,
      receipts: this.#receipts,
      connectMs: REPLICA_CONNECT_MS,
      served: (result) => metrics.streams.inc({ result }),
    });
  }

  /** It counts as a stream, and is over at once. */
  #answer(caller: Caller, request: IncomingMessage, response: ServerResponse): void {
    const vouched = vouch(caller.socket, this.#options.trust);
    if (!vouched.ok) return this.#turnAway(caller, vouched.reason, refusalOf(vouched.text));
    if (!this.#guests.hasRoomFor(caller.socket)) return this.#turnAway(caller, "streams", FULL);
    this.#guests.addStream(caller.socket);
    void this.#questions.answer({ request, response }, vouched.credential);
  }

  #join(caller: Caller, request: IncomingMessage, response: ServerResponse): void {
    const { socket, credential, problem, address } = caller;
    const isKnown = this.#guests.isJoining(socket);
    if (!isKnown && this.#guests.joinsOf(address) >= LIMITS.enrolmentsPerAddress)
      return this.#turnAway(caller, "joins", FULL);
    const { headers } = request;
    if (headers.origin !== undefined) return this.#turnAway(caller, "request", BROWSER);
    const bytes = Number(headers["content-length"] ?? 0);
    // Not in chunks: node:http holds a body to the length that its head tells.
    if (headers["transfer-encoding"] !== undefined || !(bytes <= LIMITS.enrolBodyBytes))
      return this.#turnAway(caller, "request", TOO_LONG);
    if (!isKnown) {
      this.gate.settle(socket);
      const oldest = this.#guests.addJoin(socket, address);
      const late = oldest === null ? undefined : this.#callers.get(oldest);
      if (late !== undefined) this.#tell(late, "joins", "too many ask to join, and it was the slowest");
      const timer = setTimeout(() => socket.destroy(), this.#options.joinMs ?? JOIN_MS);
      socket.once("close", () => clearTimeout(timer));
    }
    const binding = socket.exportKeyingMaterial(JOIN_BINDING_BYTES, JOIN_BINDING_LABEL, Buffer.alloc(0));
    this.#options.onJoin(request, response, { credential, problem, address, binding });
  }

  #turnAway(caller: Caller, reason: RefusalReason, refusal: Refusal): void {
    this.#tell(caller, reason, refusal.reason);
    refuse(caller.socket, refusal);
  }

  #tell({ address, credential }: Caller, reason: RefusalReason, text: string): void {
    this.#options.refusals.tell({ reason, address, peer: credential?.id ?? null, text });
  }
}

/** What there are too many of for one more link; null when there is room. */
function crowdOf({ links }: Guests, address: string): "links" | "address" | "silent" | null {
  if (links.size >= LIMITS.linksMax) return "links";
  const all = Array.from(links.values());
  // By whole addresses: an IPv6 network may hold all hosts of a cluster, and each member has a bound of its own.
  if (all.filter(({ remote }) => remote.host === address).length >= LIMITS.linksPerAddress) return "address";
  return all.filter(({ hasSpoken }) => !hasSpoken).length >= LIMITS.silentLinksMax ? "silent" : null;
}

const EACH_FOR_ITS_OWN = `expected ${GOSSIP_PATH} in ${GOSSIP_ALPN}, /stream/ in ${STREAM_ALPN}`;
const FULL: Refusal = { status: 503, reason: "full" };
const FULL_OF_YOU: Refusal = { status: 503, reason: "too many links from your address" };
const RETIRED: Refusal = { status: 503, reason: "another daemon takes over here" };
const JUNK: Refusal = { status: 400, reason: "expected an HTTP/1.1 upgrade request" };
const BROWSER: Refusal = { status: 403, reason: "browsers are not served here" };
const TOO_LONG: Refusal = {
  status: 413,
  reason: `expected a body of a told length, at most ${LIMITS.enrolBodyBytes} bytes`,
};
const NO_UPGRADE: Refusal = {
  status: 426,
  reason: "this is the mesh port of a skein daemon; it takes upgrades only",
};

/** A request of a member for an answer, by which it was not sent by a browser. */
function isQuestion({ protocol }: Caller, { url = "", method, headers }: IncomingMessage): boolean {
  if (protocol !== STREAM_ALPN || headers.origin !== undefined) return false;
  return method === "GET" && url.startsWith(QUESTION_PATH);
}

/** What an upgrade request is for, or why it is refused. */
function wantedBy(request: IncomingMessage): "link" | "stream" | Refusal {
  const { headers, method, url = "" } = request;
  if (headers.origin !== undefined) return BROWSER;
  const hasBody = headers["content-length"] !== undefined || headers["transfer-encoding"] !== undefined;
  if (method !== "GET" || hasBody) return { status: 400, reason: "expected GET without a body" };
  const protocol = headers.upgrade?.toLowerCase();
  if (url === GOSSIP_PATH && protocol === "websocket") return "link";
  if (carriesOf(url, protocol) !== null) return "stream";
  return {
    status: 404,
    reason: `expected ${GOSSIP_PATH}, /stream/, /datagrams/ or /receipts/ with its own protocol`,
  };
}
