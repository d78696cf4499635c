/**
 * Docker-user: one rule in Docker's own chain for users, by which it lets pass what we forward.
 *
 * Docker drops what is forwarded and not its own. What our nftables rules found right to forward carries a mark of
 * ours; one rule accepts that mark. It goes to the end of the chain, before the RETURN that ends it: what the host's
 * owner drops there stays dropped. Docker may use iptables in either of two forms; the rule goes where the chain is.
 * Its newer backend is nftables without such a chain: there only an option of Docker's own helps, and that is told.
 *
 * Touches: processes (`iptables`, `ip6tables`, `nft` to read), /proc/net.
 */

import { readFile } from "node:fs/promises";

import { Failure, textOf } from "../../base/failure.ts";
import { run } from "../../runtime/exec.ts";
import type { Forwarding } from "../given.ts";
import { MARK_MASK, MARK_OURS } from "../names.ts";
import type { Applied } from "../part.ts";

/** What came of asking Docker to accept. */
export interface Accepted extends Applied {
  /** False in a family in which Docker drops what we forward, and could not be told otherwise. */
  readonly passes: Forwarding;
}

/** The rule, in all forms of iptables that have the chain. */
export interface DockerUser {
  /** Adds it where it is missing. Never throws. */
  accept(): Promise<Accepted>;
  /** Takes it away everywhere. Never throws. */
  remove(): Promise<Applied>;
}

const CHAIN = "DOCKER-USER";
const MARK = `0x${MARK_OURS.toString(16)}/0x${MARK_MASK.toString(16)}`;
const RULE = ["-m", "mark", "--mark", MARK, "-j", "ACCEPT"];
const RULE_TEXT = `-A ${CHAIN} ${RULE.join(" ")}`;
const LAST = `-A ${CHAIN} -j RETURN`;

/** Docker waits for the lock of these tables for as long (`-w`). */
const LOCK_S = "5";
const DEADLINE_MS = 8000;

type Family = keyof Forwarding;
const FAMILIES: readonly Family[] = ["v4", "v6"];

/** One of the two forms, in one family: its programs, the first that is installed being taken, and where it is told. */
interface Form {
  readonly family: Family;
  readonly programs: readonly string[];
  /** What tells that the chain may be there, without tables being made by asking; null where it cannot be. */
  readonly trace: () => Promise<string | null>;
}

const FORMS: readonly Form[] = [
  // The plain name is one of the two forms, as the host's owner chose.
  {
    family: "v4",
    programs: ["iptables-nft", "iptables"],
    trace: () => nftList(["chain", "ip", "filter", CHAIN]),
  },
  {
    family: "v6",
    programs: ["ip6tables-nft", "ip6tables"],
    trace: () => nftList(["chain", "ip6", "filter", CHAIN]),
  },
  { family: "v4", programs: ["iptables-legacy"], trace: () => tablesOf("/proc/net/ip_tables_names") },
  { family: "v6", programs: ["ip6tables-legacy"], trace: () => tablesOf("/proc/net/ip6_tables_names") },
];

/** The chain as a program tells it. */
interface Chain {
  readonly family: Family;
  readonly program: string;
  /** Null where the program cannot tell it: it holds what only nft writes. */
  readonly rules: readonly string[] | null;
  /** True where the mark is accepted: by our rule, or by what somebody wrote for us with nft. */
  readonly accepts: boolean;
}

/** The chain of Docker's engines in this network namespace. */
export function openDockerUser(): DockerUser {
  return { accept, remove };
}

async function accept(): Promise<Accepted> {
  const chains = await chainsNow();
  const problems: string[] = [];
  const passes = { v4: true, v6: true };
  let changes = 0;
  for (const { family, program, rules } of chains.filter(({ accepts }) => !accepts)) {
    const place = rules?.at(-1) === LAST ? ["-I", CHAIN, String(rules.length)] : ["-A", CHAIN];
    const wrong = rules === null ? unreadable(program) : await change(program, [...place, ...RULE]);
    if (wrong === null) changes += 1;
    else problems.push(wrong);
    if (wrong !== null) passes[family] = false;
  }
  for (const family of FAMILIES) {
    const isLed = chains.some((chain) => chain.family === family);
    if (isLed || !(await dropsByNftables(family))) continue;
    passes[family] = false;
    if (!problems.includes(BACKEND_PROBLEM)) problems.push(BACKEND_PROBLEM);
  }
  return { changes, problems, passes };
}

async function remove(): Promise<Applied> {
  const problems: string[] = [];
  let changes = 0;
  for (const { program, rules } of await chainsNow()) {
    const count = rules?.filter((rule) => rule === RULE_TEXT).length ?? 0;
    for (let left = count; left > 0; left -= 1) {
      const wrong = await change(program, ["-D", CHAIN, ...RULE]);
      if (wrong === null) changes += 1;
      else problems.push(wrong);
    }
  }
  return { changes, problems };
}

async function chainsNow(): Promise<readonly Chain[]> {
  const chains = await Promise.all(FORMS.map(chainOf));
  return chains.filter((chain) => chain !== null);
}

/** The chain in one form; null where it is not there. */
async function chainOf({ family, programs, trace }: Form): Promise<Chain | null> {
  const traced = await trace();
  if (traced === null) return null;
  for (const program of programs) {
    try {
      const { status, stdout } = await iptables(program, ["-S", CHAIN]);
      const rules = stdout.split("\n").filter((line) => line.startsWith("-A "));
      if (status === 0) return { family, program, rules, accepts: rules.includes(RULE_TEXT) };
      // The plain iptables may be the other form, in which the chain need not be.
      if (!program.endsWith("-nft")) return null;
      return { family, program, rules: null, accepts: acceptsOurs(traced) };
    } catch (thrown) {
      const isMissing = thrown instanceof Failure && thrown.code === "not-found";
      // Not installed: the next one. Slow or not allowed: looked into again with the next repair.
      if (!isMissing) return null;
    }
  }
  // The chain is there, as nft says, and no program of its own is.
  const [program = "iptables"] = programs;
  return program.endsWith("-nft") ? { family, program, rules: null, accepts: acceptsOurs(traced) } : null;
}

async function change(program: string, args: readonly string[]): Promise<string | null> {
  try {
    const { status, stderr } = await iptables(program, args);
    return status === 0 ? null : refusal(program, args, stderr.trim());
  } catch (thrown) {
    return refusal(program, args, textOf(thrown));
  }
}

function iptables(program: string, args: readonly string[]): ReturnType<typeof run> {
  return run(program, ["-w", LOCK_S, ...args], { deadlineMs: DEADLINE_MS });
}

function refusal(program: string, args: readonly string[], why: string): string {
  return `Docker drops what is led to containers: ${program} ${args.join(" ")}: ${why}`;
}

function unreadable(program: string): string {
  const family = program.startsWith("ip6") ? "ip6" : "ip";
  const [mask, ours] = [MARK_MASK, MARK_OURS].map((value) => `0x${value.toString(16)}`);
  const remedy = `nft add rule ${family} filter ${CHAIN} meta mark and ${mask} == ${ours} accept`;
  return `Docker may drop what is led to containers: ${program} cannot read chain ${CHAIN}; run ${remedy}`;
}

/** The tables of Docker's own nftables backend. */
const BACKEND_TABLES: Readonly<Record<Family, string>> = {
  v4: "ip docker-bridges",
  v6: "ip6 docker-bridges",
};

const BACKEND_PROBLEM =
  "Docker drops what is led to containers: its firewall backend is nftables; " +
  `start dockerd with --bridge-accept-fwmark=${MARK}`;

/** Whether Docker's own nftables backend is in use in a family and was not told to accept our mark. */
async function dropsByNftables(family: Family): Promise<boolean> {
  const table = await nftList(["table", ...BACKEND_TABLES[family].split(" ")]);
  return table !== null && !acceptsOurs(table);
}

/** Whether nft lists a rule about our mark: only somebody who was told to has written one. */
function acceptsOurs(listing: string): boolean {
  return listing.includes(`0x${MARK_OURS.toString(16)}`);
}

/** What nft lists; null where there is no such thing, or no nft that could have made it. */
async function nftList(what: readonly string[]): Promise<string | null> {
  try {
    const { status, stdout } = await run("nft", ["list", ...what], { deadlineMs: DEADLINE_MS });
    return status === 0 ? stdout : null;
  } catch {
    // No nft, or too slow: looked into again with the next repair.
    return null;
  }
}

/** The names of the kernel's legacy tables; null where none filters. */
async function tablesOf(path: string): Promise<string | null> {
  try {
    const names = await readFile(path, "utf8");
    return names.split("\n").includes("filter") ? names : null;
  } catch {
    // No legacy tables in this kernel.
    return null;
  }
}
