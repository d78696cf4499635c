// Hostile: a container and a member whose every text is markup, as far as labels and the wire let them.

import { DEFAULT_DELIVERY, EMPTY_DECLARATION } from "../../src/model/service.ts";
import { renderRecord } from "../../src/model/record.ts";
import type { DaemonUnderTest, Ending, WebReplica } from "../support/daemons.ts";
import type { FakeContainer } from "../support/engine.ts";

import { joinAs } from "./fake-member.ts";

/** Runs a script in whoever takes it for markup. */
export const MARKUP = `<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'"&`;

/** A web replica as a container. */
export function hostileContainer(replica: WebReplica): FakeContainer {
  const labels = {
    "skein.service": "web",
    "skein.port": `8000:${replica.port}/http`,
    "skein.health.http": "/healthz",
    "skein.health.interval": "100ms",
    "skein.lb": MARKUP,
    [`skein.${MARKUP}`]: MARKUP,
    "com.docker.compose.project": MARKUP,
    "com.docker.compose.service": MARKUP,
  };
  return { id: "a".repeat(64), name: MARKUP, address: replica.address, labels };
}

/**
 * Has a member `hostile` join with a replica of a service `hostile`. It answers pings, and never applies a drain.
 *
 * @returns ends its link for good
 */
export async function joinHostile(t: Ending, host: DaemonUnderTest, address: string): Promise<() => void> {
  const endings: (() => unknown)[] = [];
  const leave = (): void => {
    for (const end of endings.splice(0).toReversed()) void end();
  };
  t.after(leave);
  const member = await joinAs({ after: (end: () => unknown) => endings.push(end) }, "hostile", host);
  const node = renderRecord({
    kind: "node",
    name: "hostile",
    host: MARKUP,
    port: 9,
    zone: MARKUP,
    labels: { [MARKUP]: MARKUP },
    software: MARKUP,
    prefixes: [],
  });
  const replica = renderRecord({
    kind: "replica",
    id: "hostile-1",
    name: "hostile-1",
    slot: null,
    network: "default",
    service: "hostile",
    stack: null,
    address,
    reach: "stream",
    declaration: { ...EMPTY_DECLARATION, ports: [{ name: "web", port: 80, target: 80, protocol: "tcp" }] },
    weight: 1,
    delivery: DEFAULT_DELIVERY,
    startedAtMs: Date.now(),
    state: "unready",
    reason: MARKUP,
    drainApplied: false,
    drainPending: [],
  });
  member.publish([
    ["node", node],
    ["replica/hostile-1", replica],
  ]);
  return leave;
}
