/**
 * Version: `skein version`, of this command and of the daemon it would ask.
 *
 * The two differ after an update without a restart, which is worth seeing; a daemon that does not run is no failure
 * here, since this is what people type first.
 *
 * Touches: nothing but the daemon, through the session.
 */

import type { Command } from "commander";

import type { StatusReport } from "../../admin/contract.ts";
import { Failure } from "../../base/failure.ts";
import { show, type Act, type Session } from "../context.ts";
import { renderPairs } from "../render.ts";

/** Adds the command. */
export function addVersion(program: Command, act: Act): void {
  program
    .command("version")
    .description("versions of this command, of Node, and of the daemon if it runs")
    .action(
      act(async (session) => {
        const { version, runtime } = session.surroundings;
        const daemon = await daemonVersion(session);
        await show(session, {
          value: { version, runtime, daemon },
          table: (style) =>
            renderPairs(
              [
                ["skein", [version]],
                ["node", [runtime]],
                ["daemon", [daemon ?? "does not answer"]],
              ],
              style,
            ),
          names: [version],
        });
        return 0;
      }),
    );
}

async function daemonVersion({ client }: Session): Promise<string | null> {
  try {
    return (await client.get<StatusReport>("/api/v1/status")).node.version;
  } catch (thrown) {
    if (thrown instanceof Failure) return null;
    throw thrown;
  }
}
