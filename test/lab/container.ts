/**
 * Container: our daemon from its image, run as compose.yaml has it and stopped as Docker does it.
 *
 * The container stays when the daemon stops, and the next start is `docker start`: its settings are the same. With
 * other settings it is made anew, as compose does. The state is in a volume, which is the same for all of them.
 *
 * Touches: the engine of the host, the logs it keeps.
 */

import { existsSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";

import { until } from "../support/wait.ts";

import type { Output } from "./command.ts";
import { composeWords } from "./compose.ts";
import { hideProgram, ProcessRunner, type Daemon, type Runner, type StartOptions } from "./daemon.ts";
import { exchange } from "./exchange.ts";
import type { LabHost } from "./host.ts";
import type { Exit } from "./program.ts";
import { NEXT_IMAGE, SKEIN_IMAGE } from "./shipped.ts";

const COMPOSE = new URL("../../compose.yaml", import.meta.url);

/** The name in compose.yaml, and that of the one that took over from it. */
const NAME = "skein";
const BESIDE = "skein-2";

const ENDED_MS = 20_000;

/** Of a container, as the engine tells it. */
interface State {
  readonly Running: boolean;
  readonly ExitCode: number;
  /** As the host numbers it. */
  readonly Pid: number;
}

/** Daemons in containers of one host. */
export class ContainerRunner implements Runner {
  readonly #host: LabHost;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #words: readonly string[];
  #name = NAME;
  #made = "";

  /**
   * @param environment  what compose.yaml's variables stand for
   * @param words  more words for `docker run`
   */
  constructor(host: LabHost, environment: Readonly<Record<string, string>>, words: readonly string[] = []) {
    this.#host = host;
    this.#environment = environment;
    this.#words = words;
  }

  async start({ words = [], settings = {}, without = [] }: StartOptions): Promise<Daemon> {
    const how = JSON.stringify({ words, settings, without });
    if (this.#made === how) {
      await this.#host.docker("start", this.#name);
      return this.#daemon(await this.#idOf(this.#name));
    }
    const further = Object.entries(settings).map(([key, value]) => `--env=${key}=${value}`);
    const allowed = this.#composed().filter((word) => !without.some((name) => word === `--cap-add=${name}`));
    const run = [...allowed, ...further, SKEIN_IMAGE, "run", ...words];
    if (this.#made !== "") await this.#host.tryDocker("rm", "--force", NAME, BESIDE);
    this.#name = NAME;
    this.#made = how;
    return this.#daemon(await this.#host.docker("run", "--detach", ...run));
  }

  async startBeside(): Promise<Daemon> {
    // As the documentation has it: Docker must not start the old one again.
    await this.#host.docker("update", "--restart=no", this.#name);
    const words = this.#composed().map((word) => (word.startsWith("--name=") ? `--name=${BESIDE}` : word));
    const run = [...words, NEXT_IMAGE, "run", "--replace"];
    const id = await this.#host.docker("run", "--detach", ...run);
    this.#name = BESIDE;
    return this.#daemon(id);
  }

  async cli(words: readonly string[]): Promise<Output> {
    // Without its engine nobody gets into a container; the socket is the host's, and any `skein` on the host finds it.
    if (!existsSync(this.#host.dockerSocket)) return await new ProcessRunner(this.#host, {}).cli(words);
    if (await this.#runs()) {
      return await this.#host.tryDocker("exec", "--env=NO_COLOR=1", this.#name, "skein", ...words);
    }
    const once = this.#composed().filter((word) => !/^--(?:name|restart)=/.test(word));
    return await this.#host.tryDocker("run", "--rm", "--env=NO_COLOR=1", ...once, SKEIN_IMAGE, ...words);
  }

  async leave(): Promise<Output> {
    // As the documentation has it: else Docker starts it again, as a new node.
    await this.#host.docker("update", "--restart=no", this.#name);
    return await this.cli(["leave", "--force"]);
  }

  async hide(program: string): Promise<() => Promise<void>> {
    const { Pid } = await stateOf(this.#host, this.#name);
    return await hideProgram(this.#host, ["nsenter", `--target=${Pid}`, "--mount", "--pid"], program);
  }

  #composed(): readonly string[] {
    return [...composeWords(readFileSync(COMPOSE, "utf8"), this.#environment), ...this.#words];
  }

  async #runs(): Promise<boolean> {
    return this.#made !== "" && (await stateOf(this.#host, this.#name)).Running;
  }

  async #idOf(name: string): Promise<string> {
    return await this.#host.docker("inspect", "--format={{.Id}}", name);
  }

  #daemon(id: string): Daemon {
    const host = this.#host;
    const logPath = host.path(`/var/lib/docker/containers/${id}/${id}-json.log`);
    const linkPath = join(host.folder, "logs", `skein-${id.slice(0, 6)}.log`);
    rmSync(linkPath, { force: true });
    symlinkSync(logPath, linkPath);
    const exit = async (): Promise<Exit | null> => {
      const { Running, ExitCode } = await stateOf(host, id);
      return Running ? null : { code: ExitCode, signal: null };
    };
    const ended = async (): Promise<Exit> =>
      await until(exit, { what: `the daemon of ${host.name} has ended`, deadlineMs: ENDED_MS, everyMs: 25 });
    return {
      exit,
      ended,
      log: () => textOf(readFileSync(logPath, "utf8")),
      freeze: async () => await host.pause(id),
      thaw: async () => void (await host.docker("unpause", id)),
      async stop(signal) {
        await host.docker(signal === "SIGKILL" ? "kill" : "stop", id);
        return await ended();
      },
    };
  }
}

/** What the engine says of a container, without the 50 ms that its client takes. */
async function stateOf(host: LabHost, container: string): Promise<State> {
  const path = `/containers/${container}/json`;
  const { status, text } = await exchange({ socketPath: host.dockerSocket, path, method: "GET" });
  if (status !== 200) throw new Error(`${host.name}: container ${container}: ${text}`);
  return (JSON.parse(text) as { State: State }).State;
}

/** What was written, of the lines in which the engine keeps it; the last may be half written. */
function textOf(json: string): string {
  const whole = json.slice(0, json.lastIndexOf("\n") + 1).split("\n");
  return whole
    .filter((line) => line !== "")
    .map((line) => (JSON.parse(line) as { log: string }).log)
    .join("");
}
