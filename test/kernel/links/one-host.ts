// Makes or removes the links of one host, in the network namespace in which it is run: `one-host.ts <picture as JSON>`.

import assert from "node:assert/strict";

import { openLinks } from "../../../src/kernel/links/links.ts";
import { planLinks } from "../../../src/kernel/links/plan.ts";
import { givenOf, type Picture } from "./cluster.ts";

const picture = JSON.parse(process.argv[2] ?? "null") as Picture | null;
const links = openLinks();
const { problems } =
  picture === null
    ? await links.remove()
    : await links.apply(planLinks(givenOf(picture)), { mayRemove: true });
assert.deepEqual(problems, []);
