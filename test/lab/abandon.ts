/**
 * Abandon: a program that opens a lab and then comes to a bad end, for removal.test.ts.
 *
 *   node abandon.ts <run id> throw|exit|wait
 *
 * It says "open" once a program runs on its only host, and with "wait" a container too; then it is the test that
 * ends it.
 *
 * Touches: a lab of one host.
 */

import { openLab } from "./lab.ts";

const [runId = "", end = "wait"] = process.argv.slice(2);
const lab = await openLab({ runId, hosts: 1, images: end === "wait" ? "base" : "none" });
if (end === "wait") await lab.host(1).runReplica("web-1");
await lab.host(1).spawn(["sleep", "infinity"]);
console.log("open");

switch (end) {
  case "throw":
    setImmediate(() => {
      throw new Error("nobody catches this");
    });
    break;
  case "exit":
    process.exit(3);
    break;
  default:
    // A timer keeps the process alive: the lab alone does not.
    setInterval(() => undefined, 60_000);
}
