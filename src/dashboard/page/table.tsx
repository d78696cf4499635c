/**
 * Table: rows of things of one kind, by columns that say what stands in their cells.
 *
 * Each list has its columns in one place, name and content side by side. A table with a label lies in a box that
 * scrolls by itself where the screen is narrower than it; without one it is small enough for any.
 *
 * Touches: the document, through preact.
 */

import type { ComponentChildren, Key } from "preact";

import { TableBox } from "./parts.tsx";

/** One column. */
export interface Column<Row> {
  readonly name: string;
  readonly cell: (row: Row) => ComponentChildren;
  /** Of its cells; `right` holds for its head too. */
  readonly class?: string;
  /** It names what the row is about. */
  readonly isName?: true;
  readonly title?: (row: Row) => string;
}

interface TableProps<Row> {
  readonly label?: string;
  readonly class: "plain" | "wide" | "wide replicas" | "plain mono";
  readonly testId?: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly keyOf: (row: Row, at: number) => Key;
  readonly rowClass?: (row: Row) => string;
}

/** A table. */
export function Table<Row>(props: TableProps<Row>) {
  const { label, class: of, testId, columns, rows, keyOf, rowClass } = props;
  const table = (
    <table class={of} data-testid={testId}>
      <thead>
        <tr>
          {columns.map((column) => (
            <th scope="col" key={column.name} class={isRight(column) ? "right" : undefined}>
              {column.name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row, at) => (
          <tr key={keyOf(row, at)} class={rowClass?.(row)}>
            {columns.map((column) => (
              <Cell key={column.name} column={column} row={row} />
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
  return label === undefined ? table : <TableBox label={label}>{table}</TableBox>;
}

function Cell<Row>({ column, row }: { readonly column: Column<Row>; readonly row: Row }) {
  const shown = { class: column.class, title: column.title?.(row) };
  if (column.isName === true) {
    return (
      <th scope="row" {...shown}>
        {column.cell(row)}
      </th>
    );
  }
  return <td {...shown}>{column.cell(row)}</td>;
}

function isRight<Row>({ class: of }: Column<Row>): boolean {
  return of?.startsWith("right") ?? false;
}
