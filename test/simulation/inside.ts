/**
 * Inside: the logs that a node holds.
 *
 * A Node shows its view and not its logs, rightly: nobody but the simulator has a use for them. What it shows of its
 * gossip is the gossip itself under a narrower type, and here alone that is widened again.
 */

import type { Gossip } from "../../src/gossip/gossip.ts";
import type { NodeId } from "../../src/model/ids.ts";
import type { OwnerLog } from "../../src/model/log.ts";
import type { Node } from "../../src/node.ts";

/** All logs that a node holds, its own included. Live. */
export type Logs = ReadonlyMap<NodeId, OwnerLog>;

/** The logs of a node: the same live map for all of its life. */
export function logsOf(node: Node): Logs {
  return (node.gossip as Gossip).logs;
}
