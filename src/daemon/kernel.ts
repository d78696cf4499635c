/**
 * Kernel: the data plane in the kernel, wired to what this daemon knows.
 *
 * Whether there is one is decided once, at the start; from then on the newest picture (view, bridges, ejections,
 * listeners, who asks for names) is handed to the reconciler whenever any of it changed. Nothing is touched until the
 * picture is whole and the proxy listens: after a restart the kernel still does what the last life told it, and a young
 * daemon knows less. A stop, a crash and a handover leave all as it is; only a purge takes it away.
 *
 * Touches: the kernel, through its parts; Docker's networks, through theirs.
 */

import type { ProblemLine, StatusReport } from "../admin/contract.ts";
import { Failure } from "../base/failure.ts";
import type { Discoveries } from "../catalog/discoveries.ts";
import { detectKernel } from "../kernel/detect.ts";
import type { KernelFacts, KernelGiven, OwnOverlay } from "../kernel/given.ts";
import { openLinks } from "../kernel/links/links.ts";
import { planLinks } from "../kernel/links/plan.ts";
import { observeUnderlay } from "../kernel/links/underlay.ts";
import { bridgeDevice, VXLAN_OVERHEAD, WIREGUARD_OVERHEAD, WIREGUARD_PORT } from "../kernel/names.ts";
import {
  openReconciler,
  planned,
  type Gathered,
  type KernelState,
  type Reconciler,
} from "../kernel/reconcile.ts";
import { hasNetAdmin } from "../kernel/rights.ts";
import { rulesPlanner } from "../kernel/rules/plan.ts";
import { openRules } from "../kernel/rules/rules.ts";
import { planWireguard } from "../kernel/wireguard/plan.ts";
import type { Network } from "../model/network.ts";
import type { NodeOverlay } from "../model/record.ts";
import { transportOf } from "../model/service.ts";
import type { View } from "../model/view.ts";
import type { Proxy } from "../proxy/proxy.ts";
import { nowMs } from "../runtime/clock.ts";
import { listenerKey } from "../proxy/routes.ts";
import type { Input } from "../step.ts";
import type { WantedNetwork } from "../source/docker/network-plan.ts";

import type { Base } from "./base.ts";
import {
  openEncryption,
  underlayOf,
  type Encryption,
  type KernelGround,
  type Underlay,
} from "./kernel-ground.ts";
import type { Served } from "./served.ts";
import type { Sources } from "./sources.ts";

/** What is gathered anew for each change. */
export interface KernelSources {
  readonly served: () => Served;
  readonly proxy: Pick<Proxy, "stats">;
  readonly sources: Pick<Sources, "kernelGiven" | "networks">;
  /** What the sources of this host have told. */
  readonly found: Pick<Discoveries, "isAwaiting" | "heardAll" | "all">;
  readonly feed: (input: Input) => void;
  /** Called when other networks are carried than before. */
  readonly onCarried: () => void;
}

/** The data plane of one daemon. */
export interface Kernel {
  /** What members are to know of this host; null where it carries no overlays. */
  readonly overlay: NodeOverlay | null;
  /** The networks whose replicas on other hosts are reached by their addresses. */
  readonly carried: ReadonlySet<string>;
  /** True where the kernel was chosen: what it was told stays when this daemon ends. */
  readonly isChosen: boolean;
  /** Begins to act, as soon as the picture is whole. */
  begin(given: KernelSources): void;
  /** To be called whenever something that is gathered changed. */
  note(): void;
  /** To be called once the proxy has opened the listeners of a complete picture. */
  listens(): void;
  /** Leaves all as it is and changes nothing any more. */
  hold(): Promise<void>;
  /** Takes everything away. @returns what is left, in words */
  remove(): Promise<readonly string[]>;
}

/**
 * Decides and prepares; nothing is touched yet.
 *
 * @throws Failure `not-allowed` when the kernel is asked for by the configuration and cannot be had
 */
export async function openKernel(base: Base, ground: KernelGround): Promise<Kernel> {
  const { config } = base.options;
  const { mode } = config.dataplane;
  const detected =
    mode === "proxy"
      ? { isPossible: false, reason: "configured" }
      : await detectKernel({ pool: ground.pool, listensOnVips: config.vip.listen });
  if (mode === "kernel" && !detected.isPossible) {
    const remedy = "mend that, or set dataplane.mode to auto";
    throw new Failure(
      "not-allowed",
      `dataplane.mode is kernel, but it cannot be: ${detected.reason}; ${remedy}`,
    );
  }
  const chosen = detected.isPossible ? "kernel" : "proxy";
  if (mode === "auto") base.report.choose("dataplane.mode", chosen, detected.reason);
  const reason = mode === "kernel" ? "configured" : detected.reason;
  if (!detected.isPossible) return new NoKernel(base, reason);
  const encryption = await openEncryption(base);
  return new RunningKernel(base, { ...ground, reason, encryption, ...(await underlayOf(base, ground)) });
}

/** How often the way by which others come is looked at: a network card may be set up anew. */
const UNDERLAY_EVERY_MS = 10_000;

/** Where the proxy carries all. */
class NoKernel implements Kernel {
  readonly overlay = null;
  readonly carried: ReadonlySet<string> = new Set();
  readonly isChosen = false;
  readonly #base: Base;
  readonly #reason: string;

  constructor(base: Base, reason: string) {
    this.#base = base;
    this.#reason = reason;
    base.metrics.kernelMode.set(0);
    base.report.dataPlane = () => ({ mode: "proxy", reason });
  }

  begin({ served }: KernelSources): void {
    const text = `not made on this host, whose data plane is the proxy (${this.#reason})`;
    this.#base.report.kernelProblems = () =>
      served().view.networks.map(({ name }) => ({ area: "network", subject: name, text }));
    // What a life in the other mode left would go on leading traffic to where things were then.
    void this.remove();
  }

  note(): void {}
  listens(): void {}
  async hold(): Promise<void> {}

  async remove(): Promise<readonly string[]> {
    // What another daemon of this network stack has made is its own.
    if (!this.#base.options.config.vip.listen || !(await hasNetAdmin())) return [];
    const parts = [openRules(), openLinks()];
    const left: string[] = [];
    for (const part of parts) {
      // Without the programs nothing was made with them, or nothing can be done about it.
      const removed = await part.remove().catch(() => null);
      left.push(...(removed?.problems ?? []));
    }
    return left;
  }
}

/** What a running one stands on. */
interface RunningGround extends KernelGround {
  readonly reason: string;
  readonly encryption: Encryption;
  readonly underlay: Underlay | null;
  /** Why there is none. */
  readonly lack: string;
}

class RunningKernel implements Kernel {
  readonly isChosen = true;
  readonly #base: Base;
  readonly #ground: RunningGround;
  readonly #reconciler: Reconciler;
  #sources: KernelSources | null = null;
  #underlay: Underlay | null;
  #listens = false;
  #wasStale = false;
  #watch: NodeJS.Timeout | null = null;

  constructor(base: Base, ground: RunningGround) {
    const { log } = base.options;
    const { metrics, report, random } = base;
    this.#base = base;
    this.#ground = ground;
    this.#underlay = ground.underlay;
    const { part } = ground.encryption;
    this.#reconciler = openReconciler({
      parts: [
        ...(part === null ? [] : [planned("wireguard", planWireguard, part)]),
        planned("links", planLinks, openLinks()),
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

  get carried(): ReadonlySet<string> {
    return this.#reconciler.state.carried;
  }

  begin(sources: KernelSources): void {
    this.#sources = sources;
    this.#watch = setInterval(() => void this.#lookAgain(), UNDERLAY_EVERY_MS);
    this.note();
  }

  note(): void {
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
    if (!view.complete || sources.found.isAwaiting) return null;
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
    return { given, mayRemove: bridges !== null && sources.found.heardAll };
  }

  /** Tells Docker which networks are wanted here: those of which this host has a slice for certain. */
  #tellNetworks(): void {
    const { served, sources } = this.#sources ?? {};
    if (served === undefined || sources?.networks == null) return;
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
      carried: this.carried,
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

  async #lookAgain(): Promise<void> {
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

/** The published ports that the proxy has open, `8080/tcp`. */
function publishedOf({ table }: Served, proxy: Pick<Proxy, "stats">): ReadonlySet<string> {
  const open = new Set(proxy.stats().listeners.map((listener) => listenerKey(listener)));
  const published = table.frontends.filter((frontend) => {
    return frontend.origin === "published" && open.has(listenerKey(frontend));
  });
  return new Set(published.map(({ port, kind }) => `${port}/${transportOf(kind)}`));
}
