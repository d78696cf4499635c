/**
 * Codes: the numbers of DNS that have names, and their names.
 *
 * Answers are decided and explained by name, packets carry numbers, metrics need a bounded set of labels: one table
 * serves all three. Only types that clients of a service network really ask for are named; the rest are written as
 * RFC 3597 does, `TYPE64`.
 *
 * Pure.
 */

/** Record and query types by name (IANA "DNS parameters"). */
export const TYPE = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  HTTPS: 65,
  ANY: 255,
} as const;

/** Response codes by name (RFC 1035 4.1.1, RFC 6891 6.1.3). Those above 15 need an OPT to travel in. */
export const RCODE = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  BADVERS: 16,
} as const;

/** A name in RCODE. */
export type RcodeName = keyof typeof RCODE;

/** The class of the internet, the only one we serve. */
export const CLASS_IN = 1;

/** The class in which servers tell of themselves: `id.server`, `version.server` (RFC 4892). */
export const CLASS_CH = 3;

const NAME_BY_TYPE = new Map<number, string>(Object.entries(TYPE).map(([name, code]) => [code, name]));
const NAME_BY_RCODE = new Map<number, string>(Object.entries(RCODE).map(([name, code]) => [code, name]));

/** The code of `A`, `aaaa`, `TYPE64` (RFC 3597 5); null for text that names no type. */
export function typeCodeOf(text: string): number | null {
  const upper = text.toUpperCase();
  const named = Object.entries(TYPE).find(([name]) => name === upper);
  if (named !== undefined) return named[1];
  const match = /^TYPE(\d{1,5})$/.exec(upper);
  const code = Number(match?.[1]);
  return match !== null && code <= 0xffff ? code : null;
}

/** The type's name for people: `A`, or `TYPE64` for one that is not in the table. */
export function typeNameOf(code: number): string {
  return NAME_BY_TYPE.get(code) ?? `TYPE${code}`;
}

/** The type's name as a metric label: clients choose the number, so all unnamed ones are `other`. */
export function typeLabelOf(code: number): string {
  return NAME_BY_TYPE.get(code) ?? "other";
}

/** The response code's name as a metric label; `other` for those a foreign server made up. */
export function rcodeLabelOf(code: number): string {
  return NAME_BY_RCODE.get(code) ?? "other";
}

/**
 * True for types that ask for an operation or a pseudo record instead of data (RFC 6895 3.1: 128..255, and OPT):
 * zone transfers, TSIG, TKEY. ANY is not among them: RFC 8482 gives it an answer.
 */
export function isMetaType(code: number): boolean {
  return code === TYPE.OPT || (code >= 128 && code < TYPE.ANY);
}
