/**
 * Log: lines for people on a terminal, JSON lines for programs otherwise.
 *
 * Pino without transports: a transport is a worker thread, and a log line must be out before the process that wrote
 * it dies. Logs go to stderr; stdout belongs to the data of a command. Nothing secret is ever passed here.
 *
 * The fields of a JSON line are a contract: `level` (debug, info, warn, error), `time` (ISO 8601, UTC), `msg`, and what
 * goes with it under names of its own.
 *
 * Touches: stderr.
 */

import { destination, pino, type Logger } from "pino";

/** How the log is written. `auto`: text on a terminal, JSON lines otherwise. */
export interface LogOptions {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly format: "auto" | "text" | "json";
}

/** Fields that go with a line: flat, small, JSON-able; none is called as those that every line has. */
export type LogFields = Readonly<Record<string, string | number | boolean | null>>;

/** Where parts of the daemon write what they saw. */
export interface Log {
  debug(text: string, fields?: LogFields): void;
  info(text: string, fields?: LogFields): void;
  warn(text: string, fields?: LogFields): void;
  error(text: string, fields?: LogFields): void;
  /** Changes the level of all that is written from now on. */
  setLevel(level: LogOptions["level"]): void;
}

/** Opens the log on stderr. */
export function openLog(options: LogOptions): Log {
  const isText = options.format === "text" || (options.format === "auto" && process.stderr.isTTY);
  if (isText) return textLog(options.level);
  const logger = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (word) => ({ level: word }) },
    },
    destination({ dest: 2, sync: true }),
  );
  return jsonLog(logger);
}

function jsonLog(logger: Logger): Log {
  return {
    debug: (text, fields = {}) => logger.debug(fields, text),
    info: (text, fields = {}) => logger.info(fields, text),
    warn: (text, fields = {}) => logger.warn(fields, text),
    error: (text, fields = {}) => logger.error(fields, text),
    setLevel(level) {
      logger.level = level;
    },
  };
}

const LEVELS = ["debug", "info", "warn", "error"] as const;

function textLog(level: LogOptions["level"]): Log {
  let least = LEVELS.indexOf(level);
  const write = (at: (typeof LEVELS)[number], text: string, fields: LogFields): void => {
    if (LEVELS.indexOf(at) < least) return;
    const extras = Object.entries(fields).map(([key, value]) => ` ${key}=${printable(String(value))}`);
    const time = new Date().toISOString().slice(11, 23);
    process.stderr.write(`${time} ${at.padEnd(5)} ${printable(text)}${extras.join("")}\n`);
  };
  return {
    debug: (text, fields = {}) => write("debug", text, fields),
    info: (text, fields = {}) => write("info", text, fields),
    warn: (text, fields = {}) => write("warn", text, fields),
    error: (text, fields = {}) => write("error", text, fields),
    setLevel(next) {
      least = LEVELS.indexOf(next);
    },
  };
}

/** Control characters from labels or peers must not move the reader's cursor. */
function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- matching them is the point
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (char) => {
    return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}
