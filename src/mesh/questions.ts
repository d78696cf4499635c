/**
 * Questions: what one member asks another, once, and what it is answered.
 *
 * Gossip tells all members what all must know. Some things only one asks for, now and then: how a peer reaches us, what
 * traffic it sees. They go over the mesh port, in the protocol of streams, as one request over a connection of its own:
 *
 *     GET /ask/<topic> HTTP/1.1   200: the answer, as JSON
 *                                 404 no such topic, 503 asked too often, 504 no answer in time
 *
 * So asking also proves that the way there works now, up to the certificates of both. Who asks is known by its
 * certificate, and has nothing to say but the topic. What comes back is a peer's word: its size is bounded here, its
 * shape is for who asked to judge.
 *
 * Touches: sockets, timers.
 */

import { request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http";
import type { TLSSocket } from "node:tls";

import { Failure, textOf } from "../base/failure.ts";
import { renderHostPort, unmapped } from "../base/ip.ts";
import type { Credential } from "../model/credential.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import { nowMs } from "../runtime/clock.ts";
import { startDeadline } from "../runtime/deadline.ts";

import { codeOfBroken, type DialMember } from "./dial.ts";
import { STREAM_ALPN } from "./secure.ts";
import type { StreamPeer } from "./stream.ts";

/**
 * What a member may be asked. `here`: nothing, so that who asks knows that it is reached; `path`: how it reaches who
 * asks, and what time it is there; `traffic`: its rates.
 */
export type Topic = (typeof TOPICS)[number];
const TOPICS = ["here", "path", "traffic"] as const;

/** Answers a member; what is returned goes out as JSON. @param from  the address that it asks from */
export type Answer = (asker: Credential, from: string) => unknown;

/** What this daemon answers, by the topic; a topic that is missing is answered as by a daemon that knows none. */
export type Answers = Partial<Readonly<Record<Topic, Answer>>>;

/** One question, as it came in. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** One question to be asked. */
export interface Question {
  readonly topic: Topic;
  /** For all of it: connection, handshake and answer. */
  readonly deadlineMs: number;
  /** Longer answers are refused; LIMITS.questionAnswerBytes unless told. */
  readonly bytesMax?: number;
  /** Called once the connection stands: what fails from then on is not the way there. */
  readonly onConnected?: () => void;
}

/**
 * Asks a member.
 *
 * @returns its answer as parsed JSON, of whatever shape
 * @throws Failure as DialMember does; `timeout` without an answer in time, `not-found` when that member does not know
 *   such questions, `busy` when it was asked too often, `invalid` when it could not answer, `corrupt` for an answer
 *   that is too long or no JSON
 */
export type AskMember = (peer: StreamPeer, question: Question) => Promise<unknown>;

/** Where questions are asked. */
export const QUESTION_PATH = "/ask/";

/** Who asks has given up by then. */
const ANSWER_MS = 2000;

/** Answers members' questions; each has a bound of its own. */
export class QuestionDesk {
  readonly #answers: Answers;
  readonly #openByMember = new Map<NodeId, number>();

  constructor(answers: Answers) {
    this.#answers = answers;
  }

  /** Answers one, and ends its connection. Never throws. */
  async answer({ request, response }: Exchange, asker: Credential): Promise<void> {
    response.on("error", () => undefined);
    const end = (status: number, body: string): void => {
      if (response.headersSent) return;
      const headers = { "content-type": "application/json", connection: "close" };
      response.writeHead(status, { ...headers, "content-length": Buffer.byteLength(body) }).end(body);
    };
    const answer = this.#answerTo(request.url ?? "");
    if (answer === null) return end(404, "null");
    const open = this.#openByMember.get(asker.id) ?? 0;
    if (open >= LIMITS.questionsPerMember) return end(503, "null");
    this.#openByMember.set(asker.id, open + 1);
    const deadline = startDeadline(ANSWER_MS, () => end(504, "null"));
    const from = unmapped(request.socket.remoteAddress ?? "");
    try {
      end(200, JSON.stringify(await answer(asker, from)) ?? "null");
    } catch {
      // It says nothing of why: that is this host's affair, and who asks can do nothing about it.
      end(500, "null");
    } finally {
      deadline.clear();
      this.#closed(asker.id);
    }
  }

  #answerTo(url: string): Answer | null {
    const topic = TOPICS.find((one) => url === `${QUESTION_PATH}${one}`);
    return topic === undefined ? null : (this.#answers[topic] ?? null);
  }

  #closed(member: NodeId): void {
    const open = (this.#openByMember.get(member) ?? 1) - 1;
    if (open === 0) this.#openByMember.delete(member);
    else this.#openByMember.set(member, open);
  }
}

/** Makes what asks members. */
export function openAsking(dialMember: DialMember): AskMember {
  return async (peer, question) => {
    const { topic, deadlineMs, bytesMax = LIMITS.questionAnswerBytes } = question;
    const startedMs = nowMs();
    const { socket } = await dialMember(peer.address, { alpn: STREAM_ALPN, deadlineMs, expect: peer.id });
    question.onConnected?.();
    const leftMs = Math.max(1, deadlineMs - (nowMs() - startedMs));
    const at = renderHostPort(peer.address);
    try {
      const text = await answerOf(socket, { path: `${QUESTION_PATH}${topic}`, leftMs, bytesMax, at });
      return JSON.parse(text);
    } catch (thrown) {
      if (thrown instanceof Failure) throw thrown;
      throw new Failure("corrupt", `${at} answered /ask/${topic} with no JSON`, { cause: thrown });
    } finally {
      socket.destroy();
    }
  };
}

interface Asked {
  readonly path: string;
  readonly leftMs: number;
  readonly bytesMax: number;
  readonly at: string;
}

function answerOf(socket: TLSSocket, { path, leftMs, bytesMax, at }: Asked): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ createConnection: () => socket, path, headers: { host: "mesh" } });
    const fail = (failure: Failure): void => {
      deadline.clear();
      request.destroy();
      reject(failure);
    };
    const deadline = startDeadline(leftMs, () =>
      fail(new Failure("timeout", `${at} gave no answer in time`)),
    );
    const broke = (thrown: Error): void =>
      fail(new Failure(codeOfBroken(thrown), `${at} broke off: ${textOf(thrown)}`, { cause: thrown }));
    request.on("error", broke);
    request.once("response", (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on("error", broke);
      response.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        bytes += chunk.length;
        if (bytes > bytesMax) fail(new Failure("corrupt", `${at} answered with more than ${bytesMax} bytes`));
      });
      response.once("end", () => {
        deadline.clear();
        const failure = refusalOf(response.statusCode ?? 0, at);
        if (failure === null) resolve(Buffer.concat(chunks).toString("utf8"));
        else reject(failure);
      });
    });
    request.end();
  });
}

/** What a status says beside 200; 426 comes from a daemon that is older than questions. */
function refusalOf(status: number, at: string): Failure | null {
  switch (status) {
    case 200:
      return null;
    case 404:
    case 426:
      return new Failure("not-found", `${at} does not know this question: its version is older`);
    case 503:
      return new Failure("busy", `${at} was asked too often`);
    case 504:
      return new Failure("timeout", `${at} had no answer in time`);
    default:
      return new Failure("invalid", `${at} answered ${status}`);
  }
}
