/**
 * Tests of the image's cache. The Debian part is taken from the real cache, so that no test costs a debootstrap.
 *
 * Touches: the cache folder, a temp folder.
 */

import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";

import { mustRun } from "./command.ts";
import { ensureBaseImage } from "./image.ts";
import { skipReason } from "./requirements.ts";

const options = { skip: skipReason(), timeout: 900_000 };

describe("image", () => {
  test(
    "image: two makers at once agree on one whole tarball, and a dead one leaves no scraps",
    options,
    async (t) => {
      const cached = dirname(await ensureBaseImage());
      const home = mkdtempSync(join(tmpdir(), "skein-image-"));
      t.after(() => rmSync(home, { recursive: true }));
      const cache = join(home, "skein-lab");
      mkdirSync(join(cache, "building"), { recursive: true });
      writeFileSync(join(cache, "building", "half.tar"), "scrap");
      for (const name of readdirSync(cached).filter((entry) => entry.startsWith("root-"))) {
        copyFileSync(join(cached, name), join(cache, name));
      }
      const makers = [ensureBaseImage(cache), ensureBaseImage(cache)];
      const [one, other] = await Promise.all(makers);
      assert.equal(one, other);
      const names = (await mustRun(["tar", "-tf", one ?? ""])).split("\n");
      for (const name of ["./usr/local/bin/node", "./replica.mjs", "./usr/bin/kdig", "./usr/bin/curl"]) {
        assert.equal(names.filter((each) => each === name).length, 1, name);
      }
      assert.deepEqual(
        readdirSync(cache)
          .filter((name) => !name.startsWith("root-"))
          .toSorted(),
        [(one ?? "").slice(cache.length + 1), "lock"],
      );
    },
  );
});
