/**
 * Words: what the contract says of each of its types and fields, in the comments above them.
 *
 * So the document tells what the source tells, and nothing is written twice. Only the form that the contract has is
 * read: a comment, then `export interface Name` or, indented by two, `readonly field`.
 *
 * Pure.
 */

/** Descriptions of one type. */
export interface Words {
  readonly type: string | null;
  readonly byField: ReadonlyMap<string, string>;
}

/** Descriptions by the name of a type. @param sources  texts of the contract's files */
export function wordsOf(sources: readonly string[]): ReadonlyMap<string, Words> {
  const byType = new Map<string, Words>();
  for (const source of sources) for (const [name, words] of readSource(source)) byType.set(name, words);
  return byType;
}

const TOKEN = new RegExp(
  [
    String.raw`^ *\/\*\*(?<comment>(?:[^*]|\*(?!\/))*)\*\/$`,
    String.raw`^export interface (?<type>\w+)[^{]*\{`,
    String.raw`^ {2}readonly (?<field>\w+)\??:`,
    String.raw`^(?<end>\})$`,
  ].join("|"),
  "gm",
);

function readSource(source: string): ReadonlyMap<string, Words> {
  const byType = new Map<string, Words>();
  let comment: string | null = null;
  let byField = new Map<string, string>();
  for (const { groups = {} } of source.matchAll(TOKEN)) {
    const { comment: told, type, field } = groups;
    if (told !== undefined) {
      comment = sentence(told);
      continue;
    }
    if (type !== undefined) {
      byField = new Map();
      byType.set(type, { type: comment, byField });
    }
    if (field !== undefined && comment !== null) byField.set(field, comment);
    comment = null;
  }
  return byType;
}

/** A comment as one line, without its stars and its marks of code. */
function sentence(comment: string): string {
  return comment
    .replace(/^\s*\* ?/gm, "")
    .replace(/\s+/g, " ")
    .trim();
}
