// Forwarder: http-proxy, fenced in, does what every forwarder must.

import assert from "node:assert/strict";
import { test } from "node:test";

import { UpstreamAgents } from "../../../src/proxy/http/agents.ts";
import { openHttpProxy } from "../../../src/proxy/http/forwarder.ts";
import { until } from "../../support/wait.ts";

import { sendSuite, upgradeSuite, type Engine, type EngineOptions } from "./forwarder-suite.ts";

const warnings: string[] = [];
process.on("warning", (warning) => warnings.push(warning.message));

const open = async ({ connect, nowMs }: EngineOptions): Promise<Engine<"send" | "upgrade">> => {
  const kept = new UpstreamAgents(connect, nowMs);
  return { forwarder: await openHttpProxy(kept), kept };
};

sendSuite("http-proxy", open);
upgradeSuite("http-proxy", open);

test("openHttpProxy: neither node nor http-proxy had anything to warn of in all of this", async () => {
  process.emitWarning("the last of all");
  await until(() => warnings.includes("the last of all"));
  assert.deepEqual(warnings, ["the last of all"]);
});
