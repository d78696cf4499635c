import { openWire } from "./kernel-wire.ts";
import { measureLoads, measureScale } from "./g-kernel.ts";
import { startServers } from "./kernel-servers.ts";
import { mkdtempSync } from "node:fs";
const wire = await openWire();
try {
  await startServers(wire, mkdtempSync("/tmp/g-bench-"));
  console.log("started");
  console.log(JSON.stringify(await measureLoads(wire, 1), null, 1));
} finally { await wire.close(); }
