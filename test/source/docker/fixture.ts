// Containers as facts.ts gives them, for the tests of what is made of them.

import type { ContainerFacts } from "../../../src/source/docker/facts.ts";
import type { LabelContext } from "../../../src/source/docker/labels.ts";

/** The config's `health` section. */
export const TIMES = { intervalMs: 1000, timeoutMs: 1000, rise: 1, fall: 2 };

/** Labels from a plain object. */
export function labels(entries: Readonly<Record<string, string>>): ReadonlyMap<string, string> {
  return new Map(Object.entries(entries));
}

/** What surrounds the labels of a container called `web-1` that EXPOSEs 80/tcp. */
export function context(over: Partial<LabelContext> = {}): LabelContext {
  return {
    containerName: "web-1",
    exposed: [{ port: 80, protocol: "tcp" }],
    reported: null,
    health: TIMES,
    ...over,
  };
}

/** A whole id, from a digit. */
export function idOf(digit: string): string {
  return digit.repeat(64).slice(0, 64);
}

/** A running container on the default bridge, enabled by its label. */
export function facts(over: Partial<ContainerFacts> = {}): ContainerFacts {
  return {
    id: idOf("a"),
    name: "web-1",
    labels: labels({ "skein.enable": "true" }),
    state: "running",
    startedAtMs: 1000,
    networkMode: "bridge",
    networks: ["bridge"],
    attachments: [{ network: "bridge", address: "172.17.0.2" }],
    exposed: [{ port: 80, protocol: "tcp" }],
    reported: null,
    stopSignal: 15,
    stopTimeoutMs: 10_000,
    resolver: { servers: [], confPath: "", gateways: ["172.17.0.1"] },
    ...over,
  };
}
