/**
 * Fields: the checks that all parts of a record share.
 *
 * Records come from peers as JSON of any form; nothing of it is taken without one of these.
 *
 * Pure.
 */

import { isLabel } from "./ids.ts";
import { isPort } from "./service.ts";

/** The fields of an object of JSON. */
export type Fields = Readonly<Record<string, unknown>>;

/** True for an object that is no list. */
export function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Reads every element of a list; null when it is none, is too long, or an element does not fit. */
export function listFrom<T>(
  value: unknown,
  countMax: number,
  from: (element: unknown) => T | null,
): readonly T[] | null {
  if (!Array.isArray(value) || value.length > countMax) return null;
  const list = value.map(from);
  return list.every((element): element is Awaited<T> & T => element !== null) ? list : null;
}

/** True for text of this form. */
export function isText(value: unknown, pattern: RegExp): value is string {
  return typeof value === "string" && pattern.test(value);
}

/** True for a DNS label. */
export function isLabelText(value: unknown): value is string {
  return typeof value === "string" && isLabel(value);
}

/** True for free text of a moderate length. */
export function isShort(value: unknown): value is string {
  return typeof value === "string" && value.length <= 512;
}

/** True for a whole number from 0 on. */
export function isWhole(value: unknown, greatest: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= greatest;
}

/** True for a port of TCP or UDP. */
export function isPortValue(value: unknown): value is number {
  return typeof value === "number" && isPort(value);
}
