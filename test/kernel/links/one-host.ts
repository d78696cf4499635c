// Makes or removes the links of one host, in the network namespace in which it is run: `one-host.ts <picture as JSON>`.

import assert from "node:assert/strict";

import { openGuard } from "../../../src/kernel/guard/guard.ts";
import { planGuard } from "../../../src/kernel/guard/plan.ts";
import { openLinks } from "../../../src/kernel/links/links.ts";
import { planLinks } from "../../../src/kernel/links/plan.ts";
import { givenOf, type Picture } from "./cluster.ts";

const picture = JSON.parse(process.argv[2] ?? "null") as Picture | null;
const [guard, links] = [openGuard(), openLinks()];
const may = { mayRemove: true };
const given = picture === null ? null : givenOf(picture);
const applied =
  given === null
    ? [await links.remove(), await guard.remove()]
    : [await guard.apply(planGuard(given), may), await links.apply(planLinks(given), may)];
assert.deepEqual(
  applied.flatMap(({ problems }) => problems),
  [],
);
