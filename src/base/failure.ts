/**
 * Failure: what the world did to us, as a value with a code.
 *
 * One class and one table, so that the HTTP status, the exit status and the meaning of a code are told in one place
 * and tests compare codes, never text. Pure parsers return `Result<T>`; shells throw `Failure` with its cause.
 * Texts are lower case and name the thing, its value and what was expected.
 *
 * Pure.
 */

/** Every code a user can meet: its HTTP status (RFC 9457 problem), its exit status, and what it means. */
export const CODES = {
  invalid: { http: 422, exit: 1, meaning: "the input was understood and refused" },
  usage: { http: 400, exit: 2, meaning: "the command or request is malformed" },
  "not-found": { http: 404, exit: 3, meaning: "no such thing" },
  unreachable: { http: 503, exit: 4, meaning: "the other side does not answer" },
  timeout: { http: 504, exit: 4, meaning: "the deadline passed" },
  "not-allowed": { http: 403, exit: 5, meaning: "the caller may not do this" },
  busy: { http: 409, exit: 1, meaning: "taken by somebody else, or full" },
  corrupt: { http: 500, exit: 1, meaning: "stored or received bytes are damaged" },
  refused: { http: 502, exit: 4, meaning: "the other side said no" },
} as const;

/** A code of the table above. */
export type FailureCode = keyof typeof CODES;

/** The world's doing: carries a code of CODES and a text that names thing, value and expectation. */
export class Failure extends Error {
  override readonly name = "Failure";
  readonly code: FailureCode;

  constructor(code: FailureCode, text: string, options: { cause?: unknown } = {}) {
    super(text, options);
    this.code = code;
  }
}

/** What a pure parser returns: a value, or the failure that says why there is none. */
export type Result<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly failure: Failure };

/** Wraps a value as a successful Result. */
export function success<T>(value: T): Result<T> {
  return { ok: true, value };
}

/** Makes a failed Result; fits every Result<T>. */
export function failed(code: FailureCode, text: string): { readonly ok: false; readonly failure: Failure } {
  return { ok: false, failure: new Failure(code, text) };
}

/** The text of anything thrown: an Error's message, else its string form. Never throws. */
export function textOf(thrown: unknown): string {
  try {
    if (thrown instanceof Error) return thrown.message === "" ? thrown.name : thrown.message;
    return typeof thrown === "string" ? thrown : (JSON.stringify(thrown) ?? String(thrown));
  } catch {
    // Circular, a bigint, or a getter that throws: the error path must not fail on what it reports.
    return `a thrown ${typeof thrown}`;
  }
}

/** The system error code (`ECONNREFUSED`, ...) of anything thrown; null when it has none. */
export function systemCodeOf(thrown: unknown): string | null {
  if (typeof thrown !== "object" || thrown === null || !("code" in thrown)) return null;
  return typeof thrown.code === "string" ? thrown.code : null;
}

/** Why a file cannot be used, in words; the system's own text where there are none better. */
export function fileFaultOf(thrown: unknown): string {
  switch (systemCodeOf(thrown) ?? "") {
    case "ENOENT":
      return "there is no such file";
    case "EISDIR":
      return "it is a folder; expected a file";
    case "ENOTDIR":
      return "a part of its path is no folder";
    case "EACCES":
    case "EPERM":
      return "this user has no right to it";
    case "EROFS":
      return "it lies on a read-only file system";
    case "ENOSPC":
      return "its disk is full";
    default:
      return textOf(thrown);
  }
}
