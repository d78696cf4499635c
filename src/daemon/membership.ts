/**
 * Membership: how this daemon comes to be a member of a cluster before anything else of it opens.
 *
 * Mostly its data dir says so. On a first start it joins when it was told whom to join and has a token; else it makes a
 * cluster of its own. While no host of the cluster answers it waits: it is nobody yet, and a cluster of its own in
 * between would hand out addresses that the other one may not keep. A token that is refused is for a person to look at,
 * so that is a failure, and the process ends with it; whoever supervises it shows it and tries again with the token as
 * it is by then.
 *
 * Touches: the data dir, the mesh port of other hosts, timers.
 */

import { setTimeout as pause } from "node:timers/promises";

import { backoffMs, type BackoffRange } from "../base/backoff.ts";
import { Failure, textOf, type FailureCode } from "../base/failure.ts";
import { Repeats } from "../base/repeats.ts";
import { secretOf } from "../config/secret-file.ts";
import { LIMITS } from "../model/limits.ts";
import { nowMs, wallMs } from "../runtime/clock.ts";
import type { Credentials, CredentialsOptions } from "../trust/credentials.ts";
import { joinCluster, type Joined } from "../trust/joining.ts";
import { openIdentity, type Identity } from "../trust/keyfile.ts";
import {
  adopt,
  forgetCluster,
  foundCluster,
  openCredentials,
  restoreAuthority,
} from "../trust/membership.ts";
import { parseToken, type Token } from "../trust/token.ts";

import type { Base } from "./base.ts";
import { forgetState, keepAddresses, openState } from "./state.ts";

/** Between two attempts to join while nobody answers. */
const JOIN_AGAIN: BackoffRange = { firstMs: 500, longestMs: 10_000 };
const TOLD_EVERY_MS = 60_000;
/** What may be otherwise in a moment, without anybody doing something about the token. */
const PASSING: ReadonlySet<FailureCode> = new Set(["unreachable", "timeout", "busy", "refused"]);

/** Who this daemon is, and of which cluster. */
export interface Membership {
  readonly identity: Identity;
  readonly credentials: Credentials;
}

/**
 * Opens this host's membership, which may mean to join; the data dir's lock must be held.
 *
 * @returns null when the process was to stop before it was a member
 * @throws Failure `not-allowed` when the cluster refuses, `corrupt` when the data dir is damaged
 */
export async function openMembership(base: Base): Promise<Membership | null> {
  const { opening, config } = base.options;
  const { dataDir } = config.node;
  if (opening.kind === "restore") await forgetMembership(dataDir);
  const identity = await openIdentity(dataDir);
  const given = credentialsOptions(base, identity);
  switch (opening.kind) {
    case "adopt":
      return await adopted(base, given, opening.joined);
    case "restore":
      return { identity, credentials: await restoreAuthority(given, opening.backup) };
    case "usual":
      return await usual(base, given);
  }
}

/** What this daemon's credentials are made with. */
export function credentialsOptions({ options }: Base, identity: Identity): CredentialsOptions {
  const { lifeMs } = options.pace;
  return {
    dataDir: options.config.node.dataDir,
    identity,
    now: wallMs,
    saveFailed: (thrown) => options.log.error(`what the cluster decided cannot be kept: ${textOf(thrown)}`),
    ...(lifeMs !== undefined && { lifeMs }),
  };
}

/** Parses a token that was given in the configuration or by a command. @throws Failure `invalid`, without the token */
export function tokenFrom(text: string): Token {
  const token = parseToken(text);
  if (token.ok) return token.value;
  throw new Failure("invalid", token.failure.message);
}

/** Makes a data dir forget its cluster, its node's key and all that the node remembered of others. */
export async function forgetMembership(dataDir: string): Promise<void> {
  await forgetCluster(dataDir);
  await forgetState(dataDir);
}

async function usual(base: Base, given: CredentialsOptions): Promise<Membership | null> {
  const { identity } = given;
  const { mesh } = base.options.config;
  const held = await openCredentials(given);
  if (held !== null) return { identity, credentials: held };
  // Not read before: where the host is a member already the file may be gone, as it should be.
  const token = mesh.join.length === 0 ? null : await secretOf(mesh, "token file (mesh.tokenFile)");
  if (token === null) return { identity, credentials: await foundCluster(given) };
  const joined = await joinPatiently(base, identity, tokenFrom(token));
  return joined === null ? null : await adopted(base, given, joined);
}

async function adopted(base: Base, given: CredentialsOptions, joined: Joined): Promise<Membership> {
  await keepAddresses(await openState(base), joined.members);
  return { identity: given.identity, credentials: await adopt(given, joined) };
}

/** Tries until a host of the cluster lets this one in. @returns null when the process is to stop */
async function joinPatiently(base: Base, identity: Identity, token: Token): Promise<Joined | null> {
  const { log, config, stopping } = base.options;
  const told = new Repeats(TOLD_EVERY_MS, LIMITS.repeatsKept);
  const { name } = config.node;
  for (let attempt = 0; !stopping.aborted; attempt += 1) {
    try {
      const joined = await joinCluster({ seeds: config.mesh.join, token, identity, name, now: wallMs });
      log.info(`joined cluster ${joined.charter.clusterId} as a ${joined.role}`);
      return joined;
    } catch (thrown) {
      if (!(thrown instanceof Failure) || !PASSING.has(thrown.code)) throw thrown;
      if (told.isNew(thrown.message, nowMs()))
        log.warn(`not joined yet, and nothing is served until then: ${thrown.message}`);
    }
    const waitMs = backoffMs(JOIN_AGAIN, attempt, base.random);
    await pause(waitMs, null, { signal: stopping }).catch(() => null);
  }
  return null;
}
