/**
 * Events: `skein events`, what happened, and with `-f` what happens.
 *
 * A followed stream outlives a restart of the daemon: the command comes back with the id of the last event it has
 * seen, and the daemon fills the gap or says how much is missing. Only a daemon that stays away ends it.
 *
 * Touches: the daemon and stdout, through the session; a timer between attempts.
 */

import { setTimeout as delay } from "node:timers/promises";

import type { Command } from "commander";

import type { EventGap, EventLine } from "../../admin/contract.ts";
import { Failure } from "../../base/failure.ts";
import { print, show, tell, type Act, type Session } from "../context.ts";
import { paint, printable, renderJsonLine, type Style, type Tone } from "../render.ts";
import type { StreamMessage } from "../stream.ts";

/** Time between two attempts to reach a daemon that went away, and how many before it counts as gone. */
const RETRY_INTERVAL_MS = 1000;
const RETRIES_MAX = 30;

const EXAMPLES = `
Examples:
  skein events
  skein events -f
  skein events -f -o json | jq 'select(.level == "warn")'`;

/** Adds the command. */
export function addEvents(program: Command, act: Act): void {
  program
    .command("events")
    .description("what happened: members, replicas, VIPs, sources")
    .option("-f, --follow", "go on with what happens, until Ctrl-C")
    .addHelpText("after", EXAMPLES)
    .action(
      act((session, command) =>
        command.opts<{ readonly follow?: true }>().follow === true ? follow(session) : list(session),
      ),
    );
}

async function list(session: Session): Promise<number> {
  const lines = await session.client.get<readonly EventLine[]>("/api/v1/events");
  await show(session, {
    value: lines,
    table: (style) => lines.map((line) => lineText(line, style)).join(""),
    names: lines.map(({ text }) => text),
  });
  return 0;
}

async function follow(session: Session): Promise<number> {
  const { interrupted } = session.surroundings;
  let lastEventId: string | null = null;
  let attempts = 0;
  let isFirst = true;
  while (!interrupted.aborted) {
    try {
      for await (const message of session.client.stream("/api/v1/events?follow", lastEventId)) {
        [isFirst, attempts] = [false, 0];
        lastEventId = message.lastEventId ?? lastEventId;
        await printMessage(session, message);
      }
      isFirst = false;
    } catch (thrown) {
      if (interrupted.aborted) return 0;
      // A daemon that was never there is a mistake to report at once; so is any refusal.
      if (isFirst || !isOutage(thrown) || attempts >= RETRIES_MAX) throw thrown;
    }
    if (attempts === 0 && !interrupted.aborted) tell(session, "daemon went away; trying to reach it again");
    attempts += 1;
    // Rejects only when interrupted, and then the loop ends.
    await delay(RETRY_INTERVAL_MS, null, { signal: interrupted }).catch(() => null);
  }
  return 0;
}

function isOutage(thrown: unknown): boolean {
  return thrown instanceof Failure && (thrown.code === "unreachable" || thrown.code === "timeout");
}

async function printMessage(session: Session, { event, data }: StreamMessage): Promise<void> {
  if (event === "gap") {
    const { missed } = parsed(data) as EventGap;
    tell(session, `${missed} events were not kept long enough to be shown here`);
    return;
  }
  // Of a later version of the daemon.
  if (event !== "message") return;
  await print(session, followed(session, parsed(data) as EventLine));
}

/** One value a line (or document), so that a reader need not wait for the end of a list that has none. */
function followed({ format, quiet, style, surroundings }: Session, line: EventLine): string {
  if (quiet) return `${printable(line.text)}\n`;
  switch (format) {
    case "json":
      return `${renderJsonLine(line)}\n`;
    case "yaml":
      return `---\n${surroundings.renderYaml(line)}`;
    case "table":
    case "wide":
      return lineText(line, style);
  }
}

/** The daemon's word is taken for the shape. */
function parsed(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch (cause) {
    throw new Failure("corrupt", "event stream carries no JSON; expected Skein's API", { cause });
  }
}

/** What an event means at a glance. Kinds not listed here, also of later versions, are yellow when they warn. */
const TONE_BY_KIND: ReadonlyMap<string, Tone> = new Map<string, Tone>([
  ["member.alive", "good"],
  ["member.away", "warn"],
  ["member.dead", "bad"],
  ["member.left", "dim"],
  ["member.draining", "warn"],
  ["member.activated", "good"],
  ["link.lost", "warn"],
  ["replica.ready", "good"],
  ["replica.gone", "dim"],
]);

/** Not a table: a stream has no widest row. Fixed widths fit all but odd names. */
function lineText({ atMs, kind, level, subject, text }: EventLine, style: Style): string {
  const time = paint(timeText(atMs), "dim", style);
  const tone = TONE_BY_KIND.get(kind) ?? (level === "warn" ? "warn" : null);
  const name = tone === null ? kind.padEnd(16) : paint(kind.padEnd(16), tone, style);
  return `${time}  ${name}  ${printable(subject).padEnd(16)}  ${printable(text)}\n`;
}

/** UTC: events of several hosts are read side by side. */
function timeText(atMs: number): string {
  const date = new Date(atMs);
  return Number.isNaN(date.getTime()) ? "-" : date.toISOString();
}
