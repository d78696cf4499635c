/**
 * Fields: reads single fields of what Docker replies.
 *
 * An engine may be of any age or kind, so nothing is cast: a field that is missing or odd gives the value that means
 * "unknown", and a path of them can be followed without a check at each step.
 *
 * Pure.
 */

import { isIpv4, isIpv6 } from "../../base/ip.ts";

import type { Labels } from "./label-reader.ts";

/** The fields of an object of JSON. */
export type Fields = Readonly<Record<string, unknown>>;

/** The value's fields; none when it is not an object, so that a path of them can be followed without checks. */
export function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

/** The elements of a list; none when it is no list. */
export function listFrom(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** A text; empty when it is none. */
export function textFrom(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** A finite number; 0 when it is none. */
export function numberFrom(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
}

/** The id of a container or network, 12 to 64 hexadecimal characters; null when it is none. */
export function idFrom(value: unknown): string | null {
  const id = textFrom(value);
  return /^[0-9a-f]{12,64}$/.test(id) ? id : null;
}

/** Labels, as far as their values are texts. */
export function labelsFrom(value: unknown): Labels {
  return new Map(
    Object.entries(fieldsOf(value)).filter((pair): pair is [string, string] => typeof pair[1] === "string"),
  );
}

/** True for an IPv4 or IPv6 address. */
export function isAddress(text: string): boolean {
  return isIpv4(text) || isIpv6(text);
}
