// A log that keeps its lines instead of writing them, for tests that open parts of the daemon.

import type { Log, LogFields } from "../../src/runtime/log.ts";

/** One line, as the part of the daemon wrote it. */
export interface Line {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly text: string;
  readonly fields: LogFields;
}

/** A log that writes nothing; `lines` is what it was given. */
export function openSilentLog(): Log & { readonly lines: Line[] } {
  const lines: Line[] = [];
  const keep =
    (level: Line["level"]) =>
    (text: string, fields: LogFields = {}): void => {
      lines.push({ level, text, fields });
    };
  return {
    lines,
    debug: keep("debug"),
    info: keep("info"),
    warn: keep("warn"),
    error: keep("error"),
    setLevel: () => undefined,
  };
}
