/**
 * Typist's page: somebody who watches the dashboard of a host meanwhile, in a real browser.
 *
 * The browser runs beside the hosts, so a port of this machine's loopback leads to the host's admin socket, as `ssh -L`
 * would.
 *
 * Touches: Debian's chromium, a loopback port, admin sockets of hosts.
 */

import { once } from "node:events";
import { existsSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";

import { chromium, type Browser, type Page } from "playwright-core";

import { until } from "../support/wait.ts";

const CHROMIUM = "/usr/bin/chromium";
const SHOWN_MS = 15_000;

/** A browser with one page for each host that was looked at. */
export class TypistPage {
  #browser: Promise<Browser> | null = null;
  readonly #pageBySocket = new Map<string, Promise<Page>>();
  readonly #closers: (() => Promise<void>)[] = [];

  /** Waits until the page at `route` (`#/hosts`) shows what fits. @throws Error with what it shows when it does not */
  async shows(socket: string, route: string, wanted: RegExp): Promise<void> {
    const page = await this.#pageOf(socket);
    await page.evaluate(`location.hash = ${JSON.stringify(route)}`);
    let shown = "";
    const fits = async (): Promise<boolean> => {
      shown = await page.innerText("body");
      return wanted.test(shown);
    };
    await until(fits, { what: `the dashboard shows ${wanted.source}`, deadlineMs: SHOWN_MS }).catch(
      (cause: unknown) => {
        throw new Error(`the dashboard does not show ${wanted.source} at ${route}: ${shown}`, { cause });
      },
    );
  }

  async close(): Promise<void> {
    for (const closer of this.#closers.splice(0).reverse()) await closer();
  }

  async #pageOf(socket: string): Promise<Page> {
    const known = this.#pageBySocket.get(socket);
    if (known !== undefined) return await known;
    const page = this.#open(socket);
    this.#pageBySocket.set(socket, page);
    return await page;
  }

  async #open(socket: string): Promise<Page> {
    if (!existsSync(CHROMIUM)) throw new Error(`there is no ${CHROMIUM} (apt install chromium)`);
    this.#browser ??= chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
    const browser = await this.#browser;
    if (this.#closers.length === 0) this.#closers.push(async () => await browser.close());
    const tunnel = createServer((reader) => {
      const door = connect(socket);
      // Either end may go when the daemon does; the page comes back by itself.
      for (const side of [reader, door])
        side.on("error", () => [reader, door].forEach((one) => one.destroy()));
      reader.pipe(door).pipe(reader);
    });
    tunnel.listen(0, "127.0.0.1");
    await once(tunnel, "listening");
    this.#closers.push(async () => {
      tunnel.close();
      await Promise.resolve();
    });
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${(tunnel.address() as AddressInfo).port}/`);
    return page;
  }
}
