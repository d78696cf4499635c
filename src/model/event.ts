/**
 * Event: something that happened and that a person may want to know.
 *
 * Events leave the core as data; the shell logs them, keeps the last ones and streams them to `skein events`. An event
 * names its subject, so a reader can follow one host or service through time.
 *
 * Pure.
 */

/** What kinds of things happen. Dotted: subject, then what became of it. */
export type EventKind =
  | "member.alive"
  | "member.suspect"
  | "member.dead"
  | "member.away"
  | "member.left"
  | "member.draining"
  | "member.activated"
  | "member.refused"
  | "member.revoked"
  | "mesh.refused"
  | "admin.refused"
  | "join.accepted"
  | "join.refused"
  | "certificate.renewed"
  | "log.full"
  | "link.lost"
  | "replica.ready"
  | "replica.unready"
  | "replica.draining"
  | "replica.drained"
  | "replica.gone"
  | "service.added"
  | "service.removed"
  | "service.problem"
  | "vip.assigned"
  | "vip.conflict"
  | "network.added"
  | "network.removed"
  | "network.problem"
  | "source.problem"
  | "source.stale"
  | "source.fresh"
  | "state.corrupt"
  | "view.complete"
  | "daemon.started";

/** One happening, before the shell gave it a number. */
export interface Happening {
  readonly kind: EventKind;
  readonly level: "info" | "warn";
  /** `host-2`, `default/web`, `web-1`. */
  readonly subject: string;
  readonly text: string;
  readonly atMs: number;
}

/** A happening with its number: rises by one on each daemon, so a reader can resume. */
export interface Event extends Happening {
  readonly id: number;
}
