// Records as people read them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { contentText } from "../../../src/dns/names/records.ts";

test("records: an SRV and a TXT read as in a zone file", () => {
  const srv = {
    type: "SRV",
    priority: 0,
    weight: 2,
    port: 8080,
    target: "web-1.web.skein.internal",
  } as const;
  assert.equal(contentText(srv), "0 2 8080 web-1.web.skein.internal");
  assert.equal(
    contentText({ type: "TXT", texts: ["node=host-1", 'a "b" \\'] }),
    '"node=host-1" "a \\"b\\" \\\\"',
  );
});
