/**
 * Bearer: has this caller of the TCP listener the admin token?
 *
 * As an Authorization header (RFC 6750 2.1). Compared by digests, so that no time depends on how much of a guess is
 * right. Guessing is slowed for all together: on loopback a caller has as many addresses as it likes. While too many
 * were wrong, right ones wait as well: were they let through, so would be the right one among the guesses. Who is
 * locked out that way has the unix socket.
 *
 * Pure: the time is handed in.
 */

import { timingSafeEqual } from "node:crypto";

import { sha256 } from "../base/bytes.ts";

import type { Refusal } from "./guard.ts";

/** Wrong ones that may come at once, and after how long one more may. */
const WRONG_AT_ONCE = 10;
const WRONG_EVERY_MS = 1000;

/** Judges the callers of one listener. */
export class Bearer {
  readonly #digest: Uint8Array | null;
  #wrong = 0;
  #forgivenAtMs = 0;

  /** @param token  null when there is none: then nobody has it, and a header that claims it says nothing */
  constructor(token: string | null) {
    this.#digest = token === null ? null : sha256(token);
  }

  /** What a caller with this Authorization header may do, or why it is refused. Time may not go back between calls. */
  judge(authorization: string | null, nowMs: number): "full" | "read" | Refusal {
    if (this.#digest === null || authorization === null) return "read";
    this.#forgive(nowMs);
    if (this.#wrong >= WRONG_AT_ONCE) {
      const detail = `too many wrong admin tokens; expected a pause of ${WRONG_EVERY_MS / 1000} s`;
      return { reason: "attempts", status: 429, detail };
    }
    const given = /^bearer +(\S+) *$/i.exec(authorization)?.[1];
    if (given !== undefined && timingSafeEqual(sha256(given), this.#digest)) return "full";
    this.#wrong += 1;
    return { reason: "token", status: 401, detail: "the admin token is wrong; expected that of admin.token" };
  }

  #forgive(nowMs: number): void {
    const forgiven = Math.floor((nowMs - this.#forgivenAtMs) / WRONG_EVERY_MS);
    this.#wrong = Math.max(0, this.#wrong - forgiven);
    this.#forgivenAtMs += forgiven * WRONG_EVERY_MS;
  }
}
