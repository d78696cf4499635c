// One host of hosts.ts: makes this network namespace what its picture says, as a daemon does that has just started.

import { openGuard } from "../../../src/kernel/guard/guard.ts";
import { planGuard } from "../../../src/kernel/guard/plan.ts";
import { openLinks } from "../../../src/kernel/links/links.ts";
import { planLinks } from "../../../src/kernel/links/plan.ts";
import type { KernelGiven } from "../../../src/kernel/given.ts";
import { planWireguard } from "../../../src/kernel/wireguard/plan.ts";
import { openWireguard } from "../../../src/kernel/wireguard/wireguard.ts";
import { memberOf, networkOf, ownOverlay, overlayOfHost, viewOf } from "./cluster.ts";

/** What the one argument says, in JSON. `keys`: of each host, from 1. */
export interface HostTask {
  readonly host: number;
  readonly dataDir: string;
  readonly keys: readonly string[];
  readonly remove: boolean;
}

const { host, dataDir, keys, remove } = JSON.parse(process.argv[2] ?? "") as HostTask;
const hosts = keys.map((_, at) => at + 1);
const members = hosts.map((number) => {
  const wireguard = { key: keys[number - 1] ?? "", port: 51_820 };
  return memberOf(number, { self: number === host, overlay: overlayOfHost(number, { wireguard }) });
});
const network = networkOf("secret", 160, hosts);
const given: KernelGiven = {
  view: viewOf(members, [network], host),
  pool: "10.96.0.0/12",
  pool6: null,
  bridges: [
    { network: "secret", device: "sk-secret", prefix: `10.160.${host}.0/24`, gateway: `10.160.${host}.1` },
  ],
  overlay: ownOverlay({ address: `192.0.2.${host}` }),
  forwards: { v4: true, v6: true },
  listening: new Set(),
  ingressAddress: "0.0.0.0",
  ejected: new Set(),
  guests: [],
  askers: [],
};
const [guard, wireguard, links] = [openGuard(), await openWireguard({ dataDir }), openLinks()];
const parts = remove
  ? [await links.remove(), await wireguard.remove(), await guard.remove()]
  : [
      await guard.apply(planGuard(given), { mayRemove: true }),
      await wireguard.apply(planWireguard(given), { mayRemove: true }),
      await links.apply(planLinks(given), { mayRemove: true }),
    ];
console.log(JSON.stringify(parts));
