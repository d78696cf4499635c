/**
 * Enrolments: who asks to become a member, told and counted.
 *
 * trust/enrolment.ts decides; here it gets what it needs of the picture (where members and managers are), and what came
 * of each request goes to the metrics and the events: who it was, as far as it was proved, and why it was refused.
 *
 * Touches: the requests that the mesh port hands over.
 */

import { renderHostPort, type HostPort } from "../base/ip.ts";
import type { Happening } from "../model/event.ts";
import type { Member } from "../model/member.ts";
import { nowMs } from "../runtime/clock.ts";
import type { Credentials } from "../trust/credentials.ts";
import { openEnrolment, type Enrolment, type EnrolmentAttempt } from "../trust/enrolment.ts";

import type { Base } from "./base.ts";

/** What is needed besides. */
export interface EnrolmentParts {
  readonly credentials: Credentials;
  /** As this node sees them now; none before it has a picture. */
  readonly members: () => readonly Member[];
  /** Where others reach this node. */
  readonly advertised: () => HostPort | null;
  readonly onHappenings: (happenings: readonly Happening[]) => void;
}

/** Opens the door for joiners. */
export function openEnrolments({ metrics }: Base, parts: EnrolmentParts): Enrolment {
  const { credentials, members, advertised, onHappenings } = parts;
  return openEnrolment({
    credentials,
    now: nowMs,
    members() {
      const own = advertised();
      const others = reached(members()).map(addressOf);
      return own === null ? others : [renderHostPort(own), ...others];
    },
    managers: () =>
      reached(members())
        .filter(({ role }) => role === "manager")
        .map(addressOf),
    told(attempt) {
      if (attempt.request === "join") metrics.joinAttempts.inc({ result: attempt.result });
      const happening = happeningOf(attempt);
      if (happening !== null) onHappenings([happening]);
    },
  });
}

/** Other members that live and whose address is known, managers first. */
function reached(members: readonly Member[]): readonly Member[] {
  const living = members.filter(({ self, state, host }) => !self && state === "alive" && host !== "");
  const isManager = ({ role }: Member): number => (role === "manager" ? 0 : 1);
  return living.toSorted((one, other) => isManager(one) - isManager(other));
}

function addressOf(member: Member): string {
  return renderHostPort(member);
}

/** Null for what is no news: a member that renews says so itself. */
function happeningOf({
  request,
  result,
  address,
  id,
  name,
  role,
  reason,
}: EnrolmentAttempt): Happening | null {
  const subject = name ?? id ?? address;
  const whence = [id, `from ${address}`].filter((text) => text !== null && text !== subject).join(" ");
  if (result === "accepted") {
    if (request !== "join") return null;
    const text = `let in as a ${role} (${whence})`;
    return { kind: "join.accepted", level: "info", subject, text, atMs: nowMs() };
  }
  const what = REQUESTS[request];
  return {
    kind: "join.refused",
    level: "warn",
    subject,
    text: `${what} (${whence}): ${reason}`,
    atMs: nowMs(),
  };
}

const REQUESTS: Readonly<Record<EnrolmentAttempt["request"], string>> = {
  join: "refused to join",
  renew: "refused a new certificate",
  authority: "refused the authority's keys",
};
