/**
 * Running kernel: the data plane in the kernel, fed with what this daemon knows.
 *
 * The newest picture (view, bridges, ejections, listeners, who asks for names) is handed to the reconciler whenever any
 * of it changed. Nothing is touched until the picture is whole and at rest and the proxy listens: after a restart the
 * kernel still does what the last life told it, and a young daemon knows less.
 *
 * Touches: the kernel, through its parts; Docker's networks, through theirs; timers.
 */

import type { ProblemLine, StatusReport } from "../admin/contract.ts";
import type { KernelFacts, KernelGiven, OwnOverlay } from "../kernel/given.ts";
import { openLinks } from "../kernel/links/links.ts";
import { linksPlanner } from "../kernel/links/plan.ts";
import { observeUnderlay } from "../kernel/links/underlay.ts";
import {
  bridgeDevice,
  VXLAN_OVERHEAD,
  vxlanDevice,
  WIREGUARD_OVERHEAD,
  WIREGUARD_PORT,
} from "../kernel/names.ts";
import {
  openReconciler,
  planned,
  type Gathered,
  type KernelState,
  type Reconciler,
} from "../kernel/reconcile.ts";
import { observeOwnDevices } from "../kernel/observe.ts";
import { rulesPlanner } from "../kernel/rules/plan.ts";
import { openRules } from "../kernel/rules/rules.ts";
import { planWireguard } from "../kernel/wireguard/plan.ts";
import type { Bridge, Network } from "../model/network.ts";
import type { NodeOverlay } from "../model/record.ts";
import { transportOf } from "../model/service.ts";
import type { View } from "../model/view.ts";
import type { Proxy } from "../proxy/proxy.ts";
import { nowMs } from "../runtime/clock.ts";
import { listenerKey } from "../proxy/routes.ts";
import type { WantedNetwork } from "../source/docker/network-plan.ts";

import type { Base } from "./base.ts";
import type { Encryption, Kernel, KernelGround, KernelSources, Underlay } from "./kernel-ground.ts";
import type { Served } from "./served.ts";

/** For how long nothing changes in a picture that is whole, and how long that is waited for. */
const QUIET_MS = 500;
const UNREST_MS = 3000;
/** How often it is looked whether devices of ours are gone: one file of a few lines. */
const LOOK_EVERY_MS = 1000;
/** In how many looks one is at the way by which others come: a network card may be set up anew. */
const LOOKS_PER_UNDERLAY = 10;

/** What a running one stands on. */
export interface RunningGround extends KernelGround {
  readonly reason: string;
  readonly encryption: Encryption;
  readonly underlay: Underlay | null;
  /** Why there is none. */
  readonly lack: string;
  /** Our devices that an earlier life left. */
  readonly devices: ReadonlySet<string>;
}

export class RunningKernel implements Kernel {
  readonly isChosen = true;
  readonly #base: Base;
  readonly #ground: RunningGround;
  readonly #reconciler: Reconciler;
  #sources: KernelSources | null = null;
  #underlay: Underlay | null;
  #listens = false;
  #wasStale = false;
  #hasBegun = false;
  #view: View | null = null;
  /** When the view changed last, and since when there is one that is complete. */
  #changedAtMs = 0;
  #wholeSinceMs = Infinity;
  #devices: ReadonlySet<string>;
  #lookCount = 0;
  #watch: NodeJS.Timeout | null = null;
  #waiting: NodeJS.Timeout | null = null;

  constructor(base: Base, ground: RunningGround) {
    const { log } = base.options;
    const { metrics, report, random } = base;
    this.#base = base;
    this.#ground = ground;
    this.#underlay = ground.underlay;
    this.#devices = ground.devices;
    const { part } = ground.encryption;
    this.#reconciler = openReconciler({
      parts: [
        ...(part === null ? [] : [planned("wireguard", planWireguard, part)]),
        planned("links", linksPlanner(), openLinks()),
        planned("rules", rulesPlanner({ nowMs }), openRules()),
      ],
      gather: () => this.#gather(),
      log,
      random,
      onState: (state) => this.#became(state),
      onApplied(ms, isWhole) {
        metrics.kernelApplySeconds.observe(ms / 1000);
        if (!isWhole) metrics.kernelApplyFailures.inc();
      },
      onRepaired: (name, count) => metrics.kernelRepairs.inc({ part: name }, count),
    });
    metrics.kernelMode.set(1);
    report.dataPlane = () => this.#told();
    report.kernelProblems = () => this.#problems();
    report.kernelFacts = () => this.#facts();
  }

  get overlay(): NodeOverlay | null {
    if (this.#underlay === null) return null;
    const { address, mtu } = this.#underlay;
    const { part, works } = this.#ground.encryption;
    if (part === null || !works) return { address, mtu };
    return { address, mtu, wireguard: { key: part.publicKey, port: WIREGUARD_PORT } };
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
    this.#watch = setInterval(() => void this.#look(), LOOK_EVERY_MS);
    this.note();
  }

  note(): void {
    const view = this.#sources?.served().view ?? null;
    if (view !== this.#view) this.#changedAtMs = nowMs();
    this.#view = view;
    this.#tellNetworks();
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
    if (this.#watch !== null) clearInterval(this.#watch);
    if (this.#waiting !== null) clearTimeout(this.#waiting);
    await this.#reconciler.close();
  }

  async remove(): Promise<readonly string[]> {
    await this.hold();
    const { problems } = await this.#reconciler.remove();
    return [...problems, ...((await this.#sources?.sources.networks?.remove()) ?? [])];
  }

  /** The whole of what is known; null while that is too little to touch anything. */
  #gather(): Gathered | null {
    const sources = this.#sources;
    if (sources === null || !this.#listens) return null;
    const { view } = sources.served();
    if (!view.complete || sources.found.isAwaiting || !this.#isQuiet()) return null;
    this.#hasBegun = true;
    const { bridges, guests, askers } = sources.sources.kernelGiven();
    const { pool, pool6 } = this.#ground;
    const given: KernelGiven = {
      view,
      pool: pool.text,
      pool6,
      bridges: bridges ?? [],
      overlay: this.#ownOverlay,
      listening: publishedOf(sources.served(), sources.proxy),
      ingressAddress: this.#base.options.config.ingress.address,
      ejected: new Set(sources.proxy.stats().ejected.map(({ id }) => id)),
      guests,
      askers,
    };
    return { given, mayRemove: sources.found.heardAll && bridges !== null && bridges.every(isPlaced(view)) };
  }

  /** A young picture grows member by member, and what the last life left knows them all: so it is waited for. */
  #isQuiet(): boolean {
    if (this.#hasBegun) return true;
    this.#wholeSinceMs = Math.min(this.#wholeSinceMs, nowMs());
    const isQuiet = nowMs() - this.#changedAtMs >= QUIET_MS || nowMs() - this.#wholeSinceMs >= UNREST_MS;
    if (!isQuiet) this.#waiting ??= setTimeout(() => this.#lookAgain(), QUIET_MS / 5);
    return isQuiet;
  }

  #lookAgain(): void {
    this.#waiting = null;
    this.#reconciler.note();
  }

  /** Tells Docker which networks are wanted here: those of which this host has a slice for certain. */
  #tellNetworks(): void {
    const { served, sources } = this.#sources ?? {};
    if (served === undefined || sources === undefined || sources.networks === null) return;
    const { view } = served();
    const networks = view.networks.flatMap((network) => this.#wantedOf(view, network) ?? []);
    const known = view.complete ? new Set(view.networks.map(({ name }) => name)) : null;
    sources.networks.set({ networks, known });
  }

  #wantedOf(view: View, network: Network): WantedNetwork | null {
    const slice = network.slices.find(({ node }) => node === view.self);
    if (slice === undefined || slice.tentative || !network.isSound) return null;
    if (this.#underlay === null || this.#refusalOf(network) !== null) return null;
    const overhead = VXLAN_OVERHEAD + (network.encrypted ? WIREGUARD_OVERHEAD : 0);
    const { prefix, prefix6 = null } = slice;
    const mtu = this.#underlay.mtu - overhead;
    return { network: network.name, device: bridgeDevice(network.name), prefix, prefix6, mtu };
  }

  #became(state: KernelState): void {
    this.#base.metrics.kernelMode.set(state.mode === "kernel" ? 1 : 0);
    this.#sources?.onCarried();
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
      encryption: this.#ground.encryption.reason,
      problems: this.#reconciler.problems,
    };
  }

  get #ownOverlay(): OwnOverlay | null {
    return this.#underlay === null ? null : { ...this.#underlay, encrypts: this.#ground.encryption.works };
  }

  #problems(): readonly ProblemLine[] {
    const { problems: ofKernel } = this.#reconciler;
    const ofDocker = this.#sources?.sources.networks?.problems ?? [];
    return [
      ...ofKernel.map((text): ProblemLine => ({ area: "kernel", subject: "data plane", text })),
      ...ofDocker.map(({ subject, text }): ProblemLine => ({ area: "network", subject, text })),
      ...(this.#sources?.served().view.networks ?? []).flatMap((network): ProblemLine[] => {
        const text = this.#refusalOf(network);
        return text === null ? [] : [{ area: "network", subject: network.name, text }];
      }),
    ];
  }

  /** Why a network is not made on this host; null when it is. */
  #refusalOf({ encrypted }: Network): string | null {
    const { works, reason } = this.#ground.encryption;
    if (this.#underlay === null) return `not made on this host: ${this.#ground.lack}`;
    if (encrypted && !works) return `it is encrypted and not carried here, never in clear: ${reason}`;
    return null;
  }

  async #look(): Promise<void> {
    const devices = await observeOwnDevices();
    const isGone = [...this.#devices].some((name) => !devices.has(name));
    this.#devices = devices;
    // Somebody took one away, or the program behind it has ended: not half a minute without it.
    if (isGone) this.#reconciler.repairSoon();
    this.#lookCount += 1;
    if (this.#lookCount % LOOKS_PER_UNDERLAY === 0) await this.#lookAtUnderlay();
  }

  async #lookAtUnderlay(): Promise<void> {
    const found = await observeUnderlay(this.#ground.advertised).catch(() => null);
    if (found?.kind !== "found" || this.#underlay === null) return;
    const { address, device, mtu } = found;
    const before = this.#underlay;
    if (before.address === address && before.device === device && before.mtu === mtu) return;
    this.#underlay = { address, device, mtu };
    this.#sources?.feed({ kind: "overlay", overlay: this.overlay });
    this.note();
  }
}

/** Whether a bridge is of a network that is gone, or one of whose slices is known to be this host's. */
function isPlaced({ self, networks }: View): (bridge: Bridge) => boolean {
  return ({ network: name }) => {
    const network = networks.find((candidate) => candidate.name === name);
    return network === undefined || network.slices.some(({ node }) => node === self);
  };
}

/** The published ports that the proxy has open, `8080/tcp`. */
function publishedOf({ table }: Served, proxy: Pick<Proxy, "stats">): ReadonlySet<string> {
  const open = new Set(proxy.stats().listeners.map((listener) => listenerKey(listener)));
  const published = table.frontends.filter((frontend) => {
    return frontend.origin === "published" && open.has(listenerKey(frontend));
  });
  return new Set(published.map(({ port, kind }) => `${port}/${transportOf(kind)}`));
}
