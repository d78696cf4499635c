// A folder of a test's own under the system's temporary one, gone when the test ends.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";

/** Makes an empty folder, mode 0700. */
export async function openFolder(t: Pick<TestContext, "after">): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "skein-test-"));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}
