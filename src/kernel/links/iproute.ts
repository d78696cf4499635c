/**
 * Iproute: the links of this host, read and changed by the programs `ip` and `bridge`.
 *
 * One program for many changes: a batch, which goes on after a line that is refused and tells which it was. Asked by
 * JSON. A batch is not one transaction, as nothing in the kernel is for links; so the order of its lines is the plan's.
 *
 * Touches: processes (`ip`, `bridge`).
 */

import { Failure, type Result } from "../../base/failure.ts";
import { run } from "../../runtime/exec.ts";
import { ROUTE_PROTOCOL } from "../names.ts";

import {
  parseAddresses,
  parseDevices,
  parseEntries,
  parseNeighbours,
  parseRoutes,
  parseRules,
} from "./parse.ts";
import { renderCommand, type BatchLine } from "./render.ts";
import type { LinkCommand, LinkKernel, LinkThing, Refusal } from "./state.ts";

/** Listings of ten thousand routes take a tenth of a second; a machine that stands still takes seconds. */
const OBSERVE_MS = 5000;
/** A batch of ten thousand lines takes a second. */
const CHANGE_MS = 15_000;

/** How the kernel says that what was to be removed is not there. */
const GONE = /No such (?:process|file or directory|device)|Cannot find device|does not exist/;
const FORBIDDEN = /Operation not permitted/;

const BATCHES = [
  { batch: "ip4", program: "ip", args: ["-4", "-force", "-batch", "-"] },
  { batch: "bridge", program: "bridge", args: ["-force", "-batch", "-"] },
  { batch: "ip6", program: "ip", args: ["-6", "-force", "-batch", "-"] },
] as const;

/** The kernel of this network namespace. */
export function openIproute(): LinkKernel {
  return { observe, execute };
}

async function observe(): Promise<readonly LinkThing[]> {
  const routes = ["route", "show", "table", "all", "proto", String(ROUTE_PROTOCOL)];
  const neighbours = ["neigh", "show", "nud", "permanent"];
  const listings = await Promise.all([
    listing("ip", ["-j", "-d", "link", "show", "type", "vxlan"], parseDevices),
    listing("ip", ["-4", "-j", "addr", "show", "type", "vxlan"], parseAddresses),
    listing("bridge", ["-j", "fdb", "show"], parseEntries),
    ...([4, 6] as const).flatMap((family): readonly Promise<readonly LinkThing[]>[] => [
      listing("ip", [`-${family}`, "-j", ...neighbours], parseNeighbours),
      listing("ip", [`-${family}`, "-j", ...routes], (text) => parseRoutes(text, family)),
      listing("ip", [`-${family}`, "-j", "-N", "rule", "show"], (text) => parseRules(text, family)),
    ]),
  ]);
  return listings.flat();
}

async function listing(
  program: string,
  args: readonly string[],
  parse: (text: string) => Result<readonly LinkThing[]>,
): Promise<readonly LinkThing[]> {
  const { status, stdout, stderr } = await run(program, args, { deadlineMs: OBSERVE_MS });
  // A kernel without IPv6 has no such listing, and nothing of ours in it.
  if (status !== 0 && args[0] === "-6") return [];
  if (status !== 0) throw new Failure("invalid", `${program} ${args.join(" ")}: ${stderr.trim()}`);
  const parsed = parse(stdout);
  if (!parsed.ok) throw parsed.failure;
  return parsed.value;
}

async function execute(commands: readonly LinkCommand[]): Promise<readonly Refusal[]> {
  // Rendered whole before anything is run: what cannot be written stops all of it.
  const rendered = commands.flatMap((command) => renderCommand(command).map((line) => ({ command, line })));
  const refusals: Refusal[] = [];
  for (const { batch, program, args } of BATCHES) {
    const lines = rendered.filter(({ line }) => line.batch === batch);
    if (lines.length > 0) refusals.push(...(await runBatch({ program, args }, lines)));
  }
  const isForbidden = refusals.length > 0 && refusals.every(({ text }) => FORBIDDEN.test(text));
  if (isForbidden) throw new Failure("not-allowed", "links cannot be changed: NET_ADMIN is wanted");
  return refusals.filter(({ command, text }) => command.verb !== "remove" || !GONE.test(text));
}

async function runBatch(
  { program, args }: { readonly program: string; readonly args: readonly string[] },
  lines: readonly { readonly command: LinkCommand; readonly line: BatchLine }[],
): Promise<readonly Refusal[]> {
  const stdin = `${lines.map(({ line }) => line.text).join("\n")}\n`;
  const { status, stderr } = await run(program, args, { deadlineMs: CHANGE_MS, stdin });
  if (status === 0) return [];
  const refusals: Refusal[] = [];
  let words: string[] = [];
  for (const said of stderr.split("\n")) {
    const number = /^Command failed .*:(\d+)$/.exec(said)?.[1];
    const failed = number === undefined ? undefined : lines[Number(number) - 1];
    if (number === undefined && said.trim() !== "") words.push(said.trim());
    if (failed === undefined) continue;
    // What a command's first line did not make, its second cannot set.
    const isSame = refusals.at(-1)?.command === failed.command;
    const text = words.join("; ").replace(/^(?:RTNETLINK answers|Error): /, "");
    if (!isSame)
      refusals.push({ command: failed.command, text: text === "" ? "refused without a word" : text });
    words = [];
  }
  if (refusals.length === 0)
    throw new Failure("invalid", `${program} ended with ${status}: ${stderr.trim()}`);
  return refusals;
}
