/**
 * Lab: real Docker hosts on one machine, for tests that fakes cannot answer.
 *
 *   const lab = await openLab({ hosts: 3 });
 *   after(() => lab.close());
 *   const h1 = lab.host(1);
 *   await h1.runReplica("web-1", { labels: { "skein.service": "web" } });
 *   const skein = await h1.spawn([process.execPath, "src/main.ts", "run"], { cwd: REPOSITORY, log: "skein" });
 *
 * Opening takes some three seconds, so a test file opens one lab for all its tests. Labs open side by side do not
 * touch. What a lab needs is told by requirements.ts; where it is missing a test is skipped with the reason.
 *
 * Touches: all of the lab's parts.
 */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { bridgeSubnet } from "./engine.ts";
import type { Capture } from "./capture.ts";
import { guardExit } from "./guard.ts";
import { LAB_IMAGE, LabHost, type LabTarball } from "./host.ts";
import { ensureBaseImage } from "./image.ts";
import { removeRun, removeRunNow, sweepStaleRuns } from "./removal.ts";
import { claimRun, newRunId } from "./run.ts";
import type { Run } from "./run.ts";
import { ensureSkeinImage, SKEIN_IMAGE } from "./shipped.ts";
import { keepStock, stockOf } from "./stock.ts";
import { openSwitch } from "./switch.ts";
import type { Direction, LabSwitch } from "./switch.ts";

export type LabOptions = {
  /** How many hosts, 1..50; default 3. They are named h1, h2... */
  readonly hosts?: number;
  /** 1 to 32 of a-z 0-9 and -; by default one that is never used twice. */
  readonly runId?: string;
  /** What images the hosts get: skein-lab:base (the default), skein and skein:next as well, or none. */
  readonly images?: "base" | "skein" | "none";
  /** The ranges of the hosts' docker0; default "distinct". See engine.ts. */
  readonly bridgeSubnets?: "distinct" | "same";
  /** Further arguments of dockerd. */
  readonly engineArguments?: readonly string[];
};

const LOG_LINES = 40;

export class Lab {
  readonly runId: string;
  readonly hosts: readonly LabHost[];
  /** The image's name on every host. */
  readonly image = LAB_IMAGE;
  /** The address of this machine, where tests run, as the hosts see it; it can reach the hosts' addresses. */
  readonly machineAddress: string;
  /** The default gateway of the hosts, and the only name server in their resolv.conf; it refuses every port. */
  readonly gateway: string;
  readonly #run: Run;
  readonly #wire: LabSwitch;
  readonly #callOff: () => void;

  /** Use `openLab`. */
  constructor(run: Run, parts: { wire: LabSwitch; hosts: readonly LabHost[]; callOff: () => void }) {
    this.runId = run.id;
    this.hosts = parts.hosts;
    this.machineAddress = parts.wire.machineAddress;
    this.gateway = parts.wire.gateway;
    this.#run = run;
    this.#wire = parts.wire;
    this.#callOff = parts.callOff;
  }

  /** The nth host, from 1: `host(1)` is h1. */
  host(nth: number): LabHost {
    const host = this.hosts[nth - 1];
    if (host === undefined)
      throw new Error(`the lab has ${this.hosts.length} hosts; there is no host ${nth}`);
    return host;
  }

  /** Drops what goes one way between two hosts, both named as in `LabHost.name`; replies still pass the other way. */
  async block(...ways: readonly Direction[]): Promise<void> {
    await this.#wire.lose(100, ways);
  }

  async unblock(...ways: readonly Direction[]): Promise<void> {
    await this.#wire.lose(0, ways);
  }

  /** Loses `percent` (a whole number, 0..100) of what goes one way between two hosts; 0 ends it. */
  async loseBetween(percent: number, ...ways: readonly Direction[]): Promise<void> {
    await this.#wire.lose(percent, ways);
  }

  /** Captures all that passes between the hosts, until it is stopped. */
  async capture(): Promise<Capture> {
    return await this.#wire.capture();
  }

  /** The last lines of every log of every host, to be printed when a test fails. */
  logs(): string {
    return this.hosts
      .flatMap(({ folder }) => readdirSync(join(folder, "logs")).map((name) => join(folder, "logs", name)))
      .filter((path) => path.endsWith(".log"))
      .map((path) => `== ${path}\n${readFileSync(path, "utf8").split("\n").slice(-LOG_LINES).join("\n")}`)
      .join("\n");
  }

  /** Ends and removes everything of the lab; throws when something stays. Closing twice is harmless. */
  async close(): Promise<void> {
    await removeRun(this.#run);
    this.#callOff();
  }
}

/** Opens a lab; when that fails halfway, what was opened is removed before the error is thrown. */
export async function openLab(options: LabOptions = {}): Promise<Lab> {
  await sweepStaleRuns();
  const run = claimRun(options.runId ?? newRunId());
  const callOff = guardExit(() => removeRunNow(run));
  try {
    const wire = await openSwitch(run);
    const tarball = await tarballOf(options.images ?? "base");
    const stock = tarball === null ? null : await stockOf(tarball.path);
    const hosts = planHosts(run, wire, { ...options, stock });
    await allSettled(hosts.map(async (host) => await host.boot()));
    if (tarball !== null) await allSettled(hosts.map(async (host) => await host.ensureImages(tarball)));
    const [first] = hosts;
    if (stock !== null && first !== undefined) await keepStock(stock, first.engineFolder);
    return new Lab(run, { wire, hosts, callOff });
  } catch (error) {
    await removeRun(run);
    callOff();
    throw error;
  }
}

async function tarballOf(images: LabOptions["images"]): Promise<LabTarball | null> {
  if (images === "none") return null;
  if (images === "skein") return { path: await ensureSkeinImage(), name: SKEIN_IMAGE, isSaved: true };
  return { path: await ensureBaseImage(), name: LAB_IMAGE, isSaved: false };
}

function planHosts(
  run: Run,
  wire: LabSwitch,
  options: LabOptions & { readonly stock: string | null },
): LabHost[] {
  const { hosts = 3, bridgeSubnets = "distinct", engineArguments = [], stock } = options;
  return Array.from({ length: hosts }, (_, index) => {
    const nth = index + 1;
    const address = `${wire.range.prefix}.${10 + nth}`;
    const subnet = bridgeSubnet(bridgeSubnets, nth);
    return new LabHost(run, wire, { name: `h${nth}`, address, subnet, engineArguments, stock });
  });
}

/** Not Promise.all: after the first failure the others would go on making what is being removed. */
async function allSettled(steps: readonly Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(steps)).find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}
