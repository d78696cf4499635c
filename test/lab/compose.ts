/**
 * Compose: what `docker run` must be told to start a container as compose.yaml has it.
 *
 * The lab runs what users run, and so reads it where they do: no second list of capabilities and mounts that could
 * differ from the first. A key that is not known here is an error, not left out.
 *
 * Pure.
 */

import { parse } from "yaml";

type Service = Readonly<Record<string, unknown>>;
type Environment = Readonly<Record<string, string>>;

/** What each key becomes; one that is told otherwise, or nothing to a container, becomes no words. */
const WORDS_OF: Readonly<Record<string, (value: unknown) => readonly string[]>> = {
  image: () => [],
  build: () => [],
  // What stands behind the image, and who starts it says.
  command: () => [],
  container_name: (value) => [`--name=${textOf(value)}`],
  network_mode: (value) => [`--network=${textOf(value)}`],
  restart: (value) => [`--restart=${textOf(value)}`],
  stop_grace_period: (value) => [`--stop-timeout=${textOf(value).replace(/s$/, "")}`],
  read_only: (value) => (value === true ? ["--read-only"] : []),
  security_opt: (value) => each("--security-opt", value),
  cap_drop: (value) => each("--cap-drop", value),
  cap_add: (value) => each("--cap-add", value),
  devices: (value) => each("--device", value),
  volumes: (value) => each("--volume", value),
  environment: (value) => Object.entries(value as Environment).map(([key, text]) => `--env=${key}=${text}`),
};

/**
 * The words for `docker run`, before the image, of the only service in a compose file.
 *
 * @param environment  what stands for `${NAME:-default}` in it
 * @throws when it has a key that is not known here, or a variable without a default
 */
export function composeWords(text: string, environment: Environment): readonly string[] {
  // Variables after the parse, as compose does it: an empty one stays a text.
  const fill = (_: unknown, value: unknown): unknown =>
    typeof value === "string" ? filledIn(value, environment) : value;
  const { services } = parse(text, fill) as { services: Readonly<Record<string, Service>> };
  const [service, ...further] = Object.values(services);
  if (service === undefined || further.length > 0) throw new Error("expected one service in compose.yaml");
  return Object.entries(service).flatMap(([key, value]) => {
    const words = WORDS_OF[key];
    if (words === undefined) throw new Error(`compose.yaml has ${key}; say here what docker run is told`);
    return words(value);
  });
}

function filledIn(text: string, environment: Environment): string {
  return text.replaceAll(/\$\{(\w+)(?::-([^}]*))?\}/g, (_, name: string, fallback?: string) => {
    const value = environment[name] ?? fallback;
    if (value === undefined) throw new Error(`compose.yaml has ${name} without a default`);
    return value;
  });
}

function each(option: string, values: unknown): readonly string[] {
  return (values as readonly unknown[]).map((value) => `${option}=${textOf(value)}`);
}

function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  throw new Error(`compose.yaml has ${JSON.stringify(value)}; expected text`);
}
