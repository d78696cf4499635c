/**
 * Way back: tells a member who asks how this host reaches it, and what time it is here.
 *
 * A firewall that lets one side through and not the other is the commonest trouble between hosts, and nobody sees it
 * alone: who asked knows that the way here works, and we know whether the way back does, by dialling it, one dial at
 * a time for each. We dial where the cluster says that it listens, and that is the asker's own word: it must not make
 * this host knock at others and tell what is there. So why it failed is told of the address only that the question
 * came from. Of any other it is told that it failed, after the same time whatever failed; and what is this host's own
 * (loopback, link-local) is dialled for nobody from elsewhere. The clock is read last, so that the asker can tell by
 * how much the two differ.
 *
 * Touches: sockets; clocks.
 */

import { setTimeout as pause } from "node:timers/promises";

import { textOf } from "../base/failure.ts";
import { isLocalToHost, isLoopback, renderHostPort, type HostPort } from "../base/ip.ts";
import { isObject } from "../model/fields.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import { nowMs, wallMs } from "../runtime/clock.ts";

import type { Answer, AskMember } from "./questions.ts";

/** What a member says of the way to who asks. */
export interface WayBack {
  /** Its wall clock when it answered, Unix milliseconds. */
  readonly clockMs: number;
  /** Where it dialled, `host:port`; null where it does not know who asks yet. */
  readonly address: string | null;
  /** Why that did not work; null when it did. */
  readonly failure: string | null;
}

/** Well below what the asker waits. */
const DIAL_MS = 1000;

/** What the answer is made by. */
export interface WayBackOptions {
  readonly ask: AskMember;
  /** Where a member listens, as the cluster knows it; null for one that is not known. */
  readonly addressOf: (id: NodeId) => HostPort | null;
}

/** Makes the answer to the question `path`. */
export function openWayBack({ ask, addressOf }: WayBackOptions): Answer {
  const underWay = new Map<NodeId, Promise<string | null>>();
  const tried = async (id: NodeId, address: HostPort): Promise<string | null> => {
    let isThere = false;
    const onConnected = (): void => void (isThere = true);
    try {
      // Asked something, not only dialled: a connection that ends without a word looks to the other side like trouble.
      await ask({ id, address }, { topic: "here", deadlineMs: DIAL_MS, onConnected });
      return null;
    } catch (thrown) {
      // An older daemon refuses the question, but there it is.
      return isThere ? null : textOf(thrown).slice(0, LIMITS.problemTextBytes);
    } finally {
      underWay.delete(id);
    }
  };
  return async ({ id }, from): Promise<WayBack> => {
    const address = addressOf(id);
    if (address === null) return { clockMs: wallMs(), address, failure: null };
    const told = (failure: string | null): WayBack => {
      return { clockMs: wallMs(), address: renderHostPort(address), failure };
    };
    const { host } = address;
    if (isOwn(host) && !isLoopback(from)) return told("that is an address of each host's own");
    const startedMs = nowMs();
    const trial = underWay.get(id) ?? tried(id, address);
    underWay.set(id, trial);
    const failure = await trial;
    if (failure === null || host === from || (isLoopback(from) && isLoopback(host))) return told(failure);
    await pause(Math.max(0, startedMs + DIAL_MS - nowMs()));
    return told("it is not reached there, and asks from another address");
  };
}

/** An address that means another machine on each host that dials it, as this one itself. */
function isOwn(host: string): boolean {
  return host === "localhost" || isLocalToHost(host);
}

/** Reads such an answer, which is a peer's word; null for what is none. */
export function wayBackFrom(value: unknown): WayBack | null {
  if (!isObject(value)) return null;
  const { clockMs, address, failure } = value;
  if (typeof clockMs !== "number" || !Number.isSafeInteger(clockMs)) return null;
  if (!isTextOrNull(address) || !isTextOrNull(failure)) return null;
  return { clockMs, address: clipped(address), failure: clipped(failure) };
}

function isTextOrNull(value: unknown): value is string | null {
  return value === null || typeof value === "string";
}

function clipped(text: string | null): string | null {
  return text?.slice(0, LIMITS.problemTextBytes) ?? null;
}
