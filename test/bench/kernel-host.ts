/**
 * Kernel-host: a program inside a host of the bench that makes the kernel's rules and links from made-up pictures.
 *
 *   node kernel-host.ts <standpoint as JSON>
 *
 * It takes orders on standard input and answers each on standard output, both lines of JSON. It uses the very parts
 * that the daemon uses, as the daemon does: one after the other, the newest picture whole.
 *
 * Touches: the kernel of the network namespace it is in.
 */

import { createInterface } from "node:readline";

import { openLinks } from "../../src/kernel/links/links.ts";
import { planLinks } from "../../src/kernel/links/plan.ts";
import { rulesPlanner } from "../../src/kernel/rules/plan.ts";
import { openRules } from "../../src/kernel/rules/rules.ts";
import type { Applied } from "../../src/kernel/part.ts";
import type { Service } from "../../src/model/view.ts";

import { changed, givenOf, servicesOf, type Standpoint } from "./kernel-view.ts";

/** What the program can be told to do. */
export type HostOrder =
  | { readonly kind: "links" }
  /** Rules for so many services. */
  | { readonly kind: "rules"; readonly services: number; readonly replicas: number }
  /** A replica of the nth service of those comes or goes. */
  | { readonly kind: "change"; readonly index: number }
  /** Rules go, links stay. */
  | { readonly kind: "clear" }
  | { readonly kind: "remove" };

/** What it took, in milliseconds, and what the part said. */
export interface Obeyed {
  readonly planMs: number;
  readonly applyMs: number;
  readonly applied: Applied;
}

const standpoint = JSON.parse(process.argv[2] ?? "{}") as Standpoint;
const planRules = rulesPlanner({ nowMs: () => performance.now() });
const rules = openRules();
const links = openLinks();
let services: readonly Service[] = [];

async function obey(order: HostOrder): Promise<Obeyed> {
  switch (order.kind) {
    case "links": {
      const given = givenOf(services, standpoint);
      return await timed(
        () => planLinks(given),
        async (plan) => await links.apply(plan, { mayRemove: true }),
      );
    }
    case "rules":
      services = servicesOf(order.services, order.replicas);
      return await applyRules();
    case "change":
      services = services.map((service, index) => (index === order.index ? changed(service) : service));
      return await applyRules();
    case "clear":
      return { planMs: 0, applyMs: 0, applied: await rules.remove() };
    case "remove": {
      const applied = await rules.remove();
      await links.remove();
      return { planMs: 0, applyMs: 0, applied };
    }
  }
}

async function applyRules(): Promise<Obeyed> {
  const given = givenOf(services, standpoint);
  return await timed(
    () => planRules(given),
    async (plan) => await rules.apply(plan, { mayRemove: true }),
  );
}

async function timed<Plan>(plan: () => Plan, apply: (plan: Plan) => Promise<Applied>): Promise<Obeyed> {
  const startMs = performance.now();
  const planned = plan();
  const plannedMs = performance.now();
  const applied = await apply(planned);
  return { planMs: plannedMs - startMs, applyMs: performance.now() - plannedMs, applied };
}

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await obey(JSON.parse(line) as HostOrder).catch((thrown: unknown) => ({
    failed: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown),
  }));
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
