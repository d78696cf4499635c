/**
 * Opening: which addresses of services are not listened on yet, though the newest table asks for it.
 *
 * Pools count at once, listeners take a moment to open, and who is told of an address meanwhile would be refused there.
 * So others ask here before they tell of it. A new port of an address that is listened on already makes nobody wait:
 * its other ports work. Nor does a listener that could not be opened: it was tried, and its failure is told with the
 * remedy. Past a bound nobody waits any more, whatever holds the opening up: a name is not hidden for good.
 *
 * Pure.
 */

import type { RouteTable } from "../routes.ts";

/** A thousand listeners take a tenth of a second; a program that hangs, or a host under load, seconds. */
const OPENING_MS = 10_000;

/** What one proxy has still to open. */
export class Opening {
  /** Of the newest table. */
  #wanted: ReadonlySet<string> = new Set();
  /** Of those, what was tried and has been wanted ever since: what is not wanted is closed, sooner or later. */
  #tried: ReadonlySet<string> = new Set();
  #sinceMsByAddress: ReadonlyMap<string, number> = new Map();

  /** Takes the newest table. */
  want(table: RouteTable, nowMs: number): void {
    this.#wanted = addressesOf(table);
    this.#look(this.#tried, nowMs);
  }

  /** All listeners of a table, by now perhaps not the newest, were opened, or could not be; others were closed. */
  tried(table: RouteTable, nowMs: number): void {
    this.#look(addressesOf(table), nowMs);
  }

  /** For how long at most an address is still waited for, milliseconds; 0 for one that nobody waits for. */
  leftMs(address: string, nowMs: number): number {
    const sinceMs = this.#sinceMsByAddress.get(address);
    return sinceMs === undefined ? 0 : Math.max(0, sinceMs + OPENING_MS - nowMs);
  }

  #look(tried: ReadonlySet<string>, nowMs: number): void {
    const before = this.#sinceMsByAddress;
    const wanted = [...this.#wanted];
    this.#tried = new Set(wanted.filter((address) => tried.has(address)));
    const missing = wanted.filter((address) => !tried.has(address));
    this.#sinceMsByAddress = new Map(missing.map((address) => [address, before.get(address) ?? nowMs]));
  }
}

/** Of services: those of the host itself are told of whether anything listens there or not. */
function addressesOf({ frontends }: RouteTable): ReadonlySet<string> {
  return new Set(frontends.filter(({ origin }) => origin === "vip").map(({ address }) => address));
}
