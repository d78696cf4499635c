// A kernel that reads the scripts we write: whole or not at all, and as strict as the real one about what leads where.

import type { TableState } from "../../../src/kernel/rules/changes.ts";
import type { RulesKernel } from "../../../src/kernel/rules/nft.ts";

interface Table {
  readonly chains: Map<string, { readonly text: string; readonly digest: string }[]>;
  readonly sets: Map<string, Map<string, string>>;
  readonly counters: Set<string>;
}

class Refused extends Error {}

/** What it refuses besides: rules with this word in them, as nft refuses words that it does not know. */
export const UNKNOWN_WORD = "nonsense";

/** A kernel with nothing in it. */
export class FakeRules implements RulesKernel {
  /** Scripts that were taken. */
  readonly scripts: string[] = [];
  /** Times that the table was read. */
  reads = 0;
  #table: Table | null = null;

  list(): Promise<TableState | null> {
    this.reads += 1;
    if (this.#table === null) return Promise.resolve(null);
    const { chains, sets, counters } = structuredClone(this.#table);
    const digests = [...chains].map(([name, rules]) => [name, rules.map(({ digest }) => digest)] as const);
    return Promise.resolve({ chains: new Map(digests), sets, counters });
  }

  apply(script: string): Promise<string | null> {
    const before = structuredClone(this.#table);
    try {
      for (const line of script.split("\n")) if (line !== "") this.#run(line);
      this.#check();
      this.scripts.push(script);
      return Promise.resolve(null);
    } catch (thrown) {
      this.#table = before;
      if (thrown instanceof Refused) return Promise.resolve(thrown.message);
      throw thrown;
    }
  }

  #run(line: string): void {
    const [verb = "", kind = "", ...rest] = line.split(" inet skein")[0]?.split(" ") ?? [];
    if (rest.length > 0) throw new Refused(`syntax: ${line}`);
    const body = line.slice(line.indexOf(" inet skein") + " inet skein".length).trim();
    const [name = ""] = body.split(" ");
    const more = body.slice(name.length).trim();
    if (kind === "table") this.#runTable(verb);
    else if (kind === "chain") this.#runChain(verb, name);
    else if (kind === "rule") this.#runRule(name, more);
    else if (kind === "counter") this.#runCounter(verb, name);
    else if (kind === "element") this.#runElement(verb, name, more);
    else this.#runSet(verb, name);
  }

  #runSet(verb: string, name: string): void {
    const { sets } = this.#there;
    if (verb === "flush" && !sets.has(name)) throw new Refused(`no set ${name}`);
    sets.set(name, verb === "flush" ? new Map() : (sets.get(name) ?? new Map()));
  }

  get #there(): Table {
    if (this.#table === null) throw new Refused("no such table");
    return this.#table;
  }

  #runTable(verb: string): void {
    if (verb === "delete") {
      if (this.#there !== null) this.#table = null;
      return;
    }
    this.#table ??= { chains: new Map(), sets: new Map(), counters: new Set() };
  }

  #runCounter(verb: string, name: string): void {
    const { counters } = this.#there;
    if (verb === "add") counters.add(name);
    else if (!counters.delete(name)) throw new Refused(`no counter ${name}`);
  }

  #runChain(verb: string, name: string): void {
    const { chains } = this.#there;
    if (verb === "add") chains.set(name, chains.get(name) ?? []);
    else if (!chains.has(name)) throw new Refused(`no chain ${name}`);
    else if (verb === "flush") chains.set(name, []);
    else chains.delete(name);
  }

  #runRule(name: string, text: string): void {
    const rules = this.#there.chains.get(name);
    if (rules === undefined) throw new Refused(`no chain ${name}`);
    if (text.includes(UNKNOWN_WORD)) throw new Refused(`unknown word in ${text}`);
    rules.push({ text, digest: /comment "([0-9a-f]{8})"$/.exec(text)?.[1] ?? "" });
  }

  #runElement(verb: string, name: string, text: string): void {
    const set = this.#there.sets.get(name);
    if (set === undefined) throw new Refused(`no set ${name}`);
    for (const element of text.slice(2, -2).split(", ")) {
      const [key = "", value = ""] = element.split(" : ");
      if (verb === "delete" && !set.delete(key)) throw new Refused(`no element ${key}`);
      if (verb === "add" && (set.get(key) ?? value) !== value) throw new Refused(`element ${key} exists`);
      if (verb === "add") set.set(key, value);
    }
  }

  /** Nothing leads to a chain or set, or counts with a counter, that is not there. */
  #check(): void {
    if (this.#table === null) return;
    const { chains, sets, counters } = this.#table;
    const verdicts = [...sets.values()].flatMap((set) => [...set.values()]);
    const texts = [...chains.values()].flatMap((rules) => rules.map(({ text }) => text));
    for (const text of [...verdicts, ...texts]) {
      const to = /\b(?:jump|goto) ([a-z][^ ]*)/.exec(text)?.[1];
      if (to !== undefined && !chains.has(to)) throw new Refused(`no chain ${to}`);
      const counter = /\bcounter name ([a-z][^ ]*)/.exec(text)?.[1];
      if (counter !== undefined && !counters.has(counter)) throw new Refused(`no counter ${counter}`);
      const set = /@([a-z]\w*)(?!,)\b/.exec(text.replace("@th,", ""))?.[1];
      if (set !== undefined && !sets.has(set)) throw new Refused(`no set ${set}`);
    }
  }
}
