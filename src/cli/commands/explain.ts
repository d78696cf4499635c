/**
 * Explain: `skein explain NAME`, why each replica of a service takes traffic, or does not.
 *
 * Touches: nothing but the daemon, through the session.
 */

import type { Command } from "commander";

import type { Explanation } from "../../admin/contract.ts";
import { show, type Act } from "../context.ts";
import { replicaTable, servicePath, vipTexts } from "../describe.ts";
import { renderPairs, type Style } from "../render.ts";

import { networkOf } from "./service.ts";

const EXAMPLES = `
Examples:
  skein explain web
  skein explain front/web
  skein explain web -o json | jq '.replicas[] | select(.eligible | not)'`;

/** Adds the command. */
export function addExplain(program: Command, act: Act): void {
  program
    .command("explain <service>")
    .description("tell of each replica of a service: in or out, why, since when, who says so")
    .option("--network <network>", "network of the service, where several have the name")
    .addHelpText("after", EXAMPLES)
    .action(
      act(async (session, command) => {
        const path = servicePath("explain", command.args[0] ?? "", networkOf(command));
        const explanation = await session.client.get<Explanation>(path);
        await show(session, {
          value: explanation,
          table: (style) => textOf(explanation, style),
          names: explanation.replicas.filter(({ eligible }) => eligible).map(({ id }) => id),
        });
        return 0;
      }),
    );
}

function textOf(explanation: Explanation, style: Style): string {
  const { network, name, replicas, problems } = explanation;
  const ready = replicas.filter(({ eligible }) => eligible).length;
  const head = renderPairs(
    [
      ["service", [`${network}/${name}`]],
      ["vip", vipTexts(explanation, "none")],
      ["replicas", [`${ready} of ${replicas.length} take traffic`]],
      ["problems", problems],
    ],
    style,
  );
  return replicas.length === 0 ? head : `${head}\n${replicaTable(replicas, style)}`;
}
