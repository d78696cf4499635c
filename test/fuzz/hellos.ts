// Throws damaged first messages of TLS clients at their reader: it must come to one end, however they are cut.

import { isDeepStrictEqual } from "node:util";

import { below, type Random } from "../../src/base/random.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { HelloReader, hostOf, type HelloReading } from "../../src/proxy/tls/client-hello.ts";
import { hostName, inRecords, renderHello } from "../proxy/tls/hellos.ts";

import { Finding, type Fuzzer } from "./fuzzer.ts";
import { mutated } from "./mutate.ts";

const WHOLE = [1, 7, 100, 16_384].map((recordBytes, index) => {
  const names = [hostName(`host-${index}.example.com`)];
  return inRecords(renderHello({ names, protocols: ["h2", "http/1.1"], padding: 40 * index }), recordBytes);
});

/** The fuzzer of the SNI peek. */
export function helloFuzzer(): Fuzzer {
  return {
    name: "hellos",
    round(random) {
      const [one = Buffer.alloc(0), other = Buffer.alloc(0)] = [of(random), of(random)];
      const bytes = Buffer.from(mutated(one, other, random));
      const reading = new HelloReader().add(bytes);
      const inPieces = readCut(bytes, random);
      if (!isDeepStrictEqual(reading, inPieces)) throw new Finding("reads otherwise in pieces", bytes);
      if (reading.kind === "more" && bytes.length >= LIMITS.clientHelloBytes) {
        throw new Finding("waits past its bound", bytes);
      }
      const name = reading.kind === "hello" ? reading.serverName : null;
      if (name !== null && hostOf(name) !== name) throw new Finding(`takes ${name} for a host`, bytes);
      return reading.kind;
    },
  };
}

function of(random: Random): Buffer | undefined {
  return WHOLE[below(random, WHOLE.length)];
}

function readCut(bytes: Buffer, random: Random): HelloReading {
  const reader = new HelloReader();
  let reading = reader.add(Buffer.alloc(0));
  for (let at = 0; at < bytes.length;) {
    const end = at + 1 + below(random, 50);
    reading = reader.add(bytes.subarray(at, end));
    at = end;
  }
  return reading;
}
