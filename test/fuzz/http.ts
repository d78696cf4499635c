// Throws hostile HTTP/1.1 requests at the proxy, and compares what it makes of them with what node:http and nginx make
// of them. There must never be two readings of one request:
//
// - what the proxy sends for one request is one request to node:http and to nginx, the same one, whole or not at all;
// - where nginx, given the client's own bytes, answers the nth request too, it has read the same one there.
//
// To refuse is always allowed, to each of them.

import { isDeepStrictEqual } from "node:util";

import { Finding, type LateFuzzer, type OpenFuzzer } from "./fuzzer.ts";
import {
  answersOf,
  NginxReader,
  nginxObstacle,
  Recorder,
  textOf,
  type Answer,
  type Reading,
  type Slice,
} from "./http-readers.ts";
import { hostileRequests, LAST_REQUEST, LAST_TARGET } from "./http-requests.ts";
import { openWays, WAYS, type Way } from "./http-ways.ts";

const LAST_READING: Reading = {
  method: "GET",
  target: LAST_TARGET,
  host: "last",
  canary: "undefined",
  body: "0:da39a3ee",
};

/** The fuzzer of HTTP requests. */
export function httpFuzzer(): LateFuzzer {
  return { name: "http", obstacle: nginxObstacle, open: openHttpFuzzer };
}

async function openHttpFuzzer(): Promise<OpenFuzzer> {
  const recorders = await Promise.all(Array.from({ length: WAYS }, () => Recorder.open()));
  const nginx = await NginxReader.open();
  const ways = await openWays(recorders);
  return {
    atATime: WAYS,
    round: (random) => ways.lend((way) => judge(hostileRequests(random), way, nginx)),
    async close() {
      await ways.close();
      for (const recorder of recorders) recorder.close();
      await nginx.close();
    },
  };
}

/** Runs one case. @returns in a word what the proxy made of it */
export async function judge(bytes: Buffer, way: Way<Recorder>, nginx: NginxReader): Promise<string> {
  const { upstream: recorder } = way;
  const answers = await answersOf(way, bytes);
  const slices = recorder.takeSlices();
  if (recorder.fault !== null) throw new Finding(recorder.fault, bytes);
  const sent = slices.flatMap(({ reading }) => reading ?? []);
  for (const { reading } of answers) {
    const isKnown = reading === null || sent.some((one) => isDeepStrictEqual(one, reading));
    if (!isKnown) throw new Finding(`an answer to what was not sent: ${JSON.stringify(reading)}`, bytes);
  }
  const refusedByNginx = await judgeSent(slices, bytes, nginx);
  await judgeDirect(answers, bytes, nginx);
  const isLast = answers.at(-1)?.reading?.target === LAST_TARGET;
  if (refusedByNginx) return "refused by nginx behind us";
  if (answers.every(({ reading }) => reading === null)) return "refused";
  return isLast ? "passed" : "passed in part";
}

/**
 * What the proxy has sent must be to nginx what it was to node:http: whole requests the same, others nothing.
 *
 * @returns true when nginx refused one
 */
async function judgeSent(slices: readonly Slice[], bytes: Buffer, nginx: NginxReader): Promise<boolean> {
  const whole = slices.filter(({ reading }) => reading !== null);
  const answers =
    whole.length === 0
      ? []
      : await answersOf(nginx, Buffer.concat([...whole.map((slice) => slice.bytes), LAST_REQUEST]));
  const expected = [...whole.map(({ reading }) => reading), LAST_READING];
  if (answers.length > expected.length) throw new Finding("nginx reads more requests than were sent", bytes);
  compare(
    expected,
    answers.map(({ reading }) => reading),
    { what: "what was sent", bytes },
  );
  for (const slice of slices.filter(({ reading }) => reading === null)) {
    const [first] = await answersOf(nginx, slice.bytes);
    if (first !== undefined && first.reading !== null)
      throw new Finding(`nginx takes a broken request for whole: ${textOf(slice.bytes)}`, bytes);
  }
  return answers.some(({ reading }) => reading === null);
}

/** What came from the client must not be one request to the proxy and another to nginx. */
async function judgeDirect(answers: readonly Answer[], bytes: Buffer, nginx: NginxReader): Promise<void> {
  const direct = await answersOf(nginx, bytes);
  const readings = (of: readonly Answer[]): readonly (Reading | null)[] =>
    of.map(({ reading }) => (reading === null ? null : { ...reading, canary: "" }));
  compare(readings(answers), readings(direct), { what: "what the client sent", bytes });
}

function compare(
  ours: readonly (Reading | null)[],
  theirs: readonly (Reading | null)[],
  { what, bytes }: { readonly what: string; readonly bytes: Buffer },
): void {
  for (const [index, our] of ours.entries()) {
    const their = theirs[index];
    if (their === undefined || their === null || our === null) continue;
    if (isDeepStrictEqual(our, their)) continue;
    const readings = `${JSON.stringify(our)} and to nginx ${JSON.stringify(their)}`;
    throw new Finding(`request ${index} of ${what} has two readings: ${readings} of ${textOf(bytes)}`, bytes);
  }
}
