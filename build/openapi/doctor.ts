/**
 * Doctor: schemas of src/admin/contract-doctor.ts.
 *
 * Names are those of the types.
 *
 * Pure.
 */

import * as v from "valibot";

import * as contract from "../../src/admin/contract-doctor.ts";

import { schemaOf, TEXT, TEXT_OR_NULL } from "./schema.ts";

export const DoctorCheck = schemaOf<contract.DoctorCheck>()(
  v.strictObject({
    area: v.picklist(contract.DOCTOR_AREAS),
    subject: TEXT,
    state: v.picklist(["ok", "warn", "fail"]),
    text: TEXT,
    remedy: TEXT_OR_NULL,
    id: TEXT,
    why: TEXT,
  }),
);

export const DoctorReport = schemaOf<contract.DoctorReport>()(
  v.strictObject({ checks: v.array(DoctorCheck) }),
);
