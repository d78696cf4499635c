/**
 * Render: values as text for a terminal.
 *
 * Names come from labels, peers and files, so nothing of them reaches the terminal raw: control characters and those
 * that turn the writing direction are shown as escapes, in JSON too (where the escape means the same). Columns are
 * aligned by what a terminal shows, not by code units. On a terminal the widest column that may shrink gives way, so
 * that a row stays a row; a program that reads the table gets every character.
 *
 * Pure.
 */

/** How text is rendered: which columns, how wide, in what colours, seen from when. */
export interface Style {
  readonly wide: boolean;
  /** Characters a line may have; null for no bound. */
  readonly columnsMax: number | null;
  /** True to cut ids to their first characters. */
  readonly shortensIds: boolean;
  readonly colors: boolean;
  readonly nowMs: number;
}

/** What a word's colour tells: all is well, look here, broken, of little weight. */
export type Tone = "good" | "warn" | "bad" | "dim";

/** Text of a cell, with a tone or plain. */
export type Cell = string | { readonly text: string; readonly tone: Tone };

/** A column of a table of rows. */
export interface Column<Row> {
  readonly title: string;
  readonly cell: (row: Row, style: Style) => Cell;
  /** Shown with `-o wide` only. */
  readonly wideOnly?: true;
  /** May be cut to fit the terminal. */
  readonly shrinks?: true;
}

const GAP = "   ";
const ELLIPSIS = "…";
/** A column is never cut below this: less tells nothing. */
const SHRUNK_WIDTH_MIN = 12;
const SHORT_ID_CHARS = 12;
const SGR: Readonly<Record<Tone, string>> = { good: "32", warn: "33", bad: "31", dim: "2" };

/** A table with a title row; empty cells show as `-`. Ends in a line break. */
export function renderTable<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  style: Style,
): string {
  const shown = columns.filter((column) => style.wide || column.wideOnly !== true);
  const body = rows.map((row) => shown.map((column) => cellOf(column.cell(row, style))));
  const head = shown.map((column): ShownCell => ({ text: column.title, tone: null }));
  const widths = fitted(shown, columnWidths([head, ...body]), style.columnsMax);
  return [head, ...body].map((cells) => `${line(cells, widths, style)}\n`).join("");
}

/** Lines of a label and what belongs to it, one thing a line; labels without any are left out. */
export function renderPairs(pairs: readonly (readonly [string, readonly string[]])[], style: Style): string {
  const width = Math.max(0, ...pairs.map(([label]) => displayWidth(label)));
  return pairs
    .flatMap(([label, texts]) => texts.map((text, at) => [at === 0 ? label : "", printable(text)] as const))
    .map(([label, text]) => `${paint(padded(label, width), "dim", style)}${GAP}${text}\n`)
    .join("");
}

/** Text in the colour of its tone; as it is when the style has no colours. */
export function paint(text: string, tone: Tone, style: Style): string {
  return style.colors ? `\u001B[${SGR[tone]}m${text}\u001B[0m` : text;
}

/** JSON, indented by two, without a raw control character: those are escaped as JSON allows. */
export function renderJson(value: unknown): string {
  // In valid JSON text these can only stand inside strings; the line breaks between are JSON.stringify's own.
  return JSON.stringify(value, null, 2).replaceAll(UNPRINTABLE_IN_LINES, unicodeEscape);
}

/** The same on one line, for streams of values. */
export function renderJsonLine(value: unknown): string {
  return JSON.stringify(value).replaceAll(UNPRINTABLE_IN_LINES, unicodeEscape);
}

/** Text as one line that moves no cursor: control and direction characters become `\u....`. */
export function printable(text: string): string {
  return text.replaceAll(UNPRINTABLE, unicodeEscape);
}

/** As printable, but line breaks stay. */
export function printableLines(text: string): string {
  return text.replaceAll(UNPRINTABLE_IN_LINES, unicodeEscape);
}

/** An id as the style wants it. */
export function idText(id: string, style: Style): string {
  return style.shortensIds ? id.slice(0, SHORT_ID_CHARS) : id;
}

/** How long ago, in the largest unit that fits: `3s ago`; `now` below a second, or when clocks differ. */
export function agoText(thenMs: number, style: Style): string {
  const elapsedMs = style.nowMs - thenMs;
  return elapsedMs < 1000 ? "now" : `${durationText(elapsedMs)} ago`;
}

/** A duration in its largest unit: `850ms`, `42s`, `5m`, `3h`, `12d`. */
export function durationText(durationMs: number): string {
  const unit = UNITS.find(([, unitMs]) => durationMs >= unitMs);
  if (unit === undefined) return `${Math.max(0, Math.round(durationMs))}ms`;
  return `${Math.floor(durationMs / unit[1])}${unit[0]}`;
}

/** Cells of a terminal that the text takes: 2 for wide characters (Unicode TR 11), 0 for combining ones. */
export function displayWidth(text: string): number {
  if (ASCII.test(text)) return text.length;
  let width = 0;
  for (const { segment } of new Intl.Segmenter("en").segment(text)) width += graphemeWidth(segment);
  return width;
}

/** The text cut to `width` cells, with an ellipsis as the last of them where something was cut. */
export function truncated(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  let kept = "";
  let used = 0;
  for (const { segment } of new Intl.Segmenter("en").segment(text)) {
    used += graphemeWidth(segment);
    if (used > width - 1) break;
    kept += segment;
  }
  return kept + ELLIPSIS;
}

const UNITS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1000],
] as const;

const ASCII = /^[\x20-\x7E]*$/;
/** C0 (not the line feed), DEL, C1, line separators, marks and overrides of direction, invisible joiners. */
const UNPRINTABLE_IN_LINES =
  // oxlint-disable-next-line no-control-regex -- matching them is the point
  /[\u0000-\u0009\u000B-\u001F\u007F-\u009F\u061C\u200B-\u200F\u2028-\u202E\u2060-\u2069\uFEFF]/g;
const UNPRINTABLE =
  // oxlint-disable-next-line no-control-regex -- matching them is the point
  /[\u0000-\u001F\u007F-\u009F\u061C\u200B-\u200F\u2028-\u202E\u2060-\u2069\uFEFF]/g;
const WIDE_SCRIPT = /^(?:\p{sc=Han}|\p{sc=Hiragana}|\p{sc=Katakana}|\p{sc=Hangul}|\p{Emoji_Presentation})/u;
const WIDE_FORM = /^[\u3000-\u303E\uFF01-\uFF60\uFFE0-\uFFE6]/u;
const WIDTHLESS = /^[\p{Mn}\p{Me}\p{Cf}]+$/u;

interface ShownCell {
  readonly text: string;
  readonly tone: Tone | null;
}

function unicodeEscape(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

function graphemeWidth(grapheme: string): number {
  if (WIDTHLESS.test(grapheme)) return 0;
  return WIDE_SCRIPT.test(grapheme) || WIDE_FORM.test(grapheme) ? 2 : 1;
}

function cellOf(cell: Cell): ShownCell {
  const { text, tone } = typeof cell === "string" ? { text: cell, tone: null } : cell;
  return { text: text === "" ? "-" : printable(text), tone };
}

function columnWidths(rows: readonly (readonly ShownCell[])[]): readonly number[] {
  const widths: number[] = [];
  for (const cells of rows) {
    for (const [at, { text }] of cells.entries()) {
      widths[at] = Math.max(widths[at] ?? 0, displayWidth(text));
    }
  }
  return widths;
}

/** Takes what is too much from the widest shrinking column, again and again; a line may still be too long. */
function fitted<Row>(
  columns: readonly Column<Row>[],
  widths: readonly number[],
  columnsMax: number | null,
): readonly number[] {
  if (columnsMax === null) return widths;
  const fitting = [...widths];
  const gaps = GAP.length * (widths.length - 1);
  for (;;) {
    const excess = fitting.reduce((sum, width) => sum + width, gaps) - columnsMax;
    const candidates = fitting.map((width, at) => (columns[at]?.shrinks === true ? width : 0));
    const widest = Math.max(0, ...candidates);
    if (excess <= 0 || widest <= SHRUNK_WIDTH_MIN) return fitting;
    const second = Math.max(SHRUNK_WIDTH_MIN, ...candidates.filter((width) => width < widest));
    fitting[candidates.indexOf(widest)] = Math.max(second - 1, widest - excess, SHRUNK_WIDTH_MIN);
  }
}

function line(cells: readonly ShownCell[], widths: readonly number[], style: Style): string {
  let plain = "";
  let painted = "";
  let column = 0;
  cells.forEach(({ text, tone }, at) => {
    const width = widths[at] ?? 0;
    const cut = truncated(text, width);
    plain += cut;
    painted += tone === null ? cut : paint(cut, tone, style);
    // Not padded at the end of the line: trailing blanks would wrap on a narrow terminal.
    if (at === cells.length - 1) return;
    column += width + GAP.length;
    // By the line so far, not by the cell: a mark at a cell's edge joins the blank beside it into one character.
    while (displayWidth(plain) < column) {
      plain += " ";
      painted += " ";
    }
  });
  return painted;
}

function padded(text: string, width: number): string {
  return text + " ".repeat(Math.max(0, width - displayWidth(text)));
}
