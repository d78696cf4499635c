/**
 * Capture: what passes over an interface of the lab, byte by byte, as tcpdump sees it.
 *
 * For tests of what can be read on the way. A capture that lost packets proves nothing, so the end of one checks that
 * it did not.
 *
 * Touches: a process of the lab, a file in its folder.
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import type { LabProgram } from "./program.ts";
import { until } from "../support/wait.ts";

/** A capture that runs. */
export class Capture {
  readonly #program: LabProgram;
  readonly #path: string;

  /** Use `startCapture`. */
  constructor(program: LabProgram, path: string) {
    this.#program = program;
    this.#path = path;
  }

  /** Waits until this has passed. */
  async untilSeen(text: string): Promise<void> {
    await until(() => readFileSync(this.#path).includes(text), { what: `"${text}" is captured` });
  }

  /** Ends it. @returns all that passed, in the order in which it did @throws when something was missed */
  async stop(): Promise<Buffer> {
    await this.#program.stop("SIGINT");
    const told = this.#program.log();
    assert.match(told, /^0 packets dropped by kernel$/m, told);
    return readFileSync(this.#path);
  }
}

/**
 * Starts to capture.
 *
 * @param start  starts a program where the interface is
 * @param where  the interface, `any` for all, and the file (pcap) for what passes, in a folder seen from inside too
 */
export async function startCapture(
  start: (argv: readonly string[]) => Promise<LabProgram>,
  where: { readonly on: string; readonly path: string },
): Promise<Capture> {
  // Whole packets, each written when it comes; and as root, for the lab's folders are root's.
  const argv = [
    "tcpdump",
    "-n",
    "-U",
    "--immediate-mode",
    "-s0",
    "-B16384",
    "-Zroot",
    `-i${where.on}`,
    `-w${where.path}`,
  ];
  const program = await start(argv);
  await until(() => program.log().includes("listening on"), { what: `${where.on} is captured` });
  return new Capture(program, where.path);
}
