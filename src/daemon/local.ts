/**
 * Local: this host's own part: what runs on it, and what its kernel does for it.
 *
 * Sources tell the node what runs here, as far as others can reach it; the view that comes of it goes to the kernel,
 * and what the kernel carries by then decides what others can reach.
 *
 * Touches: the kernel and Docker, through their shells.
 */

import type { Node } from "../node.ts";
import type { Input } from "../step.ts";

import type { Base } from "./base.ts";
import type { Consumers } from "./consumers.ts";
import { openKernel } from "./kernel.ts";
import type { Kernel } from "./kernel-ground.ts";
import type { Mesh } from "./mesh.ts";
import type { Pools } from "./pools.ts";
import { openReach } from "./reach.ts";
import { openSources, type Sources } from "./sources.ts";

/** The data plane, which is chosen before anything is said: others are told how packets come here. */
export async function openPlane(base: Base, pools: Pools, mesh: Mesh): Promise<Kernel> {
  const { pool, pool6 } = pools;
  const advertised = mesh.advertised.host;
  const kernel = await openKernel(base, { pool, pool6: pool6.rule?.pool.text ?? null, advertised });
  if (kernel.isChosen) pools.keep();
  return kernel;
}

/** Opens the sources of this host and has the kernel carry what they and the picture tell. */
export function openLocal(
  base: Base,
  parts: {
    readonly node: Node;
    readonly kernel: Kernel;
    readonly consumers: Consumers;
    readonly feed: (input: Input) => void;
  },
): Sources {
  const { node, kernel, consumers, feed } = parts;
  const reach = openReach(feed, () => kernel.carriedIn(node.view));
  const sources = openSources(base, {
    nodeId: node.view.self,
    ...consumers,
    feed: reach.feed,
    onKernelGiven: () => kernel.note(),
  });
  const onCarried = (): void => {
    consumers.replan();
    reach.again();
  };
  kernel.begin({ ...consumers, sources, found: node.found, feed, onCarried });
  // Before the proxy closes, whose listeners are part of what the rules are made of.
  base.lifecycle.opened({ name: "kernel data plane", close: () => kernel.hold() });
  return sources;
}
