/**
 * Ask: one answer of the daemon for a component, asked for again when something says that it may be another.
 *
 * What was answered last stays while it is asked anew, so that a page does not blink with every change; only an answer
 * to another question takes its place. It stays as well when the daemon does not answer at all: the frame says that it
 * is away, and once it is back its picture has every component ask anew. Questions of one component go out one at a
 * time and at most twice a second.
 *
 * Touches: fetch, timers.
 */

import { useEffect, useRef, useState } from "preact/hooks";

/** What is known of an answer. */
export type Answer<T> =
  | { readonly kind: "asking" }
  | { readonly kind: "told"; readonly value: T }
  | { readonly kind: "failed"; readonly text: string; readonly notFound: boolean; readonly isAway: boolean };

const DEADLINE_MS = 8000;
const PAUSE_MS = 500;

/**
 * Asks the daemon.
 *
 * @param path      null to ask nothing
 * @param revision  asked again when it changes
 */
export function useAnswer<T>(path: string | null, revision: number | string): Answer<T> {
  const [answer, setAnswer] = useState<Answer<T>>({ kind: "asking" });
  const last = useRef({ path: "", atMs: 0 });
  useEffect(() => {
    if (path === null) return;
    const isOther = last.current.path !== path;
    if (isOther) setAnswer({ kind: "asking" });
    const tell = async (asked: string, signal: AbortSignal): Promise<void> => {
      const told = await ask<T>(asked, signal);
      if (signal.aborted) return;
      setAnswer((before) => (isAway(told) && before.kind === "told" ? before : told));
    };
    const waitMs = isOther ? 0 : Math.max(0, last.current.atMs + PAUSE_MS - Date.now());
    const given = new AbortController();
    const timer = setTimeout(() => {
      last.current = { path, atMs: Date.now() };
      void tell(path, given.signal);
    }, waitMs);
    return () => {
      clearTimeout(timer);
      given.abort();
    };
  }, [path, revision]);
  return answer;
}

function isAway<T>(answer: Answer<T>): boolean {
  return answer.kind === "failed" && answer.isAway;
}

async function ask<T>(path: string, signal: AbortSignal): Promise<Answer<T>> {
  try {
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]);
    const response = await fetch(path, { signal: deadline, headers: { accept: "application/json" } });
    const body: unknown = await response.json();
    if (response.ok) return { kind: "told", value: body as T };
    return {
      kind: "failed",
      text: detailOf(body, response.status),
      notFound: response.status === 404,
      isAway: false,
    };
  } catch (cause) {
    const text = cause instanceof Error && cause.name === "TimeoutError" ? "no answer in time" : "no answer";
    return { kind: "failed", text: `${text} from the daemon`, notFound: false, isAway: true };
  }
}

/** What a problem says (RFC 9457). */
function detailOf(body: unknown, status: number): string {
  const has = typeof body === "object" && body !== null && "detail" in body;
  return has && typeof body.detail === "string" ? body.detail : `status ${status}`;
}
