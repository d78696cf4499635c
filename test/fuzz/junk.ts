// Frames that have the build of messages and nonsense in it: right fields in the right order, some of them impossible.

import { below, pick, type Random } from "../../src/base/random.ts";
import { WIRE_VERSION, type Message } from "../../src/gossip/message.ts";
import { SEAL_BYTES } from "../../src/model/seal.ts";

type Field =
  | "byte"
  | "flag"
  | "id"
  | "sum"
  | "text"
  | "whole"
  | "wire"
  | "mark"
  | "maybeMark"
  | "parts"
  | "sums"
  | "until"
  | { readonly listOf: readonly Field[] };

const DIGEST: Field = { listOf: ["id", "whole", "whole", "whole"] };
const WRITES: Field = { listOf: ["whole", "text", "text"] };

/** The fields of each kind, by their form; what may be null has the form of what it is when it is not. */
const FIELDS_BY_KIND: Readonly<Record<Message["kind"], readonly Field[]>> = {
  hello: ["wire", "id", "text", "whole", "whole", "text", "whole", "flag", "flag", DIGEST],
  delta: [{ listOf: ["id", "whole", "whole", "whole", "whole", WRITES, "maybeMark"] }, "until", "flag"],
  announce: [DIGEST],
  compare: ["sum"],
  parts: ["sums"],
  digest: [DIGEST, "parts", "flag"],
  rumor: [{ listOf: ["byte", "id", "whole", "whole", "id", "mark"] }, "until"],
  ping: ["whole", "whole"],
  pong: ["whole"],
  probe: ["whole", "id"],
  probed: ["whole", "flag"],
  applied: [{ listOf: ["id", "whole", "whole", { listOf: ["id", "maybeMark"] }] }, "whole"],
  drain: ["id", "whole", "whole", "text", "flag", "id", "maybeMark", "whole"],
  part: [],
  more: ["id", "whole", "whole", "whole"],
};

/** Where our bounds on numbers are, as powers of two. */
const EDGE_BITS = [31, 48, 50, 52, 53];

const KINDS = Object.keys(FIELDS_BY_KIND) as readonly Message["kind"][];

/** Writes a frame of some kind; how much of it is nonsense differs from frame to frame. */
export function junkFrame(random: Random): Uint8Array {
  const kind = pick(random, KINDS) ?? "ping";
  const junk = new Junk(random, pick(random, [0, 0.03, 0.3]) ?? 0);
  junk.bytes.push(KINDS.indexOf(kind) + 1);
  for (const field of FIELDS_BY_KIND[kind]) junk.field(field);
  return Uint8Array.from(junk.bytes);
}

class Junk {
  readonly bytes: number[] = [];
  readonly #random: Random;
  /** How likely a field is nonsense. */
  readonly #nonsense: number;

  constructor(random: Random, nonsense: number) {
    this.#random = random;
    this.#nonsense = nonsense;
  }

  field(field: Field): void {
    if (typeof field === "object") return this.#list(field.listOf);
    switch (field) {
      case "byte":
        return void this.bytes.push(this.#below(this.#isNonsense() ? 256 : 3));
      case "flag":
        return void this.bytes.push(this.#below(this.#isNonsense() ? 256 : 2));
      case "id":
        return this.#id();
      case "sum":
        return this.#noise(6);
      case "mark":
        return this.#noise(SEAL_BYTES);
      case "maybeMark": {
        const flag = this.#below(this.#isNonsense() ? 256 : 2);
        this.bytes.push(flag);
        return flag === 0 ? undefined : this.#noise(SEAL_BYTES);
      }
      case "sums":
        return this.#noise(64 * 6 - (this.#isNonsense() ? this.#below(7) : 0));
      case "text":
        return this.#text();
      case "whole":
        return this.#whole();
      case "wire":
        return this.#isNonsense() ? this.#whole() : void this.bytes.push(WIRE_VERSION);
      case "parts":
        return this.#scope();
      case "until": {
        const begin = this.#below(this.#isNonsense() ? 256 : 5);
        this.bytes.push(begin);
        return begin === 0 ? undefined : this.#noise(6);
      }
    }
  }

  #below(bound: number): number {
    return below(this.#random, bound);
  }

  #isNonsense(): boolean {
    return this.#random() < this.#nonsense;
  }

  #noise(count: number): void {
    for (let index = 0; index < count; index += 1) this.bytes.push(this.#below(256));
  }

  #id(): void {
    this.#noise(12);
    this.bytes.push(this.#isNonsense() ? this.#below(256) : this.#below(16) * 16);
  }

  #whole(): void {
    if (!this.#isNonsense())
      return this.#leb128(this.#random() < 0.8 ? this.#below(6) : this.#below(2 ** 31));
    const bits = this.#random() < 0.5 ? this.#below(57) : (pick(this.#random, EDGE_BITS) ?? 0);
    const near = 2 ** bits + this.#below(3) - 1;
    const forms: readonly (() => void)[] = [
      () => this.#leb128(Math.max(0, near)),
      () =>
        this.bytes.push(0x80 | this.#below(128), ...Array.from({ length: this.#below(9) }, () => 0x80), 0),
      () => this.bytes.push(...Array.from({ length: this.#below(20) }, () => 0xff)),
    ];
    pick(this.#random, forms)?.();
  }

  #leb128(value: number): void {
    let rest = value;
    for (; rest >= 128; rest = Math.floor(rest / 128)) this.bytes.push((rest % 128) + 128);
    this.bytes.push(rest);
  }

  #text(): void {
    const alphabet = this.#isNonsense()
      ? null
      : (pick(this.#random, ["abc/-", "é€", "𝄞\u0000\ufffd\ufeff"]) ?? "");
    const characters = Array.from(alphabet ?? "");
    const length = this.#below(this.#random() < 0.05 ? 300 : 8);
    const text = Array.from({ length }, () => pick(this.#random, characters) ?? "").join("");
    const bytes = alphabet === null ? Array.from({ length }, () => this.#below(256)) : [...Buffer.from(text)];
    if (this.#isNonsense()) this.#whole();
    else this.#leb128(bytes.length);
    for (const byte of bytes) this.bytes.push(byte);
  }

  #scope(): void {
    const kind = this.#isNonsense() ? this.#below(256) : this.#below(3);
    this.bytes.push(kind);
    if (kind === 1) this.#noise(8);
  }

  #list(fields: readonly Field[]): void {
    const count = this.#random() < 0.02 ? this.#below(200) : this.#below(4);
    if (this.#isNonsense()) this.#whole();
    else this.#leb128(count);
    for (let index = 0; index < count; index += 1) for (const field of fields) this.field(field);
  }
}
