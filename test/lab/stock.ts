/**
 * Stock: the lab's image as an engine keeps it on disk, so that the next engine begins with it.
 *
 * An import unpacks and hashes a quarter of a gigabyte, on each host of each lab: most of the time that a lab takes to
 * open. So the first lab keeps what its engine made of the image, and the engines of later ones find it in their
 * folders when they start. The files of layers are links to the same ones for all: engines only read layers, and what a
 * container writes goes to a folder of its own. What an engine itself writes to is copied.
 *
 * A stock is of one image and one release of the engine; whoever finds none imports as ever.
 *
 * Touches: the cache folder, the folders of engines.
 */

import { existsSync } from "node:fs";
import { basename, join } from "node:path";

import { mustRun } from "./command.ts";

/** An engine with the driver overlay2 has all of an image in these, below its folder. */
const CATALOG = "image";
const LAYERS = "overlay2";

const COPY_MS = 60_000;

// $1 from, $2 to. Links cannot cross file systems.
const COPY = `
mkdir -p "$2"
cp --archive "$1/${CATALOG}" "$2/"
cp --archive --link "$1/${LAYERS}" "$2/" || {
  rm -rf "$2/${LAYERS}"
  cp --archive "$1/${LAYERS}" "$2/"
}`;

// $3 the stock's name, in the cache folder $4. Another lab may have been faster. Stocks of others go as their tarballs.
const KEEP = `
(${COPY}
)
mv --no-target-directory "$2" "$4/$3" || rm -rf "$2"
find "$4" -maxdepth 1 -name 'engine-base-*' ! -name "$3" -mtime +1 -exec rm -rf {} +
find "$4" -maxdepth 1 -name 'engine-skein-*' ! -name "$3" -mmin +20 -exec rm -rf {} +`;

/** Where the stock is for an image's tarball and the engine of this machine, whether or not it is there yet. */
export async function stockOf(tarball: string): Promise<string> {
  const version = await mustRun(["dockerd", "--version"]);
  const release = version.replaceAll(/[^\w.]+/g, "-");
  return join(tarball, "..", `engine-${basename(tarball, ".tar")}-${release}`);
}

/** Puts a stock into the folder of an engine that never ran; nothing happens where there is no stock. */
export async function takeStock(stock: string, engineFolder: string): Promise<void> {
  if (!existsSync(stock)) return;
  await mustRun(["sh", "-euc", COPY, "sh", stock, engineFolder], { timeoutMs: COPY_MS });
}

/** Keeps as a stock what an engine has that holds the image and no container; nothing where its driver is another. */
export async function keepStock(stock: string, engineFolder: string): Promise<void> {
  if (existsSync(stock) || !existsSync(join(engineFolder, CATALOG, LAYERS))) return;
  const building = `${stock}.${process.pid}`;
  const words = [engineFolder, building, basename(stock), join(stock, "..")];
  await mustRun(["sh", "-euc", KEEP, "sh", ...words], { timeoutMs: COPY_MS });
}
