// A view with overlay networks, for the tests of admin and cli: one in use on two hosts, one that is not made real.

import type { Network } from "../../src/model/network.ts";
import type { Replica, View } from "../../src/model/view.ts";

import { member, OTHER, replica, SELF, service, view } from "./picture.ts";

const APP: Network = {
  name: "app",
  range: "10.160.0.0/16",
  sliceBits: 24,
  vni: 5000,
  encrypted: false,
  range6: "fd12:3456:789a:4d::/64",
  slices: [
    {
      node: SELF,
      nodeName: "host-1",
      index: 3,
      prefix: "10.160.3.0/24",
      prefix6: "fd12:3456:789a:4d:3::/80",
      tentative: false,
    },
    { node: OTHER, nodeName: "host-2", index: 9, prefix: "10.160.9.0/24", tentative: true },
  ],
  problems: [],
  isSound: true,
};

const LATE: Network = {
  name: "late",
  range: "10.160.4.0/24",
  sliceBits: 26,
  vni: 5001,
  encrypted: true,
  slices: [],
  problems: ["10.160.4.0/24 overlaps 10.160.0.0/16 of network app"],
  isSound: false,
};

/** Three replicas of `app/web` on two hosts, of which one carries overlays; `default/db` beside them. */
export function overlayView(): View {
  const on = (id: string, fields: Partial<Replica>): Replica =>
    replica({ id, name: id, reach: "overlay", ...fields });
  const web = service("app", "web", {
    replicas: [
      on("web-1", { address: "10.160.3.2" }),
      on("web-2", { address: "10.160.3.3" }),
      on("web-3", { address: "10.160.9.2", node: OTHER, nodeName: "host-2", local: false }),
    ],
  });
  return view({
    members: [
      member({ overlay: { address: "192.0.2.1", mtu: 1500 } }),
      member({ id: OTHER, name: "host-2", self: false }),
    ],
    services: [web, service("default", "db", { replicas: [replica({ id: "db-1" })] })],
    networks: [APP, LATE],
  });
}
