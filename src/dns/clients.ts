/**
 * Clients: what is known of an address that asks, found by one look.
 *
 * For each query it must be known what its sender sees of the zone, whether foreign names are forwarded for it and what
 * it may still be sent. All but the first follows from the address alone and is kept. What it sees is asked for each
 * time, since a container's address may be another container's a moment later; it is only its meaning for finished
 * answers, a number that those who see the same share, that is kept while it stays the same.
 *
 * Kept in two halves: when the younger one is full it becomes the older one, and who asks again moves back. So those
 * that ask stay, and a flood from forged addresses costs no more than the other half.
 *
 * Pure.
 */

import { unmapped } from "../base/ip.ts";
import { LIMITS } from "../model/limits.ts";

import type { Asker, Stranger } from "./names/lookup.ts";
import { Budgets, type Budget } from "./budget.ts";

/** A client as it was when it last asked. */
export interface KnownClient {
  /** Plain: IPv4 never in its IPv6 form. */
  readonly address: string;
  asker: Asker | Stranger;
  /** Equal for clients that see the same; never reused for others. */
  askerCode: number;
  /** Whether foreign names are forwarded for it, as far as there is an upstream. */
  readonly isAllowed: boolean;
  /** What it may be sent over UDP beyond what it asks; null for one without a bound. */
  budget: Budget | null;
  /** When it last asked; monotonic. */
  askedAtMs: number;
}

/** What the daemon knows of addresses. */
export interface ClientsOptions {
  readonly askerOf: (address: string) => Asker | Stranger;
  readonly isAllowed: (address: string) => boolean;
}

/** All that asked lately. */
export class Clients {
  readonly #options: ClientsOptions;
  readonly #budgets = new Budgets();
  readonly #codeByAsker = new Map<string, number>();
  #young = new Map<string, KnownClient>();
  #old = new Map<string, KnownClient>();
  #codesGiven = 0;

  constructor(options: ClientsOptions) {
    this.#options = options;
  }

  /** The client behind an address, as sockets tell it, which asks now. */
  of(address: string, nowMs: number): KnownClient {
    const client = this.#young.get(address) ?? this.#admit(address, nowMs);
    const asker = this.#options.askerOf(client.address);
    if (!seesAs(client.asker, asker)) this.#see(client, asker, nowMs);
    if (client.budget?.isForgotten === true)
      client.budget = this.#budgets.of(client.address, asker.kind === "container", nowMs);
    client.askedAtMs = nowMs;
    return client;
  }

  /** When an address (plain) last asked, monotonic; null when it never did, or so long ago that it is forgotten. */
  lastAskedMs(address: string): number | null {
    const find = (as: string): KnownClient | undefined => this.#young.get(as) ?? this.#old.get(as);
    const client = find(address) ?? find(`::ffff:${address}`);
    return client === undefined ? null : client.askedAtMs;
  }

  /** How many are kept. */
  get size(): number {
    return this.#young.size + this.#old.size;
  }

  #admit(address: string, nowMs: number): KnownClient {
    const client = this.#old.get(address) ?? this.#meet(address, nowMs);
    if (this.#young.size >= LIMITS.dnsClientsMax) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#old.delete(address);
    this.#young.set(address, client);
    return client;
  }

  #meet(given: string, nowMs: number): KnownClient {
    const address = unmapped(given);
    const asker = this.#options.askerOf(address);
    return {
      address,
      asker,
      askerCode: this.#codeOf(asker),
      isAllowed: this.#options.isAllowed(address),
      budget: this.#budgets.of(address, asker.kind === "container", nowMs),
      askedAtMs: nowMs,
    };
  }

  #see(client: KnownClient, asker: Asker | Stranger, nowMs: number): void {
    if (client.asker.kind !== asker.kind)
      client.budget = this.#budgets.of(client.address, asker.kind === "container", nowMs);
    client.asker = asker;
    client.askerCode = this.#codeOf(asker);
  }

  #codeOf(asker: Asker | Stranger): number {
    // Labels hold no comma.
    const text = asker.kind !== "container" ? asker.kind : `on ${asker.networks.join(",")}`;
    const there = this.#codeByAsker.get(text);
    if (there !== undefined) return there;
    // Then some clients see the same under two numbers, which costs room in the cache and is never wrong.
    if (this.#codeByAsker.size >= LIMITS.dnsAskersMax) this.#codeByAsker.clear();
    this.#codesGiven += 1;
    this.#codeByAsker.set(text, this.#codesGiven);
    return this.#codesGiven;
  }
}

function seesAs(one: Asker | Stranger, other: Asker | Stranger): boolean {
  if (one.isolated !== other.isolated) return false;
  if (one.kind !== "container" || other.kind !== "container") return one.kind === other.kind;
  if (one.networks === other.networks) return true;
  const { networks } = other;
  return one.networks.length === networks.length && one.networks.every((name, at) => name === networks[at]);
}
