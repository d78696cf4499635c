// The cheap seals keep the contract of the real ones.

import assert from "node:assert/strict";
import { test } from "node:test";

import { sealsContract } from "../contracts/seals.ts";
import { cheapSeals } from "./cheap-seals.ts";
import { idOf } from "./gossip-network.ts";

sealsContract("cheap seals", () => {
  let made = 0;
  return {
    nowMs: 1000,
    afterMs: 3000,
    make: ({ role = "manager", cluster = "this", ends = false } = {}) => {
      const id = idOf(`node ${(made += 1)}`);
      const notAfterMs = ends ? 2000 : 9000;
      return { id, seals: cheapSeals(id, role, { cluster, notAfterMs }) };
    },
  };
});

test("cheap seals: a worker cannot write itself the certificate of a manager", () => {
  const id = idOf("worker");
  const certificate = cheapSeals(id, "worker").certificate.replace("worker", "manager");
  assert.ok(!cheapSeals(idOf("reader")).credentialOf(id, certificate, 0).ok);
});
