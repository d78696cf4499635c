/**
 * Upkeep: what membership needs while the daemon runs.
 *
 * Once a second it is looked whether this node's certificate is to be renewed, whether it lacks an authority's key that
 * a manager should have, whether it has been cut off by a rotation that it missed, and whether an old authority has
 * nobody left; one thing at a time, as each may take a while. What fails is tried again, and stands in `skein status`
 * until it succeeds.
 *
 * Touches: timers; the mesh port of other hosts and the data dir, through trust.
 */

import { Failure, textOf } from "../base/failure.ts";
import { renderHostPort, type HostPort } from "../base/ip.ts";
import { pick } from "../base/random.ts";
import { Repeats } from "../base/repeats.ts";
import type { Credential } from "../model/credential.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import type { Member } from "../model/member.ts";
import type { View } from "../model/view.ts";
import { nowMs } from "../runtime/clock.ts";
import type { Input } from "../step.ts";
import type { Credentials } from "../trust/credentials.ts";
import { fetchKeysAt, fetchRootsAt, renewAt } from "../trust/joining.ts";
import type { Identity } from "../trust/keyfile.ts";
import { Renewal } from "../trust/renewal.ts";

import type { Base } from "./base.ts";

const LOOK_EVERY_MS = 1000;
/** Between two attempts at what is not urgent. */
const AGAIN_MS = 5000;
const TOLD_EVERY_MS = 60_000;

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
  base.lifecycle.opened({ name: "certificate upkeep", close: () => clearInterval(timer) });
  upkeep.note();
}

class Upkeep {
  readonly #base: Base;
  readonly #parts: UpkeepParts;
  readonly #renewal: Renewal;
  readonly #told = new Repeats(TOLD_EVERY_MS, LIMITS.repeatsKept);
  #isBusy = false;
  #againAtMs = 0;
  #addressesAsked = 0;
  /** What a manager said when it refused this node. */
  #refusal: string | null = null;

  constructor(base: Base, parts: UpkeepParts) {
    this.#base = base;
    this.#parts = parts;
    this.#renewal = new Renewal(base.random, base.options.pace);
  }

  /** Does what is due. Never throws. */
  async look(): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    try {
      await this.#renew();
      if (nowMs() < this.#againAtMs) return;
      this.#againAtMs = nowMs() + this.#pauseMs();
      await this.#fetchKeys();
      await this.#findOut();
      this.#retireRoots();
    } catch (thrown) {
      this.#warn(textOf(thrown));
    } finally {
      this.#isBusy = false;
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
      nowMs(),
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
      this.#renewal.failed(manager?.id ?? null, nowMs());
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
    this.note();
    const { config } = this.#base.options;
    const by = manager === undefined ? "by this node itself" : `by ${manager.name}`;
    const text = `good until ${new Date(credentials.credential.notAfterMs).toISOString()}, issued ${by}`;
    const subject = config.node.name;
    this.#base.options.log.info(`certificate.renewed ${subject}: ${text}`);
    this.#base.journal.append([{ kind: "certificate.renewed", level: "info", subject, text, atMs: nowMs() }]);
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
   * nobody speaks to it any more. A manager says which: it is known by its certificate, so it is believed.
   */
  async #findOut(): Promise<void> {
    const { credentials, identity, view, feed } = this.#parts;
    const addresses = this.#parts.addresses();
    const { report, options } = this.#base;
    const isAlone = view().members.every(({ self, state }) => self || state !== "alive");
    if (!isAlone && report.trustProblem === this.#refusal) report.trustProblem = null;
    const address = addresses[this.#addressesAsked % addresses.length];
    if (!isAlone || address === undefined) return;
    this.#addressesAsked += 1;
    try {
      const isNew = await fetchRootsAt(address, { credentials });
      // Somebody of the cluster answers there, and yet there is no link.
      await renewAt(address, { credentials, identity });
      if (isNew) feed({ kind: "charter", charter: credentials.charter });
    } catch (thrown) {
      const text = `asked ${renderHostPort(address)} why there is no link: ${textOf(thrown)}`;
      // Mostly nobody is there, which gossip tells as well.
      if (!(thrown instanceof Failure) || thrown.code !== "not-allowed") return options.log.debug(text);
      this.#refusal = textOf(thrown);
      report.trustProblem = this.#refusal;
      this.#warn(this.#refusal);
    }
  }

  /** An authority goes when no member has a certificate of it; who is away counts, and who is not known stops it. */
  #retireRoots(): void {
    const { credentials, view, credentialOf, feed } = this.#parts;
    const { complete, members } = view();
    if (credentials.role !== "manager" || !complete) return;
    const others = members.filter(({ self, state }) => !self && state !== "left");
    const known = others.flatMap(({ id }) => credentialOf(id) ?? []);
    if (known.length < others.length) return;
    const charter = credentials.retireRoots(known.map(({ issuer }) => issuer));
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
    if (this.#told.isNew(text, nowMs())) this.#base.options.log.warn(text);
  }
}

function addressOf({ host, port }: Member): HostPort {
  return { host, port };
}
