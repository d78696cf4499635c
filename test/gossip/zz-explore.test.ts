import { test } from "node:test";
import assert from "node:assert/strict";
import { settled, at, untilSeen, kindsSaid, toldOf } from "../support/gossip-cluster.ts";
import { decode } from "../../src/gossip/codec.ts";
test(`two`, (t) => {
    const { network, hosts } = settled(2, 4);
    let n = 0;
    network.onFrame = ({ from, to, kind, frame }) => { if (kind==="digest" || kind === "compare") if (n++ < 12) t.diagnostic(`${(network.nowMs-1e6).toFixed(0)} ${from.name}>${to.name} ${JSON.stringify((decode(frame) as any).value)}`); };
    network.runFor(20000);
    t.diagnostic(`${n}`);
});
test(`heal`, (t) => {
    const { network, hosts } = settled(30, 1);
    const v2 = at(network.hosts, 2);
    network.isolate(v2);
    untilSeen(network, v2, { state: "dead", withinMs: 15000 });
    network.runFor(2000);
    network.heal();
    const t0 = network.nowMs;
    for (let i = 0; i < 30; i++) {
      network.runFor(200);
      const bad: string[] = [];
      for (const h of network.hosts) for (const o of network.hosts) if (h !== o && network.stateOf(h, o) !== "alive") bad.push(`${h.name}>${o.name}:${network.stateOf(h, o)}`);
      t.diagnostic(`${(network.nowMs - t0).toFixed(0)} ${network.agrees} ${bad.length} ${bad.slice(0, 8).join(" ")} linksOpen ${v2.endByLink.size} dials ${v2.dials}`);
    }
    for (const x of v2.happenings.slice(-40)) t.diagnostic(JSON.stringify(x));
});
