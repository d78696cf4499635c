/**
 * Membership: which nodes live.
 *
 * SWIM (Das, Gupta, Motivala 2002) with Lifeguard's timing (Dadgar, Phillips, Currey, arXiv 1707.00788): a member that
 * this node does not reach, nor those whom it asked, is accused before all; the accusation lasts a while, the shorter
 * the more members confirm it, and then becomes a death. Only the accused can refute: it writes a higher refutation
 * into its own log (life.ts). Two facts are stronger than any accusation. Own eyes: whom this node hears it does not
 * give up on the word of others, so a link that is broken for one member stays that member's trouble. And a refusal: a
 * host that answers "nobody listens here" is reachable and its daemon gone, so two members whom it answered so make a
 * death at once; one, where there is nobody else to see it.
 *
 * Not here: who is pinged and asked (watch.ts), and how accusations travel (gossip.ts).
 *
 * Pure.
 */

import type { NodeId } from "../model/ids.ts";
import type { Acquaintance, MemberState, Standing } from "../model/member.ts";

import { Damping } from "./damping.ts";
import { FIRST_LIFE, REFUTATION_MAX, type Life } from "./life.ts";
import type { Rumor } from "./message.ts";
import { isBefore, isPresent, standingOf, strangerOf, type Peer, type Suspicion } from "./peer.ts";
import { lastsMs } from "./suspicion.ts";
import type { Accused, Move, Verdicts } from "./verdicts.ts";

/** How long a dead or left node's records are remembered. */
const FORGOTTEN_AFTER_MS = 24 * 3600 * 1000;
/** From so long a doubt on a return counts as a flap. */
const MISSED_MS = 1000;
/** How often members that only wait for a time to pass are looked at. */
const REVIEW_EVERY_MS = 250;

/** Holds every node ever heard of, and judges them. */
export class Membership {
  readonly #self: NodeId;
  readonly #damping = new Damping();
  readonly #peerById = new Map<NodeId, Peer>();
  /** Those for whom time alone may change something. */
  readonly #timed = new Set<Peer>();
  #doubtsItself = false;
  #presentCount = 0;
  #reviewedAtMs = Number.NEGATIVE_INFINITY;
  #heldUntilMs = Number.NEGATIVE_INFINITY;
  #moves: Move[] = [];
  #rumors: Rumor[] = [];
  #forgotten: Peer[] = [];
  #touched: Peer[] = [];

  constructor(self: NodeId) {
    this.#self = self;
  }

  /** Nodes known beside this one, gone ones included. */
  get count(): number {
    return this.#peerById.size;
  }

  /** Members that are there, this node included. */
  get presentCount(): number {
    return this.#presentCount + 1;
  }

  get peers(): IterableIterator<Peer> {
    return this.#peerById.values();
  }

  peer(id: NodeId): Peer | undefined {
    return this.#peerById.get(id);
  }

  get standings(): Standing[] {
    return Array.from(this.#peerById.values(), standingOf);
  }

  /** What the view shows of one node; undefined for one that is not known. */
  standing(id: NodeId): Standing | undefined {
    const peer = this.#peerById.get(id);
    return peer === undefined ? undefined : standingOf(peer);
  }

  /** A node was removed from the cluster: it is a member no more, and its records are to be forgotten. */
  expel(peer: Peer): void {
    this.#presentCount -= Number(isPresent(peer));
    Object.assign(peer, { state: "left", suspicion: null, settlesAtMs: null });
    this.#forget(peer);
  }

  /** Everything judged since the last call. */
  take(): Verdicts {
    const verdicts = {
      moves: this.#moves,
      rumors: this.#rumors,
      forgotten: this.#forgotten,
      touched: this.#touched,
    };
    if (this.#moves.length > 0) this.#moves = [];
    if (this.#rumors.length > 0) this.#rumors = [];
    if (this.#forgotten.length > 0) this.#forgotten = [];
    if (this.#touched.length > 0) this.#touched = [];
    return verdicts;
  }

  /** Members that may still send traffic here and have not applied this node's log of `incarnation` up to `version`. */
  lagging(incarnation: number, version: number): Peer[] {
    const lagging: Peer[] = [];
    for (const peer of this.#peerById.values()) {
      if (peer.state !== "alive" && peer.state !== "suspect") continue;
      if (peer.appliedIncarnation !== incarnation || peer.appliedVersion < version) lagging.push(peer);
    }
    return lagging;
  }

  /** Learns that there is such a node, from its log or its hello. */
  know(id: NodeId, nowMs: number): Peer {
    const known = this.#peerById.get(id);
    if (known !== undefined) return known;
    const peer = strangerOf(id, nowMs);
    this.#peerById.set(id, peer);
    this.#presentCount += 1;
    this.#touched.push(peer);
    return peer;
  }

  /** Learns where a node says it is. */
  meet(who: Acquaintance, nowMs: number): Peer {
    const peer = this.know(who.id, nowMs);
    if (peer.name !== who.name) this.#touched.push(peer);
    // Its id is its name until it has told one.
    const isNew = peer.name === peer.id && who.name !== peer.id;
    if (isNew && peer.state === "alive")
      this.#moves.push({ peer, from: null, to: "alive", reason: "joined" });
    Object.assign(peer, { name: who.name, host: who.host, port: who.port });
    return peer;
  }

  /** What a member's own log says of its life. News of it refutes every accusation of an earlier one. */
  lifeTold(peer: Peer, incarnation: number, life: Life, nowMs: number): void {
    peer.logSaysLeft = life.said === "left";
    const isNews = isBefore(peer, { incarnation, refutation: life.refutation });
    const isSame = peer.incarnation === incarnation && peer.refutation === life.refutation;
    // The later life that this node knew of is gone already.
    if (life.said === "left" && peer.state === "dead") this.#move(peer, "left", "had said goodbye", nowMs);
    if (!isNews && !(isSame && peer.said !== life.said)) return;
    Object.assign(peer, { incarnation, refutation: life.refutation, said: life.said });
    // Given up in this very life: that it was away then is no news.
    if (isSame && peer.state === "dead" && life.said !== "left") return;
    if (life.said === "left") this.#move(peer, "left", "said goodbye", nowMs);
    else if (life.said === "away") {
      peer.awayUntilMs = nowMs + life.forMs;
      this.#move(peer, "away", `said it will be back within ${Math.ceil(life.forMs / 1000)} s`, nowMs);
    } else if (peer.state !== "alive") this.#move(peer, "alive", "says it is alive", nowMs);
  }

  /** A hello: the peer is alive, in this life. What it says of a clean stop, its log tells. */
  greeted(peer: Peer, incarnation: number, nowMs: number): void {
    if (incarnation > peer.incarnation) Object.assign(peer, { incarnation, ...LIVING });
    else if (peer.said === "away") peer.said = "alive";
    if (peer.said !== "left" && peer.state !== "alive") this.#move(peer, "alive", "linked", nowMs);
  }

  /** A sign of life came over a link. */
  heard(peer: Peer, nowMs: number): void {
    // Not out of `left` or `away`: frames still under way behind a farewell prove nothing.
    if (peer.state === "suspect" || peer.state === "dead") this.#move(peer, "alive", "answers again", nowMs);
  }

  /** The peer has applied this node's log up to here. The higher report counts: ways of other lengths reorder them. */
  applied(peer: Peer, log: { readonly incarnation: number; readonly version: number }): boolean {
    const isLate =
      log.incarnation < peer.appliedIncarnation ||
      (log.incarnation === peer.appliedIncarnation && log.version <= peer.appliedVersion);
    if (isLate) return false;
    peer.appliedIncarnation = log.incarnation;
    peer.appliedVersion = log.version;
    return true;
  }

  /** The path to a living member has changed: directly again, or by way of another. */
  reachedVia(peer: Peer, via: NodeId | null): void {
    if (peer.via === via) return;
    peer.via = via;
    this.#touched.push(peer);
  }

  /**
   * This node slept, or is about to learn a lot: nobody is given up before then, and those who were about to be get
   * their time again.
   */
  hold(untilMs: number, nowMs: number): void {
    this.#heldUntilMs = untilMs;
    for (const peer of this.#timed)
      if (peer.suspicion !== null) peer.suspicion = { ...peer.suspicion, sinceMs: nowMs, isRepeated: false };
    this.#excuseSuspects();
  }

  /**
   * This node hears others again after it heard nobody: whom it doubts it may just not have heard either. They get
   * their time again, and are told at once, so that they can answer.
   */
  reconsider(untilMs: number, nowMs: number): void {
    this.hold(nowMs, nowMs);
    for (const peer of this.#timed) {
      if (peer.suspicion === null) continue;
      this.#repeat(peer, peer.suspicion);
      this.#heldUntilMs = untilMs;
    }
  }

  /** Whether what this node sees may be its own fault: whom it misses then has not flapped when it is back. */
  doubt(doubtsItself: boolean): void {
    if (doubtsItself && !this.#doubtsItself) this.#excuseSuspects();
    this.#doubtsItself = doubtsItself;
  }

  /** The exchange that a hold waited for is done. */
  release(): void {
    this.#heldUntilMs = Number.NEGATIVE_INFINITY;
  }

  /** True while no verdict may be made. */
  isHeld(nowMs: number): boolean {
    return nowMs < this.#heldUntilMs;
  }

  /** This node accuses a member, and tells all when that is new. */
  accuse(peer: Peer, kind: "suspect" | "refused", nowMs: number): void {
    if (this.isHeld(nowMs) || !isPresent(peer) || peer.state === "away") return;
    const { incarnation, refutation } = peer;
    const rumor = { kind, subject: peer.id, incarnation, refutation, by: this.#self } as const;
    if (this.#suspect(peer, rumor, nowMs)) this.#rumors.push(rumor);
    this.#checkRefusals(peer, nowMs);
  }

  /**
   * What another member says of a third.
   *
   * @param sees  true when this node itself hears the accused
   * @returns `doubted` when own eyes say otherwise: the accused should be told, so that it refutes
   */
  told(rumor: Rumor, sees: boolean, nowMs: number): Accused {
    const peer = this.#peerById.get(rumor.subject);
    if (peer === undefined || !isPresent(peer) || rumor.refutation >= REFUTATION_MAX) return "known";
    if (isBefore(rumor, peer)) return "known";
    if (sees) return "doubted";
    if (peer.state === "away") return "known";
    if (isBefore(peer, rumor)) {
      Object.assign(peer, { incarnation: rumor.incarnation, refutation: rumor.refutation });
      peer.suspicion = null;
    }
    // A death out of the blue is an accusation: its maker may have been cut off, and the accused must get to answer.
    const isOutOfTheBlue = peer.suspicion === null;
    const isNews = this.#suspect(peer, rumor, nowMs);
    if (rumor.kind === "dead" && !isOutOfTheBlue) this.believe(rumor, nowMs);
    else this.#checkRefusals(peer, nowMs);
    return isNews ? "news" : "known";
  }

  /** A death of which there is no doubt here: told long enough, or of a member that this node never knew alive. */
  believe(rumor: Rumor, nowMs: number): void {
    const peer = this.#peerById.get(rumor.subject);
    if (peer === undefined || !isPresent(peer) || isBefore(rumor, peer)) return;
    Object.assign(peer, { incarnation: rumor.incarnation, refutation: rumor.refutation });
    this.#move(peer, "dead", `given up by ${this.#nameOf(rumor.by)}`, nowMs);
  }

  /** Looks whose time has passed; to be called some ten or twenty times a second. */
  tick(nowMs: number, healthScore: number): void {
    const isReview = nowMs - this.#reviewedAtMs >= REVIEW_EVERY_MS || nowMs < this.#reviewedAtMs;
    if (isReview) this.#reviewedAtMs = nowMs;
    const { presentCount } = this;
    const wellCount = presentCount - this.#suspects.length;
    const judge = { presentCount, wellCount, healthScore, doubtsItself: this.#doubtsItself };
    for (const peer of this.#timed) {
      if (peer.suspicion !== null) {
        const waitsMs = lastsMs(peer.suspicion, judge);
        const waitedMs = nowMs - peer.suspicion.sinceMs;
        if (waitedMs >= waitsMs / 2) this.#repeat(peer, peer.suspicion);
        if (waitedMs >= waitsMs && !this.isHeld(nowMs)) this.#giveUp(peer, "did not answer", nowMs);
      } else if (isReview) this.#review(peer, nowMs);
    }
  }

  /** Tells an own accusation once more, before it becomes a death: the first may not have reached the accused. */
  #repeat({ id, incarnation, refutation }: Peer, suspicion: Suspicion): void {
    if (suspicion.isRepeated || !suspicion.accusers.has(this.#self)) return;
    suspicion.isRepeated = true;
    this.#rumors.push({ kind: "suspect", subject: id, incarnation, refutation, by: this.#self });
  }

  #review(peer: Peer, nowMs: number): void {
    if (peer.settlesAtMs !== null && nowMs >= peer.settlesAtMs) {
      peer.settlesAtMs = null;
      this.#touched.push(peer);
    }
    if (peer.state === "away" && nowMs >= peer.awayUntilMs && !this.isHeld(nowMs))
      this.#giveUp(peer, "did not come back in the time it said", nowMs);
    const isGone = peer.state === "dead" || peer.state === "left";
    if (isGone && peer.link === null && nowMs - peer.sinceMs > FORGOTTEN_AFTER_MS) this.#forget(peer);
    else if (!isGone && peer.state !== "away" && peer.settlesAtMs === null) this.#timed.delete(peer);
  }

  #forget(peer: Peer): void {
    this.#peerById.delete(peer.id);
    this.#damping.forget(peer.id);
    this.#timed.delete(peer);
    this.#forgotten.push(peer);
  }

  /** Adds an accusation to what speaks against a member. @returns true when it is new */
  #suspect(peer: Peer, { kind, by }: Rumor, nowMs: number): boolean {
    const suspicion = peer.suspicion ?? {
      sinceMs: nowMs,
      members: this.presentCount,
      accusers: new Set(),
      refusers: new Set(),
      isRepeated: false,
    };
    const voices = kind === "refused" ? suspicion.refusers : suspicion.accusers;
    if (voices.has(by)) return false;
    voices.add(by);
    // Who was refused does not reach it either.
    suspicion.accusers.add(by);
    const why = kind === "refused" ? "is refused" : "does not reach it";
    if (peer.state === "alive") this.#move(peer, "suspect", `${this.#nameOf(by)} ${why}`, nowMs);
    peer.suspicion = suspicion;
    return true;
  }

  #checkRefusals(peer: Peer, nowMs: number): void {
    const refusers = peer.suspicion?.refusers.size ?? 0;
    if (refusers === 0 || this.isHeld(nowMs)) return;
    if (refusers < 2 && this.#hasWitness(peer)) return;
    this.#giveUp(peer, "connection refused", nowMs);
    // Its host has answered: whatever ails this node, that daemon was gone.
    this.#damping.takeExcuse(peer.id);
  }

  /** True when there is another member that could see what this node sees. */
  #hasWitness(accused: Peer): boolean {
    for (const peer of this.#peerById.values()) if (peer !== accused && peer.state === "alive") return true;
    return false;
  }

  #giveUp(peer: Peer, reason: string, nowMs: number): void {
    if (!isPresent(peer)) return;
    const { id, incarnation, refutation } = peer;
    this.#move(peer, "dead", reason, nowMs);
    this.#rumors.push({ kind: "dead", subject: id, incarnation, refutation, by: this.#self });
  }

  #move(peer: Peer, state: MemberState, reason: string, nowMs: number): void {
    // All that is held of it is of a life that left: so it is for those too who saw a later one come and die.
    const to = state === "dead" && peer.logSaysLeft ? "left" : state;
    const from = peer.state;
    const wasPresent = isPresent(peer);
    if (from === to) return;
    const doubtedMs = nowMs - peer.sinceMs;
    peer.state = to;
    peer.sinceMs = nowMs;
    peer.suspicion = null;
    if (to !== "alive") peer.via = null;
    // A return from `away` or `left` was meant: only who was missed has flapped. Not who answers an accusation at once:
    // else a liar could keep a member out of service by accusing it again and again.
    const wasMissed = from === "dead" || (from === "suspect" && doubtedMs >= MISSED_MS);
    if (to === "alive" && !this.#damping.takeExcuse(peer.id) && wasMissed)
      peer.settlesAtMs = this.#damping.flapped(peer.id, nowMs);
    if (from === "alive" && this.#doubtsItself) this.#damping.excuse(peer.id);
    if (to !== "alive" || peer.settlesAtMs !== null) this.#timed.add(peer);
    this.#presentCount += Number(isPresent(peer)) - Number(wasPresent);
    this.#moves.push({ peer, from, to, reason });
  }

  get #suspects(): Peer[] {
    return [...this.#timed].filter(({ suspicion }) => suspicion !== null);
  }

  #excuseSuspects(): void {
    for (const { id } of this.#suspects) this.#damping.excuse(id);
  }

  #nameOf(id: NodeId): string {
    return id === this.#self ? "this node" : (this.#peerById.get(id)?.name ?? id);
  }
}

const LIVING = { refutation: FIRST_LIFE.refutation, said: FIRST_LIFE.said };
