/**
 * Right: what a process may do to its host's network, by the system's names.
 *
 * The kernel's part asks which of them it holds, and doctor says what is missing without one.
 *
 * Pure.
 */

/** Rights that make a difference (capabilities(7)). */
export type Right = "NET_ADMIN" | "NET_BIND_SERVICE" | "NET_RAW";
