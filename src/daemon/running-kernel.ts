/**
 * Running kernel: the data plane in the kernel, fed with what this daemon knows.
 *
 * The newest picture (view, bridges, ejections, listeners, who asks for names) is handed to the reconciler whenever any
 * of it changed. Nothing is touched until the picture is whole and at rest and the proxy listens: after a restart the
 * kernel still does what the last life told it, and a young daemon knows less. What the host can do is looked at again
 * and again: an address that came after the daemon, a program that was installed, a setting that somebody changed.
 *
 * Touches: the kernel, through its parts; Docker's networks, through theirs; timers.
 */

import { isDeepStrictEqual } from "node:util";

import type { ProblemLine, StatusReport } from "../admin/contract.ts";
import { textOf } from "../base/failure.ts";
import type { Forwarding, KernelFacts, KernelGiven, OwnOverlay } from "../kernel/given.ts";
import { vxlanDevice, WIREGUARD_PORT } from "../kernel/names.ts";
import type { Parts } from "../kernel/parts.ts";
import { removalsOf, type Removal } from "../kernel/planned.ts";
import {
  openReconciler,
  type Gathered,
  type KernelState,
  type Pace,
  type Reconciler,
} from "../kernel/reconcile.ts";
import type { NodeOverlay } from "../model/record.ts";
import { transportOf } from "../model/service.ts";
import type { View } from "../model/view.ts";
import type { Proxy } from "../proxy/proxy.ts";
import { listenerKey } from "../proxy/routes.ts";
import { nowMs } from "../runtime/clock.ts";

import type { Base } from "./base.ts";
import type { Encryption, Kernel, KernelGround, KernelSources, Underlay, Way } from "./kernel-ground.ts";
import { isPlaced, refusalOf, wishesOf, type NetworkGround } from "./kernel-networks.ts";
import { takeAway } from "./purge.ts";
import type { Served } from "./served.ts";
import { Unrest, type UnrestTimes } from "./unrest.ts";

/** How often is looked at what, and how long the first change waits; milliseconds. */
export interface RunningPace extends UnrestTimes {
  /** Whether devices or tables of ours are gone, and what is forwarded: a process of some milliseconds. */
  readonly lookEveryMs: number;
  /** In how many looks one is at the way by which others come: a network card may be set up anew. */
  readonly looksPerUnderlay: number;
  /** In how many looks one is for what was missing at the start: that costs processes. */
  readonly looksPerLack: number;
  readonly reconcile?: Partial<Pace>;
}

const PACE: RunningPace = {
  quietMs: 500,
  longestMs: 3000,
  lookEveryMs: 1000,
  looksPerUnderlay: 10,
  looksPerLack: 30,
};

/** For questions for names to be let go, at the end: DNS is there until then. */
const QUESTIONS_MS = 1000;

/** What is seen of the host, when it is looked. */
export interface Eyes {
  readonly devices: () => Promise<ReadonlySet<string>>;
  /** Names of our tables of rules; null where nft does not tell. */
  readonly tables: () => Promise<ReadonlySet<string> | null>;
  readonly forwarding: () => Promise<Forwarding>;
  /** How others' packets come here: at an address that is there, and whether tunnels can be made. */
  readonly underlay: () => Promise<Way>;
  /** The same for one that is known to have tunnels. */
  readonly moved: () => Promise<Underlay | null>;
}

/** What a running one stands on. */
export interface RunningGround extends KernelGround {
  readonly reason: string;
  readonly parts: Parts;
  readonly eyes: Eyes;
  readonly encryption: Encryption;
  /** As it was at the start. */
  readonly way: Way;
  readonly forwards: Forwarding;
  /** Our devices that an earlier life left. */
  readonly devices: ReadonlySet<string>;
  /** For tests. */
  readonly pace?: Partial<RunningPace>;
}

export class RunningKernel implements Kernel {
  readonly isChosen = true;
  readonly #base: Base;
  readonly #ground: RunningGround;
  readonly #pace: RunningPace;
  readonly #reconciler: Reconciler;
  readonly #unrest: Unrest;
  #sources: KernelSources | null = null;
  #way: Way;
  #encryption: Encryption;
  #forwards: Forwarding;
  #listens = false;
  #wasStale = false;
  #isHeld = false;
  #isLooking = false;
  /** What members are told of the way here. */
  #said: NodeOverlay | null;
  #devices: ReadonlySet<string>;
  #tables: ReadonlySet<string> = new Set();
  #lookCount = 0;
  #watch: NodeJS.Timeout | null = null;
  #waiting: NodeJS.Timeout | null = null;

  constructor(base: Base, ground: RunningGround) {
    const { log } = base.options;
    const { metrics, report, random } = base;
    this.#base = base;
    this.#ground = ground;
    this.#pace = { ...PACE, ...ground.pace };
    this.#unrest = new Unrest(this.#pace);
    ({ way: this.#way, encryption: this.#encryption, forwards: this.#forwards } = ground);
    this.#devices = ground.devices;
    this.#reconciler = openReconciler({
      parts: ground.parts.all,
      gather: () => this.#gather(),
      log,
      random,
      onState: (state) => this.#became(state),
      onApplied({ ms, changes, failures }) {
        if (changes > 0) metrics.kernelApplySeconds.observe(ms / 1000);
        if (failures > 0) metrics.kernelApplyFailures.inc();
      },
      onRepaired: (name, count) => metrics.kernelRepairs.inc({ part: name }, count),
      ...(this.#pace.reconcile && { pace: this.#pace.reconcile }),
    });
    this.#said = this.overlay;
    metrics.kernelMode.set(1);
    report.dataPlane = () => this.#told();
    report.kernelProblems = () => this.#problems();
    report.kernelFacts = () => this.#facts();
  }

  /** None while no rules are left, either: nothing here would lead on what others send. */
  get overlay(): NodeOverlay | null {
    const { underlay } = this.#way;
    if (underlay === null || !this.#reconciler.state.hasRules) return null;
    const { address, mtu } = underlay;
    const { part, works } = this.#encryption;
    if (part === null || !works) return { address, mtu };
    return { address, mtu, wireguard: { key: part.publicKey, port: WIREGUARD_PORT } };
  }

  get isBehind(): boolean {
    return this.#reconciler.isBehind;
  }

  caughtUp(): Promise<void> {
    return this.#reconciler.caughtUp();
  }

  carriedIn({ networks }: View): ReadonlySet<string> {
    const { carried } = this.#reconciler.state;
    if (carried !== null) return carried;
    // What the last life left works until it is told otherwise.
    const left = networks.filter(({ vni }) => this.#devices.has(vxlanDevice(vni)));
    return new Set(left.map(({ name }) => name));
  }

  begin(sources: KernelSources): void {
    this.#sources = sources;
    this.#watch = setInterval(() => void this.#lookOnce(), this.#pace.lookEveryMs);
    this.note();
  }

  note(): void {
    const served = this.#sources?.served();
    this.#unrest.note(served?.view, nowMs());
    if (served !== undefined) {
      this.#sources?.sources.networks?.set(wishesOf(served.view, this.#networkGround));
    }
    this.#reconciler.note();
    const isStale = this.#sources?.found.all.some(({ stale }) => stale !== null) === true;
    // An engine that comes back makes its rules anew, and some of its bridges.
    if (this.#wasStale && !isStale) this.#reconciler.repairSoon();
    this.#wasStale = isStale;
  }

  listens(): void {
    if (this.#listens) return;
    this.#listens = true;
    this.note();
  }

  async hold(): Promise<void> {
    // Once: what hung the first time would be waited for twice.
    if (this.#isHeld) return;
    this.#isHeld = true;
    if (this.#watch !== null) clearInterval(this.#watch);
    if (this.#waiting !== null) clearTimeout(this.#waiting);
    await this.#reconciler.close();
  }

  async freeQuestions(): Promise<void> {
    const { parts } = this.#ground;
    const remove = async (): Promise<readonly string[]> => {
      await this.#reconciler.idle();
      return (await parts.freeQuestions()).problems;
    };
    const left = await takeAway([{ what: "questions for names are still led here", remove }], QUESTIONS_MS);
    for (const text of left) this.#base.options.log.warn(text);
  }

  get removals(): readonly Removal[] {
    const remove = async (): Promise<readonly string[]> =>
      (await this.#sources?.sources.networks?.remove()) ?? [];
    return [
      // Calls of a part are never made at once.
      { what: "a change of rules that is under way", remove: () => this.#reconciler.idle().then(() => []) },
      ...removalsOf(this.#ground.parts.all),
      { what: "Docker's networks", remove },
    ];
  }

  /** The whole of what is known; null while that is too little to touch anything. */
  #gather(): Gathered | null {
    const sources = this.#sources;
    if (sources === null || !this.#listens) return null;
    const { view } = sources.served();
    if (!view.complete || sources.found.isAwaiting || !this.#isAtRest()) return null;
    const { bridges, guests, askers } = sources.sources.kernelGiven();
    const { pool, pool6 } = this.#ground;
    const given: KernelGiven = {
      view,
      pool: pool.text,
      pool6,
      bridges: bridges ?? [],
      overlay: this.#ownOverlay,
      forwards: this.#forwards,
      listening: publishedOf(sources.served(), sources.proxy),
      ingressAddress: this.#base.options.config.ingress.address,
      ejected: new Set(sources.proxy.stats().ejected.map(({ id }) => id)),
      guests,
      askers,
    };
    const isWhole = bridges?.every((bridge) => isPlaced(view, bridge)) === true;
    return { given, mayRemove: sources.found.heardAll && isWhole };
  }

  #isAtRest(): boolean {
    const isOver = this.#unrest.isOver(nowMs());
    if (!isOver) this.#waiting ??= setTimeout(() => this.#lookAgain(), this.#pace.quietMs / 5);
    return isOver;
  }

  #lookAgain(): void {
    this.#waiting = null;
    this.#reconciler.note();
  }

  #became(state: KernelState): void {
    this.#base.metrics.kernelMode.set(state.mode === "kernel" ? 1 : 0);
    this.#sources?.onCarried();
    this.#sayOverlay();
  }

  #told(): StatusReport["dataPlane"] {
    const { mode, reason } = this.#reconciler.state;
    return { mode, reason: mode === "kernel" ? this.#ground.reason : reason };
  }

  #facts(): KernelFacts {
    return {
      overlay: this.#ownOverlay,
      carried: this.#reconciler.state.carried ?? new Set(),
      bridges: this.#sources?.sources.kernelGiven().bridges ?? [],
      encryption: this.#encryption.reason,
      problems: this.#reconciler.problems,
    };
  }

  get #ownOverlay(): OwnOverlay | null {
    const { underlay } = this.#way;
    return underlay === null ? null : { ...underlay, encrypts: this.#encryption.works };
  }

  get #networkGround(): NetworkGround {
    const { underlay, lack } = this.#way;
    const bridges = this.#sources?.sources.kernelGiven().bridges ?? null;
    return { underlayMtu: underlay?.mtu ?? null, lack, encryption: this.#encryption, bridges };
  }

  #problems(): readonly ProblemLine[] {
    const ofDocker = this.#sources?.sources.networks?.problems ?? [];
    const view = this.#sources?.served().view;
    const refused = (view?.networks ?? []).flatMap((network): ProblemLine[] => {
      const text = view === undefined ? null : refusalOf(view, network, this.#networkGround);
      return text === null ? [] : [{ area: "network", subject: network.name, text }];
    });
    const ofKernel = this.#reconciler.problems.map((text): ProblemLine => {
      return { area: "kernel", subject: "data plane", text };
    });
    const told = ofDocker.map(({ subject, text }): ProblemLine => ({ area: "network", subject, text }));
    return [...ofKernel, ...told, ...refused];
  }

  /** One look at a time: programs may hang. */
  async #lookOnce(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    await this.#look().catch((thrown: unknown) => {
      this.#base.options.log.warn(`kernel data plane: ${textOf(thrown)}`);
    });
    this.#isLooking = false;
  }

  async #look(): Promise<void> {
    const { eyes } = this.#ground;
    const [devices, tables] = [await eyes.devices(), await eyes.tables()];
    // Somebody took one away, or the program behind it has ended: not half a minute without it.
    const isGone = lacks(devices, this.#devices) || (tables !== null && lacks(tables, this.#tables));
    this.#devices = devices;
    this.#tables = tables ?? this.#tables;
    if (isGone) this.#reconciler.repairSoon();
    const forwards = await eyes.forwarding();
    if (!isDeepStrictEqual(forwards, this.#forwards)) {
      this.#forwards = forwards;
      this.note();
    }
    this.#lookCount += 1;
    if (this.#lookCount % this.#pace.looksPerUnderlay === 0) await this.#lookAtUnderlay();
    if (this.#lookCount % this.#pace.looksPerLack === 0) await this.#lookForLacks();
  }

  async #lookAtUnderlay(): Promise<void> {
    const { underlay } = this.#way;
    if (underlay === null) return;
    const moved = await this.#ground.eyes.moved();
    if (moved === null || isDeepStrictEqual(moved, underlay)) return;
    this.#way = { underlay: moved, lack: "" };
    this.#overlayChanged();
  }

  /** What was missing may be there by now: an address that came late, a program that was installed. */
  async #lookForLacks(): Promise<void> {
    const before = this.overlay;
    if (this.#way.underlay === null) this.#way = await this.#ground.eyes.underlay();
    const { part, works } = this.#encryption;
    const isWanted = this.#sources?.served().view.networks.some(({ encrypted }) => encrypted) === true;
    if (part !== null && !works && isWanted) this.#encryption = { part, ...(await part.ability()) };
    if (!isDeepStrictEqual(before, this.overlay)) this.#overlayChanged();
  }

  #overlayChanged(): void {
    if (this.#isHeld) return;
    this.#sayOverlay();
    this.note();
  }

  #sayOverlay(): void {
    const { overlay } = this;
    if (isDeepStrictEqual(overlay, this.#said)) return;
    this.#said = overlay;
    this.#sources?.feed({ kind: "overlay", overlay });
  }
}

function lacks(now: ReadonlySet<string>, before: ReadonlySet<string>): boolean {
  return [...before].some((name) => !now.has(name));
}

/** The published ports that the proxy has open, `8080/tcp`. */
function publishedOf({ table }: Served, proxy: Pick<Proxy, "stats">): ReadonlySet<string> {
  const open = new Set(proxy.stats().listeners.map((listener) => listenerKey(listener)));
  const published = table.frontends.filter((frontend) => {
    return frontend.origin === "published" && open.has(listenerKey(frontend));
  });
  return new Set(published.map(({ port, kind }) => `${port}/${transportOf(kind)}`));
}
