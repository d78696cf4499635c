/**
 * Typist: types what a page says, on hosts of the lab, as its reader would, and keeps what it saw.
 *
 * Each line goes to a shell of its own on the host that the block names, in a copy of the repository's files that
 * users need. A line that fails ends the run with what it printed. Little is put in place of what stands on the page:
 * addresses (192.0.2.1 is the first host's here), and names of containers where Debian's older compose makes others.
 * No registry is in reach, so the image is built by an engine beside the hosts, by the same Dockerfile, and two small
 * images stand in for those of the application.
 *
 * Touches: hosts of the lab, files below the run's folder.
 */

import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import type { Explanation, MemberLine } from "../../src/admin/contract.ts";
import type { Block, Steps } from "../docs/pages.ts";
import { until } from "../support/wait.ts";

import { LAB_PATH } from "./command.ts";
import { exchange } from "./exchange.ts";
import { LAB_IMAGE, type LabHost } from "./host.ts";
import type { Lab } from "./lab.ts";
import { startLoad } from "./typist-load.ts";
import { TypistPage } from "./typist-page.ts";

const REPOSITORY = fileURLToPath(new URL("../..", import.meta.url));
const ADMIN_SOCKET = "/run/skein/skein.sock";
const LINE_MS = 120_000;
const CONDITION_MS = 30_000;

/** Makes `docker compose` of Debian's docker-compose, as a plugin of the client. */
const COMPOSE = `#!/bin/sh
if [ "$1" = docker-cli-plugin-metadata ]; then
  echo '{"SchemaVersion":"0.1.0","Vendor":"Debian","Version":"1.29","ShortDescription":"compose"}'
  exit
fi
shift
exec docker-compose "$@"
`;

/** One line, typed. */
export interface Typed {
  readonly host: string;
  readonly line: string;
  readonly output: string;
  readonly elapsedMs: number;
}

/** One block, typed on all its hosts. */
export interface Run {
  readonly block: Block;
  readonly typed: readonly Typed[];
  readonly elapsedMs: number;
  /** How many requests were answered meanwhile; null where none were made. All were answered. */
  readonly answered: number | null;
}

/** What an output should say and does not, in words; null when it says all. */
function missedBy(output: string, { says, differ }: Steps): string | null {
  const missing = says.find((text) => !output.includes(text));
  if (missing !== undefined) return `"${missing}" is not in: ${output}`;
  const [prefix = "", count = "0"] = (differ ?? "").split(" ");
  const seen = new Set(output.split("\n").filter((line) => line.startsWith(prefix)));
  return differ === null || seen.size >= Number(count)
    ? null
    : `expected ${differ} different ones in: ${output}`;
}

/** Who types on the hosts of one lab. */
export class Typist {
  readonly #lab: Lab;
  readonly #page = new TypistPage();
  readonly #home: string;
  readonly #folder: string;

  /** Prepares the hosts of a lab that have the image of the product. */
  static async at(lab: Lab, folder: string): Promise<Typist> {
    const typist = new Typist(lab, folder);
    typist.#prepareFiles();
    await Promise.all(lab.hosts.map(async (host) => await typist.#prepareHost(host)));
    return typist;
  }

  private constructor(lab: Lab, folder: string) {
    this.#lab = lab;
    this.#home = join(folder, "home");
    this.#folder = folder;
  }

  /** Its own on each host; homes are one, as if everything in them had been copied. */
  #repositoryOf({ name }: LabHost): string {
    // Compose takes the project's name from the folder's.
    return join(this.#folder, name, "skein");
  }

  #prepareFiles(): void {
    const plugins = join(this.#home, ".docker/cli-plugins");
    mkdirSync(plugins, { recursive: true });
    writeFileSync(join(plugins, "docker-compose"), COMPOSE, { mode: 0o755 });
    for (const host of this.#lab.hosts) {
      for (const path of ["compose.yaml", "config/skein-in-docker.sh", "docs/example"]) {
        cpSync(join(REPOSITORY, path), join(this.#repositoryOf(host), path), { recursive: true });
      }
    }
    // What docs/operating.md tells to install, for the pages that come before it.
    mkdirSync(join(this.#home, "bin"));
    cpSync(join(REPOSITORY, "config/skein-in-docker.sh"), join(this.#home, "bin/skein"));
    const images = join(this.#home, "images");
    mkdirSync(images);
    cpSync(fileURLToPath(new URL("whoami.mjs", import.meta.url)), join(images, "whoami.mjs"));
    const whoami = `FROM ${LAB_IMAGE}\nCOPY whoami.mjs /\nEXPOSE 80\nCMD ["node", "/whoami.mjs"]\n`;
    writeFileSync(join(images, "whoami.Dockerfile"), whoami);
    writeFileSync(join(images, "curl.Dockerfile"), `FROM ${LAB_IMAGE}\nENTRYPOINT ["curl"]\n`);
  }

  async #prepareHost(host: LabHost): Promise<void> {
    await host.mustExec(["hostname", host.name.replace("h", "host-")]);
    const images = join(this.#home, "images");
    for (const [name, file] of [
      ["traefik/whoami", "whoami"],
      ["curlimages/curl", "curl"],
    ] as const) {
      await host.docker(
        "build",
        "--quiet",
        "--tag",
        name,
        "--file",
        join(images, `${file}.Dockerfile`),
        images,
      );
    }
  }

  /** Types a block. @throws Error naming page and line when a line fails, or says something else than it has to */
  async type(block: Block): Promise<Run> {
    if (block.way.kind !== "run") throw new Error(`${block.page}:${block.line} is not to be typed`);
    const { steps } = block.way;
    const startMs = performance.now();
    for (const condition of steps.until) await this.#untilHolds(condition, steps.on[0] ?? "");
    const cut = steps.cut === null ? null : this.#host(steps.cut);
    const load = steps.load === null ? null : startLoad(this.#here(steps.load));
    const typed: Typed[] = [];
    try {
      await cut?.cutLink();
      for (const host of steps.on) {
        const there = await this.#typeOn(host, block, steps);
        const wrong = missedBy(there.map((one) => one.output).join(""), steps);
        if (wrong !== null) throw new Error(`${block.page}:${block.line}: on ${host} ${wrong}`);
        typed.push(...there);
      }
      for (const look of steps.page) await this.#look(look, steps.on[0] ?? "");
    } finally {
      await cut?.healLink();
      await load?.stop();
    }
    if (cut !== null) await this.#untilHolds(`${this.#lab.hosts.length} alive`, steps.on[0] ?? "");
    if (load?.answered === 0) throw new Error(`${block.page}:${block.line}: nobody was asked meanwhile`);
    if (load !== null && load.failures.length > 0) {
      throw new Error(
        `${block.page}:${block.line}: ${load.failures.length} requests failed: ${load.failures[0]}`,
      );
    }
    return { block, typed, elapsedMs: performance.now() - startMs, answered: load?.answered ?? null };
  }

  async #typeOn(name: string, block: Block, steps: Steps): Promise<readonly Typed[]> {
    const typed: Typed[] = [];
    const lines = block.text.replaceAll("\\\n", " ").split("\n");
    for (const line of lines.map((one) => one.trim()).filter((one) => one !== "")) {
      const startMs = performance.now();
      const output = await this.#typeLine(this.#host(name), line, steps);
      typed.push({ host: name, line, output, elapsedMs: performance.now() - startMs });
    }
    return typed;
  }

  async #typeLine(host: LabHost, line: string, steps: Steps): Promise<string> {
    // Built beside the hosts, which reach no archive: see shipped.ts. The hosts have it from there.
    if (/^docker build -t skein \.$/.test(line))
      return "(built beside the hosts, as no archive is in reach of them)\n";
    const { code, stdout, stderr } = await host.exec(["bash", "-c", this.#here(line)], {
      cwd: join(this.#repositoryOf(host), steps.in),
      env: {
        HOME: this.#home,
        PATH: [join(this.#home, "bin"), ...LAB_PATH].join(":"),
        DOCKER_CONFIG: join(this.#home, ".docker"),
        NO_COLOR: "1",
        COLUMNS: "110",
      },
      timeoutMs: LINE_MS,
    });
    if (code !== 0) throw new Error(`${host.name}$ ${line}\nends with status ${code}: ${stdout}${stderr}`);
    return `${stdout}${stderr}`;
  }

  /** What stands on a page, for this lab. */
  #here(text: string): string {
    return text
      .replaceAll("/usr/local/bin/", join(this.#home, "bin/"))
      .replace(/192\.0\.2\.(\d)\b/g, (_whole, nth: string) => this.#lab.host(Number(nth)).address)
      .replace(/\bexample-([\w-]+)-1\b/g, "example_$1_1");
  }

  /** `#/hosts shows host-3` */
  async #look(what: string, name: string): Promise<void> {
    const [, route = "", wanted = ""] = /^(#\S+) shows (.+)$/.exec(what) ?? [];
    if (wanted === "") throw new Error(`"${what}" is nothing to look at; expected "#/route shows text"`);
    await this.#page.shows(this.#host(name).path(ADMIN_SOCKET), route, new RegExp(wanted));
  }

  /** Ends what watches; the hosts stay as they are. */
  async close(): Promise<void> {
    await this.#page.close();
  }

  /** Leaves no container and no volume on any host. */
  async clear(): Promise<void> {
    const script = "docker ps -aq | xargs -r docker rm -f; docker volume ls -q | xargs -r docker volume rm";
    for (const host of this.#lab.hosts) await host.mustExec(["sh", "-c", script], { timeoutMs: LINE_MS });
  }

  /** What was seen, in the words of the page: for a log that is the same wherever it was made. */
  asOnPage(text: string): string {
    let said = text.replaceAll(this.#home, "/root");
    for (const [at, { address }] of this.#lab.hosts.entries())
      said = said.replaceAll(address, `192.0.2.${at + 1}`);
    return said;
  }

  #host(name: string): LabHost {
    return this.#lab.host(Number(name.replace("host-", "")));
  }

  /** `3 alive`: so many hosts are; `web ready 3`: so many replicas of a service take traffic, in the eyes of a host. */
  async #untilHolds(condition: string, name: string): Promise<void> {
    const host = this.#host(name);
    const [, alive, service, ready] = /^(?:(\d+) alive|(\w+) ready (\d+))$/.exec(condition) ?? [];
    if (alive === undefined && service === undefined) throw new Error(`"${condition}" is no condition`);
    const holds = async (): Promise<boolean> => {
      if (alive !== undefined) {
        const members = (await this.#ask(host, "/api/v1/members")) as readonly MemberLine[] | null;
        return members?.filter(({ state }) => state === "alive").length === Number(alive);
      }
      const explained = (await this.#ask(host, `/api/v1/explain/${service}`)) as Explanation | null;
      return explained?.replicas.filter(({ eligible }) => eligible).length === Number(ready);
    };
    await until(holds, { what: `${condition} on ${name}`, deadlineMs: CONDITION_MS, everyMs: 50 });
  }

  async #ask(host: LabHost, path: string): Promise<unknown> {
    try {
      const { status, text } = await exchange({ socketPath: host.path(ADMIN_SOCKET), path, method: "GET" });
      return status === 200 ? JSON.parse(text) : null;
    } catch {
      // It is not there yet, which is what is waited for.
      return null;
    }
  }
}
