/**
 * Self: what this process takes of its machine, under the names that Prometheus' clients give it.
 *
 * Not prom-client's own set: half of that is about a runtime that nobody asked for, and it keeps an observer of each
 * garbage collection. Read when a scrape asks; what the system does not tell is left out.
 *
 * Touches: prom-client's registry, /proc/self, the process.
 */

import { readdirSync, readFileSync } from "node:fs";

import type { Registry } from "prom-client";

import { registerRead } from "./tally.ts";

/** Adds the process's metrics to a registry. */
export function addSelf(registry: Registry): void {
  const startedAtSeconds = performance.timeOrigin / 1000;
  const add = (name: string, help: string, read: () => number | null): void => {
    const type = name.endsWith("_total") ? "counter" : "gauge";
    registerRead(registry, { name: `process_${name}`, help, labelNames: [], type }, () => {
      const value = read();
      return value === null ? [] : [{ labels: {}, value }];
    });
  };
  add("cpu_seconds_total", "User and system CPU time spent, in seconds.", () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  add("start_time_seconds", "When the process started, Unix time.", () => startedAtSeconds);
  add("resident_memory_bytes", "Resident memory.", () => process.memoryUsage.rss());
  add("heap_bytes", "Of it, the heap of the JavaScript engine.", () => process.memoryUsage().heapTotal);
  add("open_fds", "Open file descriptors.", openFiles);
  add("max_fds", "File descriptors that may be open.", () => openFilesMax());
}

/**
 * How many files this process may have open; null for any number, and where the system does not tell.
 *
 * @param limits  text of /proc/self/limits (proc(5))
 */
export function openFilesMax(limits: string = readText("/proc/self/limits") ?? ""): number | null {
  const soft = /^Max open files\s+(\d+)\s/m.exec(limits)?.[1];
  return soft === undefined ? null : Number(soft);
}

/** Null where there is no /proc. */
function openFiles(): number | null {
  try {
    // One is of the reading itself.
    return readdirSync("/proc/self/fd").length - 1;
  } catch {
    return null;
  }
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}
