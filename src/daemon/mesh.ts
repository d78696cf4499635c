/**
 * Mesh: the mesh port, the links and the streams of one daemon, opened as one thing with one idea of whom to trust.
 *
 * What was refused at the port or by us goes to the events, with the peer and the reason. A member that was removed
 * loses all that it has here in the same turn in which this node hears of it, and one whose certificate has ended soon
 * after that: TLS looks at a certificate once, and a connection may last for months.
 *
 * Touches: the mesh port, through its shells.
 */

import { renderHostPort, type HostPort } from "../base/ip.ts";
import { chooseAdvertised } from "../mesh/advertise.ts";
import { openDialler, type DialMember } from "../mesh/dial.ts";
import { openLanes } from "../mesh/lanes.ts";
import type { Link } from "../mesh/link.ts";
import { openLinks, type Links } from "../mesh/links.ts";
import { openListener, type ListenerOptions } from "../mesh/listener.ts";
import { openAsking, type Answer, type Answers, type AskMember } from "../mesh/questions.ts";
import { openRefusals, type MeshRefusal } from "../mesh/refusals.ts";
import type { OpenStream } from "../mesh/stream.ts";
import { openStreams } from "../mesh/streams.ts";
import type { MeshTrust, Objection } from "../mesh/trust.ts";
import { openWayBack } from "../mesh/way-back.ts";
import type { Credential } from "../model/credential.ts";
import type { Happening } from "../model/event.ts";
import type { NodeId } from "../model/ids.ts";
import { nowMs, wallMs } from "../runtime/clock.ts";
import type { Credentials } from "../trust/credentials.ts";

import type { Base } from "./base.ts";
import type { Driver } from "./driver.ts";
import { sharedWith } from "./options.ts";

/** How often it is looked whether those who were let in still count. */
const RECHECK_MS = 10_000;

/** What the mesh port and the links are to the rest. */
export interface Mesh {
  readonly links: Links;
  readonly address: HostPort;
  readonly advertised: HostPort;
  readonly streamCount: () => number;
  readonly openStream: OpenStream;
  /** Asks a member what only one asks, now and then. */
  readonly ask: AskMember;
  /** What members are answered who ask for this host's traffic; nothing before it was set. */
  readonly trafficIs: (answer: Answer) => void;
  /** Ends all that goes to or comes from members who do not count any more; done now and then by itself. */
  readonly recheck: () => void;
  /** Listens, where a predecessor does until now; harmless elsewhere. @throws Failure as openListener does */
  readonly listen: () => Promise<void>;
  /** Takes links from now on; those that came before waited, unread. */
  readonly admit: () => void;
  /** Ends all links and takes none any more: a successor has them. Streams are relayed as before. */
  readonly retire: () => void;
  /** Listens no more, since the successor does. Streams that are open go on. */
  readonly stopListening: () => void;
}

/** What the mesh asks the rest. */
export interface MeshParts extends Pick<ListenerOptions, "resolve" | "wayTo" | "onJoin"> {
  readonly credentials: Credentials;
  /** By the certificate in a member's log; undefined while that is not known. */
  readonly credentialOf: (member: NodeId) => Credential | undefined;
  readonly onInput: Driver["feed"];
  readonly onHappenings: (happenings: readonly Happening[]) => void;
  /** Where a member listens; null for one that is not known. */
  readonly addressOf: (id: NodeId) => HostPort | null;
  /** What a member is called, by its id; null for one that is not known. */
  readonly nameOf: (id: NodeId) => string | null;
}

/**
 * Opens the mesh port and the links.
 *
 * Beside a predecessor the port is open only once `listen` was called: half of all streams would come here from the
 * first moment on, to a daemon that has its hands full with starting, and end with it if it fails to start.
 *
 * @throws Failure as openListener does
 */
export async function openMesh(base: Base, parts: MeshParts): Promise<Mesh> {
  const { resolve, wayTo, onJoin, onInput } = parts;
  const { options, lifecycle, metrics, report } = base;
  const { log } = options;
  const { listen, advertise, join: seeds } = options.config.mesh;
  const trust = meshTrustOf(parts.credentials);
  const lanes = openLanes();
  const refusals = openRefusals({
    metrics,
    onRefused: (refusal) => parts.onHappenings([happeningOf(refusal, parts.nameOf)]),
  });
  const dialMember = openDialler(trust, refusals);
  const streams = openStreams({ dialMember });
  lifecycle.opened({ name: "relayed streams", close: () => streams.close(), handover: "serves" });
  const links = openLinks({ onInput, log, metrics, lanes, dialMember, refusals });
  const { answers, trafficIs } = answersBy(dialMember, parts);
  const early: Link[] = [];
  let isAdmitting = false;
  const listener = await openListener({
    listen,
    trust,
    refusals,
    nextLinkId: links.nextId,
    onLink: (link) => (isAdmitting ? links.accept(link) : early.push(link)),
    lanes,
    resolve,
    wayTo,
    streams,
    onJoin,
    answers,
    log,
    metrics,
    shared: sharedWith(options),
    // Who lets the system choose has another port than the predecessor, and has to know which.
    isLate: options.predecessor?.isRelaying === true && listen.port !== 0,
  });
  const close = (): Promise<void> => listener.close();
  lifecycle.opened({ name: "mesh listener", close, deadlineMs: 2500, handover: "serves" });
  const { address, streamCount } = listener;
  report.listen("mesh", () => [renderHostPort(address)]);
  const objection = objectionOf(parts);
  const recheck = (): void => {
    for (const part of [links, streams, listener]) part.cut(objection);
  };
  const timer = setInterval(recheck, RECHECK_MS);
  lifecycle.opened({ name: "mesh recheck", close: () => clearInterval(timer) });
  const opened = {
    links,
    address,
    streamCount,
    openStream: streams.open,
    ask: openAsking(dialMember),
    trafficIs,
    recheck,
    listen: () => listener.listen(),
    admit(): void {
      isAdmitting = true;
      for (const link of early.splice(0)) links.accept(link);
    },
    retire(): void {
      listener.retire();
      links.closeAll("another daemon takes over here");
    },
    stopListening: () => listener.stopListening(),
  };
  if (advertise !== "auto") return { ...opened, advertised: advertise };
  const { host, reason } = await chooseAdvertised(listen, seeds);
  const advertised = { host, port: address.port };
  report.choose("mesh.advertise", renderHostPort(advertised), reason);
  return { ...opened, advertised };
}

/** What members are answered; of traffic nothing before it is known whom to ask: the port is open before the proxy. */
function answersBy(
  dialMember: DialMember,
  { addressOf }: Pick<MeshParts, "addressOf">,
): { readonly answers: Answers } & Pick<Mesh, "trafficIs"> {
  let traffic: Answer = () => null;
  return {
    answers: {
      here: () => true,
      path: openWayBack({ ask: openAsking(dialMember), addressOf }),
      traffic: (asker, from) => traffic(asker, from),
    },
    trafficIs: (answer) => void (traffic = answer),
  };
}

/** What the mesh needs of trust. */
export function meshTrustOf(credentials: Credentials): MeshTrust {
  return {
    material: () => credentials.material(),
    admit: (certificate) => credentials.admit(certificate),
    ownerOf: (certificate) => credentials.ownerOf(certificate),
  };
}

/**
 * Judges who was let in a while ago. A connection goes on with the certificate that it was opened with, and streams may
 * live for months: who has renewed meanwhile, as his log shows, has done so for the same key, and is cut for nothing.
 */
function objectionOf({
  credentials: { admission },
  credentialOf,
}: Pick<MeshParts, "credentials" | "credentialOf">): Objection {
  return (peer) => {
    const why = admission.objection(peer, wallMs());
    const renewed = why === null ? undefined : credentialOf(peer.id);
    return renewed !== undefined && admission.objection(renewed, wallMs()) === null ? null : why;
  };
}

function happeningOf({ reason, address, peer, text }: MeshRefusal, nameOf: MeshParts["nameOf"]): Happening {
  const name = peer === null ? null : nameOf(peer);
  const who = [name === null ? null : peer, `at ${address}`].filter((part) => part !== null).join(" ");
  const subject = name ?? peer ?? address;
  return { kind: "mesh.refused", level: "warn", subject, text: `${reason} (${who}): ${text}`, atMs: nowMs() };
}
