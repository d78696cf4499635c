/**
 * Host reading: what the kernel's own texts say of this host, as far as a doctor asks.
 *
 * Pure. doctor-host.ts reads the files.
 */

import type { ModuleFacts } from "../admin/checks/host.ts";

/** The version in what a program says of itself: the first run of numbers and dots; null where there is none. */
export function versionIn(said: string): string | null {
  return /\d+(?:\.\d+)+/.exec(said)?.[0] ?? /\b\d{5,8}\b/.exec(said)?.[0] ?? null;
}

/**
 * Whether the kernel has a module.
 *
 * @param isLoaded  it is there now, as a module or built in
 * @param lists  modules.builtin and modules.dep of this kernel (depmod(8)); null where they cannot be read
 */
export function moduleFinding(name: string, isLoaded: boolean, lists: string | null): ModuleFacts["finding"] {
  if (isLoaded) return "loaded";
  if (lists === null) return "unknown";
  // File names have either sign, names of modules an underscore.
  const file = name.replaceAll("_", "[_-]");
  return new RegExp(`(?:^|/)${file}\\.ko(?:\\.[a-z0-9]+)?(?::|$)`, "m").test(lists) ? "loadable" : "missing";
}

/** A whole number in a file of /proc/sys; null for anything else. */
export function numberIn(text: string | null): number | null {
  const trimmed = text?.trim() ?? "";
  return /^\d{1,15}$/.test(trimmed) ? Number(trimmed) : null;
}

/** Options of Docker's daemon.json that matter; null for text that is none. */
export function engineOptionsIn(
  text: string,
): { readonly iptables: boolean | null; readonly userlandProxy: boolean | null } | null {
  let options: unknown;
  try {
    options = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof options !== "object" || options === null) return null;
  const flag = (key: string): boolean | null => {
    const value: unknown = Object.entries(options).find(([name]) => name === key)?.[1];
    return typeof value === "boolean" ? value : null;
  };
  return { iptables: flag("iptables"), userlandProxy: flag("userland-proxy") };
}
