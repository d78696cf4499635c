/**
 * Conntrack: makes the kernel forget connections, by the program conntrack.
 *
 * One short call for each upstream that went, beside what else is done: no rule waits for it. Where many go at once it
 * is asked first which of them have any flows. One that fails costs no other, and is tried again later. Without the
 * program everything works but what it is for, so that is a problem told, and no failure.
 *
 * Touches: the kernel's table of connections, through the program conntrack.
 */

import { Failure, textOf } from "../../base/failure.ts";
import { run } from "../../runtime/exec.ts";

import {
  FAMILIES,
  FEW,
  familyOf,
  forgetArguments,
  goneEndpoints,
  listArguments,
  Pending,
  upstreamsIn,
  type FlowFamily,
} from "./flows.ts";
import { endpointKey, type Endpoint } from "./ruleset.ts";

const DEADLINE_MS = 20_000;
const SAID_MAX = 300;
/** Failures in a row after which the others wait too: it is not about one upstream. */
const PATIENCE = 3;
const REMEDY = 'install the program "conntrack", else UDP clients keep to upstreams that are gone';

type Endpoints = ReadonlyMap<string, Endpoint>;

/** What forgets flows. Calls only note what is to be done. */
export interface Flows {
  /** Forgets the flows of upstreams that were there and are no more. */
  forget(before: Endpoints, after: Endpoints): void;
  /** Forgets the UDP flows that an earlier life of the daemon led to upstreams that are gone. */
  sweep(kept: Endpoints): void;
  /** Tries again what failed. */
  resume(): void;
  /** Leaves what is not done yet. */
  stop(): void;
  /** What went wrong last, in words; null for nothing. */
  readonly problem: string | null;
  /** Settles when nothing is under way. */
  idle(): Promise<void>;
}

/** The connections of this network namespace. @param command  conntrack, or what runs it in another one */
export function openConntrack(command: readonly string[] = ["conntrack"]): Flows {
  return new Connections(command);
}

class Connections implements Flows {
  readonly #program: string;
  readonly #before: readonly string[];
  readonly #pending = new Pending();
  /** Who may keep flows, by the newest word. */
  #kept: Endpoints = new Map();
  #sweepIsDue = false;
  /** True until it was looked who of those that wait has flows at all. */
  #isNew = false;
  #work: Promise<void> | null = null;
  #problem: string | null = null;

  constructor([program = "conntrack", ...before]: readonly string[]) {
    this.#program = program;
    this.#before = before;
  }

  get problem(): string | null {
    return this.#problem;
  }

  forget(before: Endpoints, after: Endpoints): void {
    this.#kept = after;
    for (const endpoint of goneEndpoints(before, after)) this.#pending.add(endpoint);
    this.#isNew = true;
    this.resume();
  }

  sweep(kept: Endpoints): void {
    this.#kept = kept;
    this.#sweepIsDue = true;
    this.#isNew = true;
    this.resume();
  }

  resume(): void {
    if (this.#work !== null || (this.#pending.size === 0 && !this.#sweepIsDue)) return;
    this.#work = this.#drain()
      .catch((thrown: unknown) => this.#giveUp(thrown))
      .finally(() => {
        this.#work = null;
        if (this.#isNew) this.resume();
      });
  }

  stop(): void {
    this.#sweepIsDue = this.#isNew = false;
    this.#pending.keepOnly(() => false);
  }

  async idle(): Promise<void> {
    while (this.#work !== null) await this.#work;
  }

  async #drain(): Promise<void> {
    const failed: Endpoint[] = [];
    let problem: string | null = null;
    let inRow = 0;
    while (inRow < PATIENCE) {
      if (this.#isNew) await this.#look();
      const endpoint = this.#pending.take();
      if (endpoint === null) break;
      // It may have come back meanwhile.
      if (this.#kept.has(endpointKey(endpoint))) continue;
      const said = await this.#forgetOne(endpoint);
      inRow = said === null ? 0 : inRow + 1;
      problem = said ?? problem;
      if (said !== null) failed.push(endpoint);
    }
    for (const endpoint of failed) this.#pending.add(endpoint);
    const lost = this.#pending.takeLost();
    this.#problem =
      problem ?? (lost === 0 ? null : `flows of ${lost} upstreams that are gone stay: too many went`);
  }

  /** Adds what a sweep finds; where many wait, leaves out those without flows. */
  async #look(): Promise<void> {
    this.#isNew = false;
    if (this.#sweepIsDue) {
      this.#sweepIsDue = false;
      for (const family of FAMILIES) {
        const found = await this.#list(family, "udp");
        for (const endpoint of found?.values() ?? []) this.#pending.add(endpoint);
      }
    }
    this.#pending.keepOnly((_, key) => !this.#kept.has(key));
    if (this.#pending.size <= FEW) return;
    for (const family of FAMILIES) {
      for (const transport of ["udp", "tcp"] as const) {
        const isMeant = (one: Endpoint): boolean =>
          one.transport === transport && familyOf(one.address) === family;
        const found = await this.#list(family, transport);
        if (found !== null) this.#pending.keepOnly((one, key) => !isMeant(one) || found.has(key));
      }
    }
  }

  async #list(family: FlowFamily, transport: Endpoint["transport"]): Promise<Endpoints | null> {
    const { status, stdout } = await this.#run(listArguments(family, transport));
    return status === 0 ? upstreamsIn(stdout, transport) : null;
  }

  /** @returns what was said against it; null when nothing leads there any more */
  async #forgetOne(endpoint: Endpoint): Promise<string | null> {
    const { status, stderr } = await this.#run(forgetArguments(endpoint));
    // One call each: it reads many from a file only, and may have nowhere to write one. It fails for finding none, too.
    if (status === 0 || /\b0 flow entries have been deleted/.test(stderr)) return null;
    return `flows of upstreams that are gone stay: conntrack says: ${stderr.trim().slice(0, SAID_MAX)}`;
  }

  async #run(args: readonly string[]): Promise<{ status: number; stdout: string; stderr: string }> {
    try {
      return await run(this.#program, [...this.#before, ...args], { deadlineMs: DEADLINE_MS });
    } catch (thrown) {
      if (!(thrown instanceof Failure) || !["timeout", "invalid"].includes(thrown.code)) throw thrown;
      return { status: 1, stdout: "", stderr: thrown.message };
    }
  }

  /** There is no such program: nothing is gained by waiting. */
  #giveUp(thrown: unknown): void {
    this.stop();
    this.#problem = `flows of upstreams that are gone stay: ${textOf(thrown)}: ${REMEDY}`;
  }
}
