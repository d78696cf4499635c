// Forwarder: connections of our own do what every forwarder must.

import assert from "node:assert/strict";

import { openWireForwarder } from "../../../../src/proxy/http/wire/forwarder.ts";
import { UpstreamPools } from "../../../../src/proxy/http/wire/pool.ts";

import { sendSuite } from "../forwarder-suite.ts";

const NOT_KNOWN = (): Promise<null> => Promise.resolve(null);

sendSuite("wire", (options) => {
  const kept = new UpstreamPools({ ...options, streamMs: 500, givenOf: NOT_KNOWN, newReceipt: () => "" });
  const upgrade = (): never => assert.fail("nothing here is a WebSocket");
  return { forwarder: openWireForwarder(kept, { upgrade }), kept };
});
