/**
 * Schema: ties a schema of the admin API to the type of the contract that it tells of.
 *
 * The contract is written as types, since its readers in src need no more; an OpenAPI document and the tests need
 * something that exists at run time. Both are kept equal by the compiler: a field that is added, renamed or made
 * optional on one side alone does not compile. The daemon never loads any of this.
 *
 * Pure.
 */

import * as v from "valibot";

/** A type without `readonly`, which says nothing of JSON. */
type Plain<T> = T extends readonly (infer E)[]
  ? Plain<E>[]
  : T extends object
    ? { -readonly [K in keyof T]: Plain<T[K]> }
    : T;

/** True for the same type: the compiler takes two such functions for one another only when both are identical. */
type IsSame<A, B> = (<T>() => T extends A ? T : 0) extends <T>() => T extends B ? T : 0 ? true : false;

/** True when what the schema takes is just the type. */
export type Tells<S extends v.GenericSchema, T> = IsSame<Plain<v.InferOutput<S>>, Plain<T>>;

type Fit<S extends v.GenericSchema, T> =
  Tells<S, T> extends true
    ? unknown
    : { readonly thisSchemaIsOf: Plain<v.InferOutput<S>>; readonly expected: Plain<T> };

/** Gives a schema back as it is; compiles only when what it takes is just the type `T`. */
export function schemaOf<T>(): <S extends v.GenericSchema>(schema: S & Fit<S, T>) => S {
  return (schema) => schema;
}

/** A whole number that counts something. */
export const COUNT = v.pipe(v.number(), v.integer(), v.minValue(0));
/** TCP or UDP port. */
export const PORT = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535));
/** Unix milliseconds, or a length of time; may have a fraction. */
export const MS = v.pipe(v.number(), v.minValue(0));
export const TEXT = v.string();
export const TEXTS = v.array(TEXT);
export const FLAG = v.boolean();
export const TEXT_OR_NULL = v.nullable(TEXT);
export const MS_OR_NULL = v.nullable(MS);
