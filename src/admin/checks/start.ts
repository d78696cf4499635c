/**
 * Start: what is in the way of a daemon that does not run.
 *
 * Whoever asks a doctor while no daemon answers wants to know why it does not, or whether it would. So it is looked at
 * what a start needs: a configuration without mistakes, a folder for the state, ports that nobody has, Docker, rights.
 *
 * Pure. The daemon's own code gathers the facts, in the process of the command.
 */

import type { DoctorCheck, DoctorReport } from "../contract-doctor.ts";
import { judgeMode } from "../data-plane.ts";

import { made } from "./catalogue.ts";
import { judgeEngine, type EngineFacts } from "./engine.ts";
import { judgeHost, type HostFacts, type HostNeeds } from "./host.ts";
import { judgeRanges, type RangeFacts } from "./ranges.ts";

/** A place that the daemon is to listen on, and who has it. */
export interface PlaceFacts {
  /** The key of the configuration that names it. */
  readonly key: string;
  /** `0.0.0.0:7650/tcp` */
  readonly place: string;
  /** `nginx (pid 812)`; null when it is free. */
  readonly holder: string | null;
  /** Whether a daemon does not start without it. */
  readonly isVital: boolean;
}

/** What is looked at once the configuration can be read. */
export interface StartFacts {
  readonly host: HostFacts;
  readonly needs: HostNeeds;
  readonly engine: EngineFacts;
  /** Who would carry traffic, and why. */
  readonly dataPlane: Parameters<typeof judgeMode>[0];
  readonly places: readonly PlaceFacts[];
  readonly ranges: RangeFacts;
}

/** That no daemon answers. */
export interface Absence {
  /** As the client says. */
  readonly why: string;
  /** What is to be done; null where it is a start. */
  readonly remedy: string | null;
}

/** What was found where no daemon answers. */
export interface AbsenceFacts {
  readonly absence: Absence;
  /** The config file; null for none, which is fine. */
  readonly file: string | null;
  /** The configuration's mistakes, a line for each; null when there are none. */
  readonly mistakes: string | null;
  /** Null while the configuration cannot be read. */
  readonly start: StartFacts | null;
}

/** All checks of a host without a daemon. */
export function judgeStart({ absence, file, mistakes, start }: AbsenceFacts): DoctorReport {
  const running = made("daemon.answers", {
    subject: "skein",
    state: "fail",
    text: `no daemon answers: ${absence.why}`,
    remedy:
      absence.remedy ??
      "start it (skein run, or: docker compose up -d, systemctl start skein); what it needs is looked at here",
  });
  const subject = file ?? "configuration";
  const config =
    mistakes === null
      ? made("config.valid", {
          subject,
          state: "ok",
          text: file === null ? "defaults and environment" : "has no mistake",
        })
      : made("config.valid", {
          subject,
          state: "fail",
          text: mistakes,
          remedy: `mend it; try: skein config check ${subject}`,
        });
  if (start === null) return { checks: [running, config] };
  const { host, needs, engine, dataPlane, places, ranges } = start;
  return {
    checks: [
      running,
      config,
      ...judgeHost(host, needs),
      ...judgeEngine(engine, needs.kernel),
      judgeMode(dataPlane),
      ...places.map(ofPlace),
      ...judgeRanges(ranges),
    ],
  };
}

function ofPlace({ key, place, holder, isVital }: PlaceFacts): DoctorCheck {
  const subject = `${key} ${place}`;
  if (holder === null) return made("port.free", { subject, state: "ok", text: "is free" });
  const remedy = `stop that program, or set ${key} to another address or port`;
  return made("port.free", {
    subject,
    state: isVital ? "fail" : "warn",
    text: `is held by ${holder}`,
    remedy,
  });
}
