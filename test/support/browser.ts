// Browser: Debian's Chromium with one page in it, and what it complained of while it showed that.

import { existsSync } from "node:fs";

import { chromium, type BrowserContextOptions, type Page } from "playwright-core";

import type { Ending } from "./daemons.ts";

const CHROMIUM = "/usr/bin/chromium";

/** Why tests that need a browser cannot run here, for node:test's `skip`; or false. */
export const browserSkip = existsSync(CHROMIUM)
  ? (false as const)
  : `there is no ${CHROMIUM} (Debian package chromium)`;

/** A page of a browser. */
export interface OpenPage {
  readonly page: Page;
  /** Errors of the page, and what its policy refused, since it was last asked for. */
  readonly complaints: () => readonly string[];
}

/** A browser. */
export interface Browser {
  /** A page of its own, with nothing kept from others. Animations are off. */
  readonly open: (options?: BrowserContextOptions) => Promise<OpenPage>;
}

/** Starts one; it ends with the test. */
export async function openBrowser(t: Ending): Promise<Browser> {
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    // It runs as root in most places where tests do, and shows nothing but what the test serves.
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
  });
  t.after(() => browser.close());
  const open = async (options: BrowserContextOptions = {}): Promise<OpenPage> => {
    const context = await browser.newContext({ reducedMotion: "reduce", ...options });
    const page = await context.newPage();
    const told: string[] = [];
    page.on("pageerror", (error) => told.push(error.message));
    page.on("console", (message) => {
      if (message.type() === "error") told.push(message.text());
    });
    return { page, complaints: () => told.splice(0) };
  };
  return { open };
}
