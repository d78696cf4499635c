/**
 * Upkeep: what membership needs while the daemon runs.
 *
 * Once a second it is looked whether this node's certificate is to be renewed, whether it lacks an authority's key that
 * a manager should have, whether it has been cut off by a rotation that it missed, and whether an old authority has
 * nobody left; one thing at a time, as each may take a while. What fails is tried again, and stands in `skein status`
 * until it succeeds. When the daemon closes, what is under way is waited for, but not long: from then on credentials
 * write nothing.
 *
 * Touches: timers; the mesh port of other hosts and the data dir, through trust.
 */

import { setTimeout as pause } from "node:timers/promises";

import { backoffMs } from "../base/backoff.ts";
import { Failure, textOf } from "../base/failure.ts";
import { renderHostPort, type HostPort } from "../base/ip.ts";
import { pick } from "../base/random.ts";
import { Repeats } from "../base/repeats.ts";
import type { Credential } from "../model/credential.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import type { Member } from "../model/member.ts";
import type { View } from "../model/view.ts";
import { nowMs, wallMs } from "../runtime/clock.ts";
import type { Input } from "../step.ts";
import type { Credentials } from "../trust/credentials.ts";
import { fetchKeysAt, fetchRootsAt, renewAt } from "../trust/joining.ts";
import type { Identity } from "../trust/keyfile.ts";
import { Renewal } from "../trust/renewal.ts";

import type { Base } from "./base.ts";

const LOOK_EVERY_MS = 1000;
/** Between two attempts at what is not urgent. */
const AGAIN_MS = 5000;
/** Between two rounds in which all known addresses were asked in vain why nobody speaks to this node, at most. */
const ALONE_AGAIN_MS = 60_000;
const TOLD_EVERY_MS = 60_000;
/** For a look under way to end before the daemon closes without it: it may be waiting for another host. */
const CLOSE_MS = 500;

/** What upkeep needs to know. */
export interface UpkeepParts {
  readonly identity: Identity;
  readonly credentials: Credentials;
  readonly view: () => View;
  /** As a member's log says; undefined while that is not known. */
  readonly credentialOf: (member: NodeId) => Credential | undefined;
  /** Where members were at some time, for who hears none of them. */
  readonly addresses: () => readonly HostPort[];
  readonly feed: (input: Input) => void;
}

/** Begins the upkeep; it ends with the daemon. */
export function openUpkeep(base: Base, parts: UpkeepParts): void {
  const upkeep = new Upkeep(base, parts);
  const timer = setInterval(() => void upkeep.look(), LOOK_EVERY_MS);
  const close = (): Promise<void> => {
    clearInterval(timer);
    return upkeep.close();
  };
  base.lifecycle.opened({ name: "certificate upkeep", close });
  upkeep.note();
}

/** What time it is; see clock.ts for which is for what. */
export interface UpkeepClock {
  readonly nowMs: () => number;
  readonly wallMs: () => number;
}

/** The upkeep itself, which looks when it is told to. */
export class Upkeep {
  readonly #base: Base;
  readonly #parts: UpkeepParts;
  readonly #renewal: Renewal;
  readonly #told = new Repeats(TOLD_EVERY_MS, LIMITS.repeatsKept);
  readonly #clock: UpkeepClock;
  /** The look under way; null when there is none. */
  #looking: Promise<void> | null = null;
  #isClosed = false;
  #againAtMs = 0;
  #aloneAgainAtMs = 0;
  /** Since it was alone. */
  #addressesAsked = 0;
  /** What a manager said when it refused this node. */
  #refusal: string | null = null;

  constructor(base: Base, parts: UpkeepParts, clock: UpkeepClock = { nowMs, wallMs }) {
    this.#base = base;
    this.#parts = parts;
    this.#clock = clock;
    this.#renewal = new Renewal(base.random, base.options.pace);
  }

  /** Does what is due. Never throws. */
  async look(): Promise<void> {
    if (this.#looking !== null || this.#isClosed) return;
    this.#looking = this.#look();
    await this.#looking;
    this.#looking = null;
  }

  /** Looks no more. @returns settles when a look under way has ended, or after CLOSE_MS */
  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#looking === null) return;
    const given = new AbortController();
    // Given up when the look was faster: that is no error.
    const late = pause(CLOSE_MS, undefined, { signal: given.signal }).catch(() => undefined);
    await Promise.race([this.#looking, late]);
    given.abort();
  }

  async #look(): Promise<void> {
    try {
      await this.#renew();
      if (this.#isClosed || this.#clock.nowMs() < this.#againAtMs) return;
      this.#againAtMs = this.#clock.nowMs() + this.#pauseMs();
      await this.#fetchKeys();
      if (!this.#isClosed) await this.#findOut();
      if (!this.#isClosed) this.#retireRoots();
    } catch (thrown) {
      this.#warn(textOf(thrown));
    }
  }

  /** Notes when this node's certificate ends, for who watches. */
  note(): void {
    this.#base.metrics.certificateEnds.set(this.#parts.credentials.credential.notAfterMs / 1000);
  }

  async #renew(): Promise<void> {
    const { credentials } = this.#parts;
    const { report } = this.#base;
    if (credentials.admission.isRevoked(credentials.id)) {
      const remedy = 'run "skein leave --force" here; started again it is a new node, which may join';
      report.trustProblem = `this node was removed from its cluster and goes on alone; ${remedy}`;
      return;
    }
    const managers = this.#managers();
    const step = this.#renewal.next(
      {
        term: credentials.term,
        newest: credentials.newestRoot.fingerprint,
        hasKey: credentials.hasNewestKey,
        managers: managers.map(({ id }) => id),
      },
      this.#clock.wallMs(),
    );
    if (step.kind === "wait") return;
    if (step.kind === "ended") {
      const remedy = 'run "skein leave --force" here, start again and join with a token';
      report.trustProblem = `this node's certificate has ended and cannot be renewed any more; ${remedy}`;
      return;
    }
    const manager = step.kind === "ask" ? managers.find(({ id }) => id === step.manager) : undefined;
    try {
      await this.#renewBy(manager);
      report.trustProblem = null;
    } catch (thrown) {
      if (this.#isClosed) return;
      this.#renewal.failed(manager?.id ?? null, this.#clock.wallMs());
      const text = `certificate cannot be renewed, it is tried again: ${textOf(thrown)}`;
      report.trustProblem = text;
      this.#warn(text);
    }
  }

  /** @param manager  whom to ask; undefined when this node has the key itself */
  async #renewBy(manager: Member | undefined): Promise<void> {
    const { credentials, identity, feed } = this.#parts;
    if (manager === undefined) await credentials.renewOwn();
    else {
      await renewAt(addressOf(manager), { credentials, identity });
      feed({ kind: "charter", charter: credentials.charter });
    }
    this.#tellRenewed(manager === undefined ? "by this node itself" : `by ${manager.name}`);
  }

  #tellRenewed(by: string): void {
    this.note();
    const { credentials } = this.#parts;
    const { config } = this.#base.options;
    const text = `good until ${new Date(credentials.credential.notAfterMs).toISOString()}, issued ${by}`;
    const subject = config.node.name;
    const atMs = this.#clock.nowMs();
    this.#base.options.log.info(`certificate.renewed ${subject}: ${text}`);
    this.#base.journal.append([{ kind: "certificate.renewed", level: "info", subject, text, atMs }]);
  }

  /** A manager that came to be one, or missed a rotation, gets the keys from another. */
  async #fetchKeys(): Promise<void> {
    const { credentials } = this.#parts;
    const manager = pick(this.#base.random, this.#managers());
    if (manager === undefined || credentials.missingKeys().length === 0) return;
    await fetchKeysAt(addressOf(manager), { credentials });
  }

  /**
   * Who hears nobody may have missed a new authority, and takes all that it issued for strangers; or was removed, and
   * nobody speaks to it any more. A manager says which: it is known by its certificate, so it is believed. Where the
   * certificate counts nothing is the matter with it: no new one is asked for. All known addresses are asked one after
   * the other, then again after a longer and longer while.
   */
  async #findOut(): Promise<void> {
    const addresses = this.#parts.addresses();
    const { report, options } = this.#base;
    const isAlone = this.#parts.view().members.every(({ self, state }) => self || state !== "alive");
    if (!isAlone) {
      if (report.trustProblem === this.#refusal) report.trustProblem = null;
      this.#addressesAsked = 0;
      this.#aloneAgainAtMs = 0;
      return;
    }
    const address = addresses[this.#addressesAsked % addresses.length];
    if (address === undefined || this.#clock.nowMs() < this.#aloneAgainAtMs) return;
    this.#addressesAsked += 1;
    if (this.#addressesAsked % addresses.length === 0) {
      const range = { firstMs: this.#pauseMs(), longestMs: ALONE_AGAIN_MS };
      const rounds = this.#addressesAsked / addresses.length;
      this.#aloneAgainAtMs = this.#clock.nowMs() + backoffMs(range, rounds, this.#base.random);
    }
    try {
      await this.#askWhy(address);
    } catch (thrown) {
      if (this.#isClosed) return;
      const text = `asked ${renderHostPort(address)} why there is no link: ${textOf(thrown)}`;
      // Mostly nobody is there, which gossip tells as well.
      if (!(thrown instanceof Failure) || thrown.code !== "not-allowed") return options.log.debug(text);
      this.#refusal = textOf(thrown);
      report.trustProblem = this.#refusal;
      this.#warn(this.#refusal);
    }
  }

  async #askWhy(address: HostPort): Promise<void> {
    const { credentials, identity, feed } = this.#parts;
    const { report } = this.#base;
    const { isNew, counts } = await fetchRootsAt(address, { credentials });
    if (isNew) feed({ kind: "charter", charter: credentials.charter });
    if (counts && report.trustProblem === this.#refusal) report.trustProblem = null;
    // One of an older authority is renewed in any case, as soon as a manager answers.
    if (counts && credentials.credential.issuer === credentials.newestRoot.fingerprint) return;
    await renewAt(address, { credentials, identity });
    feed({ kind: "charter", charter: credentials.charter });
    this.#tellRenewed(`at ${renderHostPort(address)}`);
  }

  /** An authority goes when all members have left it behind; who is away counts, and who is not known stops it. */
  #retireRoots(): void {
    const { credentials, view, credentialOf, feed } = this.#parts;
    const { complete, members } = view();
    if (credentials.role !== "manager" || !complete) return;
    const others = members.filter(({ self, state }) => !self && state !== "left");
    const known = others.flatMap(({ id }) => credentialOf(id) ?? []);
    if (known.length < others.length) return;
    const issuers = known.map(({ issuer }) => issuer);
    const charter = credentials.retireRoots(issuers, this.#base.options.pace.retireMs);
    feed({ kind: "charter", charter });
  }

  #managers(): readonly Member[] {
    const { members } = this.#parts.view();
    return members.filter(({ self, role, state, host }) => {
      return !self && role === "manager" && state === "alive" && host !== "";
    });
  }

  #pauseMs(): number {
    return Math.min(AGAIN_MS, this.#base.options.pace.graceMs ?? AGAIN_MS);
  }

  #warn(text: string): void {
    if (!this.#isClosed && this.#told.isNew(text, this.#clock.nowMs())) this.#base.options.log.warn(text);
  }
}

function addressOf({ host, port }: Member): HostPort {
  return { host, port };
}
