/**
 * Secrets: which keys hold one, and how none of them gets into what people read.
 *
 * Each secret key has a sibling that names a file with its value: `mesh.token`, `mesh.tokenFile`. Whoever sets one of
 * the two, in whatever way, means it in place of both; and only the file can be named on a command line, whose words
 * every user of the host can list. What is printed or told of a secret is that there is one.
 *
 * Pure. secret-file.ts reads the files.
 */

/** Dotted keys whose value is a secret; each has a sibling with `File` behind its name. */
export const SECRET_KEYS: readonly string[] = ["mesh.token", "admin.token", "tracing.headers"];

/** What stands for a secret that is set. */
export const REDACTED = "(redacted)";

/** The key that says the same in the other way: `mesh.tokenFile` for `mesh.token` and back; null for any other key. */
export function siblingOf(key: string): string | null {
  if (SECRET_KEYS.includes(key)) return `${key}File`;
  const secret = key.replace(/File$/, "");
  return secret !== key && SECRET_KEYS.includes(secret) ? secret : null;
}

/** The dotted key of a value in the tree, when it is a secret or stands inside one. */
export function isSecret(path: readonly (string | number)[]): boolean {
  return SECRET_KEYS.includes(path.slice(0, 2).join("."));
}

/** Those of the secrets among these keys that are given in both ways. */
export function givenTwice(keys: ReadonlySet<string>): readonly string[] {
  return SECRET_KEYS.filter((key) => keys.has(key) && keys.has(siblingOf(key) ?? ""));
}

/** A copy of a configuration tree with its secrets covered; those that are not set stay empty. */
export function redacted(tree: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const copy = structuredClone(tree) as Record<string, unknown>;
  for (const key of SECRET_KEYS) {
    const [section = "", name = ""] = key.split(".");
    const values = copy[section];
    if (typeof values !== "object" || values === null) continue;
    const held = values as Record<string, unknown>;
    if (held[name] !== "") held[name] = REDACTED;
  }
  return copy;
}

/**
 * A text about a config file, such as a parser's, without the secrets that it quotes: join tokens wherever they stand,
 * and whole lines that speak of a token or of headers.
 */
export function withoutSecrets(text: string): string {
  const [first = "", ...quoted] = text.split("\n");
  const kept = quoted.some((line) => /token|headers/i.test(line)) ? [] : quoted;
  return [first, ...kept].join("\n").replace(/SKTKN-[A-Za-z0-9-]+/g, REDACTED);
}
