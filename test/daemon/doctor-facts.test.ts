// Doctor's facts: a part that fails is named and left out, as one that takes too long; all others are there.

import assert from "node:assert/strict";
import { test } from "node:test";

import { loadConfig } from "../../src/config/load.ts";
import { doctorFacts, type DoctorParts } from "../../src/daemon/doctor-facts.ts";
import { view } from "../admin/picture.ts";
import { openFolder } from "../support/folder.ts";

test("doctor facts: a look that fails is named, told in the log, and ends no other", async (t) => {
  const dataDir = await openFolder(t);
  const { config } = loadConfig({
    surroundings: { env: { HOME: dataDir }, isRoot: false },
    file: null,
    flags: { "docker.socket": "off", "node.dataDir": dataDir },
  });
  const warnings: unknown[] = [];
  const parts = {
    options: {
      config,
      env: {},
      log: { warn: (text: string, about: object) => warnings.push([text, about]) },
    },
    report: {
      namePaths: () => Promise.reject(new Error("a container went away")),
      kernelFacts: () => null,
      gateways: [],
    },
    dns: { places: [], lastAskedMs: () => null, stats: () => ({ forwarding: { upstreams: [] } }) },
    view: view(),
    pool: { address: "10.0.0.0", bits: 8 },
    ask: () => Promise.reject(new Error("nobody is there")),
    loopDelayMs: () => 0,
  } as unknown as DoctorParts;
  const facts = await doctorFacts(parts);
  assert.deepEqual([facts.unseen, facts.containers], [["containers"], []]);
  assert.notEqual(facts.host, null);
  assert.match(JSON.stringify(warnings), /containers.*a container went away/);
});
