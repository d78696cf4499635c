/**
 * Accept: Docker lets pass what we forward, as a part of the kernel's reconciliation.
 *
 * Before the rules, for what they lead away from the proxy Docker would drop; and whether there are overlay networks or
 * not, for services on Docker's own networks are led to as well. Where Docker's firewall cannot be told, that is no
 * failure but a fact for the other parts: what it drops is not to be led there.
 *
 * Touches: Docker's chain for users, through docker-user.ts.
 */

import type { Forwarding } from "../given.ts";
import type { Applied, KernelPart } from "../part.ts";

import { openDockerUser, type DockerUser } from "./docker-user.ts";
import type { AcceptPlan } from "./plan.ts";

/** The part, and in which families packets pass as it was when it was last looked at. */
export interface AcceptPart extends KernelPart<AcceptPlan> {
  /** False in a family in which Docker drops what we forward, and could not be told otherwise. */
  readonly passes: Forwarding;
}

/** What was applied last. */
interface Last {
  readonly isWanted: boolean;
  readonly problems: readonly string[];
}

const ALL: Forwarding = { v4: true, v6: true };
const NOTHING: Applied = { changes: 0, problems: [] };

/** Docker's chain in this network namespace, or one that is handed in. Nothing is touched yet. */
export function openAccept(dockerUser: DockerUser = openDockerUser()): AcceptPart {
  let last: Last | null = null;
  let passes = ALL;

  const accept = async (): Promise<Applied> => {
    const { changes, problems, passes: found } = await dockerUser.accept();
    passes = found;
    last = { isWanted: true, problems };
    return { changes, problems };
  };
  const remove = async (): Promise<Applied> => {
    passes = ALL;
    const removed = await dockerUser.remove();
    last = { isWanted: false, problems: removed.problems };
    return removed;
  };

  return {
    get passes() {
      return passes;
    },
    async apply({ isWanted }, { mayRemove }) {
      if (last?.isWanted === isWanted) return { changes: 0, problems: last.problems };
      if (isWanted) return await accept();
      return mayRemove ? await remove() : NOTHING;
    },
    async repair() {
      if (last?.isWanted === true) return await accept();
      // Where it is not wanted and none was left, whoever has set one since may have a use for it.
      return last === null || last.problems.length === 0 ? NOTHING : await remove();
    },
    async remove() {
      const removed = await remove();
      last = null;
      return removed;
    },
  };
}
