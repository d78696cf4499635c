// Detect-here: prints what detectKernel finds where it is run, as JSON; for tests that run it with fewer rights.

import { parsePrefix } from "../../src/base/ip.ts";
import { detectKernel } from "../../src/kernel/detect.ts";

const pool = parsePrefix("10.96.0.0/12");
if (!pool.ok) throw pool.failure;
console.log(
  JSON.stringify(await detectKernel({ pool: pool.value, listensOnVips: true, deadlinesMs: [500, 30_000] })),
);
