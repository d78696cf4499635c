/**
 * Check: whether a ruleset can be written down safely.
 *
 * The plan writes only words that it has checked. This asks once more, of what was planned and knowing nothing of how:
 * names, hooks and elements of their own forms, rules of harmless characters on one line. A mistake of ours in the plan
 * then costs the service it is in, and never lets somebody's text speak to nft.
 *
 * Pure.
 */

import type { Chain, Element, Rule, SetName } from "./ruleset.ts";

const CHAIN_NAME = /^[a-z][a-z0-9_-]*(?:[/-][a-z0-9_-]+)*$/;
const CHAIN_NAME_MAX = 127;
const HOOK =
  /^type (?:nat|filter) hook (?:prerouting|input|forward|output|postrouting) priority -?\d{1,4}; policy accept;$/;
/** Quotes only round the name of a device, so that no text is anything else. */
const RULE = /^(?:[a-z0-9@_.,:/!=<>&|{}() -]|"[a-zA-Z0-9_.-]{1,15}\*?")+$/;
const RULE_MAX = 256 * 1024;

const ADDRESS = String.raw`\d{1,3}(?:\.\d{1,3}){3}`;
const ADDRESS6 = "[0-9a-f:]{2,39}";
const DEVICE = '"[a-zA-Z0-9_.-]{1,15}"';
const TRANSPORT = "(?:6|17)";
const PORT = String.raw`\d{1,5}`;
const VERDICT = "jump [a-z][a-z0-9/_-]{0,126}";

/** The form of each set's elements: of a set the key, of a map the key and what stands for it. */
const FORMS: Readonly<Record<SetName, readonly [string, string]>> = {
  vips: [`${ADDRESS} \\. ${TRANSPORT} \\. ${PORT}`, VERDICT],
  vips6: [`${ADDRESS6} \\. ${TRANSPORT} \\. ${PORT}`, VERDICT],
  ports: [`${TRANSPORT} \\. ${PORT}`, VERDICT],
  ports6: [`${TRANSPORT} \\. ${PORT}`, VERDICT],
  owners: [ADDRESS, VERDICT],
  owners6: [ADDRESS6, VERDICT],
  entries: [`${DEVICE} \\. [0-9a-f]{2}(?::[0-9a-f]{2}){5}`, "0x[0-9a-f]{8}"],
  within: [`${DEVICE} \\. ${DEVICE}`, ""],
  gateways: [DEVICE, ADDRESS],
  gateways6: [DEVICE, ADDRESS6],
  hosts: [ADDRESS, ""],
  masked: [`${ADDRESS} \\. ${TRANSPORT} \\. ${PORT}`, ""],
  masked6: [`${ADDRESS6} \\. ${TRANSPORT} \\. ${PORT}`, ""],
  homes: [`${ADDRESS} \\. ${ADDRESS}/\\d{1,2}`, ""],
  homes6: [`${ADDRESS6} \\. ${ADDRESS6}/\\d{1,3}`, ""],
  asking: [DEVICE, `${ADDRESS} \\. ${PORT}`],
  asking6: [DEVICE, `${ADDRESS6} \\. ${PORT}`],
  askers: [ADDRESS, `${ADDRESS} \\. ${PORT}`],
  selves: [`${DEVICE} \\. ${DEVICE}`, ""],
};

const PATTERNS: ReadonlyMap<string, readonly [RegExp, RegExp]> = new Map(
  Object.entries(FORMS).map(([name, [key, value]]) => [
    name,
    [new RegExp(`^${key}$`), new RegExp(`^(?:${value})$`)],
  ]),
);

/** What is wrong with a chain, in words; null for nothing. */
export function checkChain({ name, hook, rules, counter }: Chain): string | null {
  if (name.length > CHAIN_NAME_MAX || !CHAIN_NAME.test(name))
    return `chain is ${quoted(name)}; expected letters, digits, "-", "_" and "/"`;
  if (counter !== null && (counter.length > CHAIN_NAME_MAX || !CHAIN_NAME.test(counter)))
    return `counter of chain ${name} is ${quoted(counter)}; expected letters, digits, "-", "_" and "/"`;
  if (hook !== null && !HOOK.test(hook))
    return `hook of chain ${name} is ${quoted(hook)}; expected type and priority`;
  const wrong = rules.find((rule) => !isSafe(rule));
  return wrong === undefined
    ? null
    : `rule of chain ${name} is ${quoted(wrong.text)}; expected harmless characters`;
}

/** What is wrong with an element, in words; null for nothing. */
export function checkElement({ set, key, value }: Element): string | null {
  const patterns = PATTERNS.get(set);
  if (patterns === undefined) return `set is ${quoted(set)}; expected one of ours`;
  const [keys, values] = patterns;
  if (keys.test(key) && values.test(value)) return null;
  return `element of ${set} is ${quoted(value === "" ? key : `${key} : ${value}`)}; expected another form`;
}

function isSafe({ text, digest }: Rule): boolean {
  return text.length > 0 && text.length <= RULE_MAX && RULE.test(text) && /^[0-9a-f]{8}$/.test(digest);
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 200));
}
