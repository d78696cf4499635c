/**
 * Explain: what DNS would answer, in words and numbers, and why where the answer alone does not tell.
 *
 * By the same steps that DNS uses, so that it cannot differ; what is added is for people: a name that several networks
 * have, one that is only seen from elsewhere, a service of which no replica takes traffic.
 *
 * Pure.
 */

import { failed, success, type Result } from "../../base/failure.ts";
import { seededRandom } from "../../base/random.ts";
import { LIMITS } from "../../model/limits.ts";

import { CLASS_IN, TYPE, typeCodeOf, typeNameOf, type RcodeName } from "../codes.ts";
import { TCP_BYTES_MAX } from "../encode.ts";

import { answer, meaningOf } from "./answer.ts";
import { isIsolated, type Asker } from "./lookup.ts";
import { contentText } from "./records.ts";
import { reverseNameOf } from "./reverse.ts";
import type { Zone } from "./zone.ts";

/** What `skein resolve` shows; `rcode` is `FORWARD` for a name that is answered upstream. */
export interface Explanation {
  readonly name: string;
  readonly type: string;
  readonly rcode: RcodeName | "FORWARD";
  readonly answers: readonly { readonly type: string; readonly ttl: number; readonly data: string }[];
  /** Why, in words, where that is not plain. */
  readonly note?: string;
}

/**
 * Explains what DNS would answer to this asker.
 *
 * @param name  a name; for the type PTR also an address, which stands for its reverse name
 * @param type  `A`, `aaaa`, `TYPE64`; other text is a failure with code `usage`
 */
export function explainAnswer(zone: Zone, name: string, type: string, asker: Asker): Result<Explanation> {
  const typeCode = typeCodeOf(type);
  if (typeCode === null)
    return failed("usage", `record type is "${type}"; expected one such as A, AAAA, SRV, PTR`);
  const asked = (typeCode === TYPE.PTR ? reverseNameOf(name) : null) ?? name.replace(/\.$/, "");
  if (asked.length > LIMITS.nameBytes || asked.split(".").some((label) => label.length > LIMITS.labelBytes)) {
    const expected = `expected labels of at most ${LIMITS.labelBytes} bytes, ${LIMITS.nameBytes} in all`;
    return failed("usage", `name is "${name.slice(0, LIMITS.nameBytes)}"; ${expected}`);
  }
  if (asked !== "" && asked.split(".").includes("")) {
    return failed("usage", `name is "${name}"; expected labels between its dots`);
  }
  // One seed for all: people compare, so the order is the same each time.
  const given = answer(zone, { name: asked, typeCode, classCode: CLASS_IN }, asker, {
    random: seededRandom(0),
    sizeBytesMax: TCP_BYTES_MAX,
  });
  const named = { name: asked, type: typeNameOf(typeCode) };
  const note = noteOf(zone, asked, asker);
  const why = note === null ? {} : { note };
  if (given.kind === "forward") {
    const rcode = isIsolated(asker) ? "REFUSED" : "FORWARD";
    return success({ ...named, rcode, answers: [], ...why });
  }
  const answers = given.records.map((record) => {
    return { type: record.type, ttl: record.ttlSeconds, data: contentText(record) };
  });
  return success({ ...named, rcode: given.rcode, answers, ...why });
}

function noteOf(zone: Zone, name: string, asker: Asker): string | null {
  const meaning = meaningOf(zone, name, asker);
  if (meaning.kind === "ambiguous") {
    const { networks } = meaning;
    const forms = networks.map((network) => `${withoutDomain(zone, name)}.${network}`).join(" or ");
    // One that only one network has is a copy of a service that others have as well.
    const where =
      networks.length === 1
        ? "several networks have its service"
        : `the networks ${networks.join(", ")} have it`;
    return `${where}, none is the asker's own; expected ${forms}`;
  }
  if (meaning.kind === "missing" || meaning.kind === "foreign") return elsewhereNote(zone, name, asker);
  if (meaning.kind !== "tasks") return null;
  const { tasks, network, name: service } = meaning.service;
  if (tasks.v4.length + tasks.v6.length > 0) return null;
  return `no replica of ${network}/${service} takes traffic; skein explain ${service} tells why`;
}

const ISOLATED =
  "all networks of the asker are internal: names outside the zone are refused, and asked of nobody";

/** Why a name leads nowhere for a container, though a process of the host would find it. */
function elsewhereNote(zone: Zone, name: string, asker: Asker): string | null {
  if (!zone.complete) return "this daemon does not know yet what its peers know";
  if (asker.kind === "host") return null;
  const meaning = meaningOf(zone, name, { kind: "host" });
  if (meaning.kind === "foreign" && asker.isolated) return ISOLATED;
  if (!("service" in meaning)) return null;
  const on = asker.networks.length === 0 ? "none" : asker.networks.join(", ");
  return `it is in the network ${meaning.service.network}; the asker is on ${on}`;
}

function withoutDomain(zone: Zone, name: string): string {
  const suffix = `.${zone.domain}`;
  return name.toLowerCase().endsWith(suffix) ? name.slice(0, -suffix.length) : name;
}
