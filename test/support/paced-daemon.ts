/**
 * Paced daemon: `skein run` whose certificates live for seconds, so that a test sees them renewed.
 *
 * The pace is no setting of the product; it is handed over in the process. Usage: paced-daemon.ts CONFIG PACE, the pace
 * as JSON.
 *
 * Touches: the process.
 */

import { runDaemon } from "../../src/daemon/command.ts";
import type { TrustPace } from "../../src/daemon/options.ts";

const [file = "", pace = "{}"] = process.argv.slice(2);

await runDaemon(
  { file, values: {} },
  {
    env: process.env,
    isRoot: process.getuid?.() === 0,
    version: "0.1.0",
    exit: (status) => process.exit(status),
    pace: JSON.parse(pace) as TrustPace,
  },
);
