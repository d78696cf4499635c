// WebSockets: http-proxy, fenced in, does what whoever joins WebSockets must.

import assert from "node:assert/strict";
import { test } from "node:test";

import { openWebSockets } from "../../../src/proxy/http/websockets.ts";
import { until } from "../../support/wait.ts";

import { upgradeSuite } from "./forwarder-suite.ts";

const warnings: string[] = [];
process.on("warning", (warning) => warnings.push(warning.message));

upgradeSuite("http-proxy", ({ connect }) => openWebSockets(connect));

test("openWebSockets: neither node nor http-proxy had anything to warn of in all of this", async () => {
  process.emitWarning("the last of all");
  await until(() => warnings.includes("the last of all"));
  assert.deepEqual(warnings, ["the last of all"]);
});
