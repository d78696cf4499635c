/**
 * Secret file: a secret out of a file that somebody else keeps.
 *
 * As Docker and systemd hand secrets over: the file's first line, without what surrounds it. Nothing of the content is
 * ever told, not even when it is of no use.
 *
 * Touches: the files that are named, standard input.
 */

import { createReadStream } from "node:fs";

import { Failure, fileFaultOf, systemCodeOf, type FailureCode } from "../base/failure.ts";
import { LIMITS } from "../model/limits.ts";

const CODE_BY_SYSTEM_CODE: Readonly<Record<string, FailureCode>> = {
  ENOENT: "not-found",
  EACCES: "not-allowed",
  EPERM: "not-allowed",
};

/** How standard input is named. */
const STANDARD_INPUT = "-";

/**
 * The secret that a file holds; "-" for standard input, which is read to its end.
 *
 * @param what  what it is, for the failure: `token file`
 * @throws Failure `not-found`, `not-allowed` or `invalid`, which name the file
 */
export async function readSecretFile(path: string, what: string): Promise<string> {
  const isInput = path === STANDARD_INPUT;
  const thing = isInput ? `${what} on standard input` : `${what} ${path}`;
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  try {
    for await (const chunk of isInput ? process.stdin : createReadStream(path)) {
      const bytes = Buffer.from(chunk as Uint8Array);
      sizeBytes += bytes.length;
      if (sizeBytes > LIMITS.secretBytes) {
        throw new Failure("invalid", `${thing} has more than ${LIMITS.secretBytes} bytes; expected a secret`);
      }
      chunks.push(bytes);
    }
  } catch (thrown) {
    if (thrown instanceof Failure) throw thrown;
    const code = CODE_BY_SYSTEM_CODE[systemCodeOf(thrown) ?? ""] ?? "invalid";
    throw new Failure(code, `${thing} cannot be read: ${fileFaultOf(thrown)}`, { cause: thrown });
  }
  const secret = Buffer.concat(chunks).toString("utf8").split("\n", 1)[0]?.trim() ?? "";
  if (secret !== "") return secret;
  throw new Failure("invalid", `${thing} is empty; expected the secret in its first line`);
}

/** The secret of a section: what it says itself, or what its file holds; null when it has neither. */
export async function secretOf(
  { token, tokenFile }: { readonly token: string; readonly tokenFile: string },
  what: string,
): Promise<string | null> {
  if (token !== "") return token;
  return tokenFile === "" ? null : await readSecretFile(tokenFile, what);
}
