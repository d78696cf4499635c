/**
 * Launcher: the text of `dist/skein.mjs`, which loads the program only where it can run.
 *
 * An older Node stops at the program's first import with a stack, and says nothing of its version. So the launcher uses
 * the words of an old one, and imports nothing before it has looked. The young generation's size must be set before
 * the heap is made, hence in the first line; an image that starts node itself gives the same flag.
 *
 * Pure.
 */

/** Flags of every start: a daemon on every host should be small. */
export const NODE_FLAGS: readonly string[] = ["--max-semi-space-size=2"];

/** The launcher's text; `oldest` is the first major version of Node that will do. */
export function launcherOf(oldest: number): string {
  return `#!/usr/bin/env -S node ${NODE_FLAGS.join(" ")}
if (parseInt(process.versions.node, 10) >= ${oldest}) {
  await import("./main.mjs");
} else {
  const found = process.version + " (" + process.execPath + ")";
  process.stderr.write("skein: needs Node ${oldest} or newer, this is " + found + "\\n");
  process.exitCode = 1;
}
`;
}
