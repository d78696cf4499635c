// What the tests of names share: a cluster of three networks, questions to it, and answers in short.

import { answer, type Answer } from "../../src/dns/names/answer.ts";
import { TYPE } from "../../src/dns/codes.ts";
import type { Asker } from "../../src/dns/names/lookup.ts";
import { contentText } from "../../src/dns/names/records.ts";
import { planZone } from "../../src/dns/names/zone.ts";
import { drawOf, member, OPTIONS, replica, replicas, service, view } from "./fixture.ts";

/** A process of the host. */
export const HOST: Asker = { kind: "host" };
/** A container on these networks. */
export const on = (...networks: string[]): Asker => ({ kind: "container", networks, isolated: false });

/** Networks tell apart by the second byte: default 10.1, blue 10.2, green 10.3. */
export const zone = planZone(
  view(
    [
      service("default", "web", {
        vip: "10.1.255.1",
        stack: "shop",
        aliases: ["www"],
        replicas: replicas("web", 3, 1),
      }),
      service("default", "robin", { endpointMode: "dnsrr", replicas: replicas("robin", 2, 1) }),
      service("default", "quiet", {
        vip: "10.1.255.2",
        replicas: [replica("quiet-1", "10.1.9.9", { tier: "panic" })],
      }),
      service("default", "dual", {
        endpointMode: "dnsrr",
        replicas: [replica("d4", "10.1.8.1"), replica("d6", "fd01::1")],
      }),
      service("default", "six", { endpointMode: "dnsrr", replicas: [replica("six-1", "fd01::6")] }),
      service("blue", "web", { vip: "10.2.255.1", replicas: replicas("web", 1, 2) }),
      service("blue", "api", { vip: "10.2.255.2", stack: "back" }),
      service("blue", "both", { vip: "10.2.255.3" }),
      service("green", "both", { vip: "10.3.255.3" }),
      service("green", "app", { vip: "10.3.255.4", replicas: replicas("app", 1, 3) }),
    ],
    { members: [member("host-1", { self: true }), member("host-2", { host: "fd00::2" })] },
  ),
  OPTIONS,
);

export const ask = (name: string, asker: Asker = HOST, typeCode: number = TYPE.A): Answer =>
  answer(zone, { name, typeCode, classCode: 1 }, asker, drawOf(1));

/** What an answer says, in short: addresses sorted, or what it is instead. */
export function said(given: Answer): string {
  if (given.kind === "forward") return "forward";
  if (given.rcode !== "NOERROR") return given.rcode;
  const texts = given.records.map((record) => (record.type === "SOA" ? "SOA" : contentText(record)));
  return texts.length === 0 ? "nodata" : texts.sort().join(" ");
}
