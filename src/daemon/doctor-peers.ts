/**
 * Doctor's look at the other members: dials each, and asks it to dial back.
 *
 * All at once, as far as the bound goes, those that are thought alive first: a dead host costs its deadline, and must
 * not keep an answer from those that live. Whoever has no turn in time is told as untried.
 *
 * Touches: the mesh, through questions; the clocks.
 */

import type { PeerFacts } from "../admin/checks/peers.ts";
import { Failure, textOf } from "../base/failure.ts";
import { renderHostPort } from "../base/ip.ts";
import type { AskMember } from "../mesh/questions.ts";
import { wayBackFrom } from "../mesh/way-back.ts";
import type { Member } from "../model/member.ts";
import { nowMs, wallMs } from "../runtime/clock.ts";

/** Above what a member takes to dial back in vain. */
const ASK_MS = 2000;
/** For all of them: less than who asks a doctor waits. */
const ALL_MS = 3500;
/** Each is a handshake of TLS on both sides. */
const AT_ONCE = 32;

/** How long it may take; for tests, as in the product unless told. */
export interface PeerPace {
  readonly askMs?: number;
  readonly allMs?: number;
}

/** Looks at all others but those that left. Never rejects. */
export async function peerFacts(
  members: readonly Member[],
  ask: AskMember,
  { askMs = ASK_MS, allMs = ALL_MS }: PeerPace = {},
): Promise<readonly PeerFacts[]> {
  const others = members.filter(({ self, state, host }) => !self && state !== "left" && host !== "");
  const queue = others.toSorted(
    (one, other) => Number(one.state !== "alive") - Number(other.state !== "alive"),
  );
  const nameById = new Map(members.map(({ id, name }) => [id, name]));
  const untilMs = nowMs() + allMs;
  const factsById = new Map<string, PeerFacts>();
  const work = async (): Promise<void> => {
    for (let member = queue.shift(); member !== undefined; member = queue.shift()) {
      const leftMs = untilMs - nowMs();
      // Shorter than a handshake over a long way: it would only look ill.
      const found = leftMs < askMs / 4 ? UNTRIED : await look(member, ask, Math.min(askMs, leftMs));
      factsById.set(member.id, { ...saidOf(member), via: nameById.get(member.via ?? "") ?? null, ...found });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return others.flatMap(({ id }) => factsById.get(id) ?? []);
}

type Found = Pick<PeerFacts, "there" | "back" | "clock">;

const UNTRIED: Found = {
  there: { kind: "untried" },
  back: { kind: "unknown", reason: "it was not asked" },
  clock: null,
};

function saidOf({
  name,
  state,
  host,
  port,
  software: version,
}: Member): Omit<PeerFacts, "via" | keyof Found> {
  return { name, state, address: renderHostPort({ host, port }), version };
}

async function look({ id, host, port }: Member, ask: AskMember, deadlineMs: number): Promise<Found> {
  const startedMs = nowMs();
  let connectedMs: number | null = null;
  const onConnected = (): void => void (connectedMs = nowMs());
  try {
    const answer = await ask({ id, address: { host, port } }, { topic: "path", deadlineMs, onConnected });
    const answeredMs = wallMs();
    const handshakeMs = (connectedMs ?? startedMs) - startedMs;
    return foundIn(answer, { answeredMs, handshakeMs });
  } catch (thrown) {
    const reason = textOf(thrown);
    if (connectedMs === null) return { ...UNTRIED, there: { kind: "failed", reason } };
    const isOld = thrown instanceof Failure && thrown.code === "not-found";
    const back = {
      kind: "unknown",
      reason: isOld ? "its version is older than this question" : reason,
    } as const;
    return { there: { kind: "reached" }, back, clock: null };
  }
}

function foundIn(
  answer: unknown,
  { answeredMs, handshakeMs }: { readonly answeredMs: number; readonly handshakeMs: number },
): Found {
  const there = { kind: "reached" } as const;
  const told = wayBackFrom(answer);
  if (told === null)
    return { there, back: { kind: "unknown", reason: "its answer makes no sense" }, clock: null };
  // It read its clock last: half a round trip ago, and a handshake is two of these.
  const clock = { aheadMs: told.clockMs + handshakeMs / 4 - answeredMs, errorMs: handshakeMs / 2 };
  const { address, failure } = told;
  if (address === null)
    return { there, back: { kind: "unknown", reason: "it does not know this host yet" }, clock };
  const back =
    failure === null
      ? ({ kind: "reached" } as const)
      : ({ kind: "failed", address, reason: failure } as const);
  return { there, back, clock };
}
