/**
 * Trust: schemas of src/admin/contract-trust.ts.
 *
 * Names are those of the types.
 *
 * Pure.
 */

import * as v from "valibot";

import type * as contract from "../../src/admin/contract-trust.ts";

import { COUNT, FLAG, MS, schemaOf, TEXT } from "./schema.ts";

export const ROLE = v.picklist(["manager", "worker"]);

export const CertificateLine = schemaOf<contract.CertificateLine>()(
  v.strictObject({ endsAtMs: MS, issuerGeneration: v.nullable(COUNT) }),
);

export const JoinRequest = schemaOf<contract.JoinRequest>()(v.strictObject({ host: TEXT, token: TEXT }));

export const JoinResult = schemaOf<contract.JoinResult>()(
  v.strictObject({ node: TEXT, clusterId: TEXT, role: ROLE, joined: FLAG }),
);

export const TokenReport = schemaOf<contract.TokenReport>()(
  v.strictObject({ token: TEXT, role: ROLE, generation: COUNT, host: TEXT }),
);

export const RemoveResult = schemaOf<contract.RemoveResult>()(
  v.strictObject({ node: TEXT, id: TEXT, role: v.nullable(ROLE) }),
);

export const BackupRequest = schemaOf<contract.BackupRequest>()(v.strictObject({ passphrase: TEXT }));

export const BackupReport = schemaOf<contract.BackupReport>()(
  v.strictObject({ backup: TEXT, clusterId: TEXT }),
);

export const RestoreRequest = schemaOf<contract.RestoreRequest>()(
  v.strictObject({ backup: TEXT, passphrase: TEXT }),
);

export const AuthorityReport = schemaOf<contract.AuthorityReport>()(
  v.strictObject({ node: TEXT, clusterId: TEXT, generation: COUNT }),
);
