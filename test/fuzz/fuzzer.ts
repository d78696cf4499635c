// What a fuzzer is: cases drawn from seeds, and what a case that went wrong has to tell.

import { seededRandom, type Random } from "../../src/base/random.ts";

/** What input is thrown at, and how. */
export interface Fuzzer {
  readonly name: string;
  /**
   * One case, decided by its randomness alone.
   *
   * @returns what came of it in a word, to be counted
   * @throws Finding, or anything else, when something went wrong
   */
  readonly round: (random: Random, seed: number) => string;
}

/** Something went wrong with a frame; `frame` is null when no frame led to it. */
export class Finding extends Error {
  override readonly name = "Finding";
  readonly frame: Uint8Array | null;

  constructor(text: string, frame: Uint8Array | null, cause?: unknown) {
    super(text, { cause });
    this.frame = frame;
  }
}

/** Counts of what came of cases. */
export type Outcomes = Map<string, number>;

/** A case that went wrong, and the seed that leads there: as the first case of its fuzzer. */
export interface Failed {
  readonly fuzzer: string;
  readonly seed: number;
  readonly thrown: unknown;
}

/**
 * Runs cases until `goesOn` says no; the case at `index` has the seed `seed + index`, so a case can be run by itself.
 *
 * @param outcomes  is added to
 * @returns the first case that went wrong, or null
 */
export function runCases(
  fuzzer: Fuzzer,
  seed: number,
  { goesOn, outcomes }: { readonly goesOn: (index: number) => boolean; readonly outcomes: Outcomes },
): Failed | null {
  for (let index = 0; goesOn(index); index += 1) {
    const ofCase = (seed + index) >>> 0;
    try {
      const outcome = fuzzer.round(seededRandom(ofCase), ofCase);
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    } catch (thrown) {
      return { fuzzer: fuzzer.name, seed: ofCase, thrown };
    }
  }
  return null;
}

/** A fuzzer whose target is made of sockets and programs: opened, used, closed; its cases take their time. */
export interface LateFuzzer {
  readonly name: string;
  /** Why it cannot run here, in words; false when it can. */
  readonly obstacle: () => string | false;
  readonly open: () => Promise<OpenFuzzer>;
}

/** As Fuzzer, with cases that overlap. */
export interface OpenFuzzer {
  readonly atATime: number;
  readonly round: (random: Random, seed: number) => Promise<string>;
  readonly close: () => Promise<void>;
}

/** As `runCases`; after the first case that went wrong none is begun, and those under way are waited for. */
export async function runLateCases(
  { name, fuzzer }: { readonly name: string; readonly fuzzer: OpenFuzzer },
  seed: number,
  { goesOn, outcomes }: { readonly goesOn: (index: number) => boolean; readonly outcomes: Outcomes },
): Promise<Failed | null> {
  const failures: Failed[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    while (failures.length === 0 && goesOn(next)) {
      const ofCase = (seed + next) >>> 0;
      next += 1;
      try {
        const outcome = await fuzzer.round(seededRandom(ofCase), ofCase);
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      } catch (thrown) {
        failures.push({ fuzzer: name, seed: ofCase, thrown });
      }
    }
  };
  await Promise.all(Array.from({ length: fuzzer.atATime }, work));
  return failures[0] ?? null;
}

/** What went wrong, how to see it again, and the frame in hex. */
export function renderFailed({ fuzzer, seed, thrown }: Failed): string {
  const told = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  const hasCause = thrown instanceof Error && thrown.cause !== undefined;
  const cause = hasCause ? `\ncause: ${causeOf(thrown)}` : "";
  const frame = thrown instanceof Finding ? thrown.frame : null;
  const hex = frame === null ? "" : `\nframe: ${Buffer.from(frame).toString("hex")}`;
  const again = `npm run fuzz -- --only ${fuzzer} --seed ${seed} --seconds 0`;
  return `${fuzzer}: ${told}${cause}\nagain: ${again}${hex}`;
}

function causeOf({ cause }: Error): string {
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
}
