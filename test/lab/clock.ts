/**
 * Clock: another time of day for one program of the lab.
 *
 * All hosts share the kernel's clock, and there is no namespace for the time of day; so the library of `faketime`
 * stands between the program and the kernel. Everything in the program sees the other time, OpenSSL too. The monotonic
 * clock is left as it is, as on a machine whose clock was set wrong before it booted.
 *
 * Touches: the library's folder.
 */

import { globSync } from "node:fs";

const LIBRARY = "/usr/lib/*/faketime/libfaketimeMT.so.1";

/** Words to put before a command that is to have a clock that is off by so many seconds. */
export function clockOffBy(seconds: number): readonly string[] {
  const [library] = globSync(LIBRARY);
  if (library === undefined) throw new Error(`there is no ${LIBRARY}; expected it with the program faketime`);
  const offset = `FAKETIME=${seconds < 0 ? "" : "+"}${seconds}`;
  // By `env`, inside: what leads into the host must not be preloaded with it.
  return ["env", `LD_PRELOAD=${library}`, offset, "FAKETIME_DONT_FAKE_MONOTONIC=1"];
}
