/**
 * Lexer: cuts TypeScript source into tokens, so that the house rules see code and never the inside of a string.
 *
 * TypeScript 7 offers a parser only under `typescript/unstable/*`: it starts a native process and may change with any
 * release, and rules that guard the build should not break with it. A lexer is enough for every rule we have: imports,
 * names, brackets and comments are all visible in a flat list of tokens. What a lexer cannot know is whether a slash
 * begins a regular expression; `expressionMayBegin` decides by the token before it, as editors do. The same decides
 * in a .tsx file whether "<" begins an element: its tags are tokens as code is, and its text is one of kind "text".
 *
 * Pure. imports.ts and the rules read the tokens.
 */

export type TokenKind =
  | "word"
  | "number"
  | "string"
  | "template"
  | "regex"
  | "text"
  | "punctuation"
  | "comment";

/** One token; `line` counts from 1, and `endLine` differs from it only for what spans lines. */
export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  readonly line: number;
  readonly endLine: number;
}

interface Scan {
  readonly source: string;
  readonly language: "ts" | "tsx";
  readonly tokens: Token[];
  /** The element being read, outermost first: in its tag, or among its children; `code` inside of its braces. */
  readonly elements: ElementPart[];
  /** Brackets not closed yet; for "(" also whether it belongs to `if`, `while`, `for` or `with`. */
  readonly open: { readonly bracket: string; readonly ofControl: boolean; readonly ofElement?: boolean }[];
  at: number;
  line: number;
  /** The last token that is no comment, and whether it was the ")" of a control head. */
  last: Token | undefined;
  lastClosedControl: boolean;
}

type ElementPart = "tag" | "closing" | "children" | "code";

const SPACE = /\s+/y;
const COMMENT = /\/\/[^\n]*|\/\*[^]*?(?:\*\/|$)/y;
const STRING = /"(?:[^"\\\n]|\\[^])*"?|'(?:[^'\\\n]|\\[^])*'?/y;
const NUMBER = /\.?\d(?:[\w.]|(?<=[eE])[+-])*/y;
const WORD = /[#@]?[\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*/uy;
const REGEX = /\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y;
const CHILD_TEXT = /[^<{]+/y;
const TEMPLATE_PIECE = /(?:[^`\\$]|\\[^]|\$(?!\{))*/y;
const PUNCTUATION = /\.\.\.|=>|\?\.|\+\+|--|[^]/y;

const WORDS_BEFORE_REGEX = new Set(
  "return typeof case in of delete void throw new else do await yield instanceof".split(" "),
);
const CONTROL = new Set(["if", "while", "for", "with"]);

/** The tokens of a source text, comments included, in order; unterminated strings and comments end where they can. */
export function tokenize(source: string, language: "ts" | "tsx" = "ts"): readonly Token[] {
  const scan: Scan = {
    source,
    language,
    tokens: [],
    elements: [],
    open: [],
    at: 0,
    line: 1,
    last: undefined,
    lastClosedControl: false,
  };
  if (source.startsWith("#!")) scan.at = Math.max(0, source.indexOf("\n"));
  while (scan.at < source.length) step(scan);
  return scan.tokens;
}

function step(scan: Scan): void {
  if (scan.elements.at(-1) === "children") return child(scan);
  if (skipSpace(scan)) return;
  const first = scan.source[scan.at];
  if (first === "`") return template(scan);
  if (first === "/" && take(scan, COMMENT, "comment")) return;
  if (first === "<" && elementBegins(scan)) return tag(scan);
  if ((first === ">" || first === "/") && endsTag(scan)) return;
  if (first === "/" && expressionMayBegin(scan) && take(scan, REGEX, "regex")) return;
  if ((first === '"' || first === "'") && take(scan, STRING, "string")) return;
  if (take(scan, NUMBER, "number") || take(scan, WORD, "word")) return;
  punctuation(scan);
}

function skipSpace(scan: Scan): boolean {
  SPACE.lastIndex = scan.at;
  const space = SPACE.exec(scan.source)?.[0];
  if (space === undefined) return false;
  scan.at += space.length;
  scan.line += newlines(space);
  return true;
}

function take(scan: Scan, pattern: RegExp, kind: TokenKind): boolean {
  pattern.lastIndex = scan.at;
  const text = pattern.exec(scan.source)?.[0];
  if (text === undefined) return false;
  push(scan, kind, text);
  return true;
}

function push(scan: Scan, kind: TokenKind, text: string): void {
  const endLine = scan.line + newlines(text);
  const token: Token = { kind, text, line: scan.line, endLine };
  scan.tokens.push(token);
  scan.at += text.length;
  scan.line = endLine;
  if (kind === "comment") return;
  scan.last = token;
  scan.lastClosedControl = false;
}

function punctuation(scan: Scan): void {
  if (scan.source[scan.at] === "}" && scan.open.at(-1)?.bracket === "${") {
    scan.open.pop();
    push(scan, "punctuation", "}");
    return templateRest(scan);
  }
  const ofControl = scan.last?.kind === "word" && CONTROL.has(scan.last.text);
  take(scan, PUNCTUATION, "punctuation");
  const text = scan.last?.text ?? "";
  if (text === "(" || text === "{" || text === "[") {
    scan.open.push({ bracket: text, ofControl });
    if (text === "{" && scan.elements.at(-1) === "tag") beginCode(scan);
  } else if (text === ")" || text === "}" || text === "]") {
    const opened = scan.open.pop();
    scan.lastClosedControl = opened?.ofControl ?? false;
    if (opened?.ofElement === true) scan.elements.pop();
  }
}

/** Text, an expression in braces, an element, or the end of the one whose children are read. */
function child(scan: Scan): void {
  const first = scan.source[scan.at];
  if (first === "{") {
    push(scan, "punctuation", "{");
    scan.open.push({ bracket: "{", ofControl: false });
    beginCode(scan);
  } else if (first === "<") tag(scan);
  else if (!skipSpace(scan)) take(scan, CHILD_TEXT, "text");
}

/** What stands in braces is code up to the brace that closes them. */
function beginCode(scan: Scan): void {
  scan.elements.push("code");
  const opened = scan.open.pop();
  if (opened !== undefined) scan.open.push({ ...opened, ofElement: true });
}

function elementBegins(scan: Scan): boolean {
  const after = scan.source[scan.at + 1] ?? "";
  return scan.language === "tsx" && /[A-Za-z>]/.test(after) && expressionMayBegin(scan);
}

function tag(scan: Scan): void {
  const isClosing = scan.source[scan.at + 1] === "/";
  push(scan, "punctuation", isClosing ? "</" : "<");
  // The closing tag stands in place of the children that it ends.
  if (isClosing) scan.elements.pop();
  scan.elements.push(isClosing ? "closing" : "tag");
}

/** The ">" or "/>" of a tag. */
function endsTag(scan: Scan): boolean {
  const part = scan.elements.at(-1);
  if (part !== "tag" && part !== "closing") return false;
  const isEmpty = scan.source.startsWith("/>", scan.at);
  if (!isEmpty && scan.source[scan.at] !== ">") return false;
  push(scan, "punctuation", isEmpty ? "/>" : ">");
  scan.elements.pop();
  if (part === "tag" && !isEmpty) scan.elements.push("children");
  return true;
}

/** A template: its literal pieces are tokens, and what stands in `${...}` is tokenized as the code it is. */
function template(scan: Scan): void {
  push(scan, "template", "`");
  templateRest(scan);
}

function templateRest(scan: Scan): void {
  take(scan, TEMPLATE_PIECE, "template");
  if (scan.source[scan.at] === "`") {
    push(scan, "template", "`");
  } else if (scan.at < scan.source.length) {
    push(scan, "punctuation", "${");
    scan.open.push({ bracket: "${", ofControl: false });
  }
}

function expressionMayBegin(scan: Scan): boolean {
  const { last } = scan;
  if (last === undefined) return true;
  if (last.kind === "word") return WORDS_BEFORE_REGEX.has(last.text);
  if (last.kind !== "punctuation") return false;
  if (last.text === ")") return scan.lastClosedControl;
  // Not "}": after a block a regular expression is likelier than a division by what follows an object literal.
  return !["]", "++", "--"].includes(last.text);
}

function newlines(text: string): number {
  let count = 0;
  for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) count += 1;
  return count;
}

const CLOSING: Readonly<Record<string, string>> = { "(": ")", "{": "}", "[": "]", "${": "}" };

/** The index of the bracket that closes the one at `open`; the last index when nothing does. `code` has no comments. */
export function closingIndex(code: readonly Token[], open: number): number {
  let depth = 0;
  for (let index = open; index < code.length; index += 1) {
    depth += depthChange(code[index]);
    if (depth === 0) return index;
  }
  return code.length - 1;
}

/** +1 for an opening bracket, -1 for a closing one, 0 for anything else. */
export function depthChange(token: Token | undefined): number {
  if (token?.kind !== "punctuation") return 0;
  if (token.text in CLOSING) return 1;
  return token.text === ")" || token.text === "}" || token.text === "]" ? -1 : 0;
}
