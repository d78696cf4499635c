/**
 * Listen: opens the two doors of the admin API.
 *
 * The socket's file mode is its access control (0660: owner and group), so the file must never stand there with
 * another mode: it is bound under a second name, given its mode, and then renamed to its place. The rename also
 * replaces the file that a daemon left behind when it was killed. A file behind which something answers belongs to a
 * living daemon, and one that is no socket to somebody else: both are left alone.
 *
 * Touches: the socket's file and folder, a TCP port.
 */

import { chmod, lstat, rename, rm, unlink } from "node:fs/promises";
import { connect, type Server } from "node:net";
import { dirname } from "node:path";

import { Failure, systemCodeOf, textOf, type FailureCode } from "../base/failure.ts";
import { isLoopback, renderHostPort, type HostPort } from "../base/ip.ts";
import { makeFolder } from "../runtime/files.ts";

const SOCKET_MODE = 0o660;
/** Suffix of the name under which the socket is bound. */
const NEW = ".new";
/** `sun_path` of unix(7) holds 108 bytes with its final zero. */
const PATH_BYTES_MAX = 107 - NEW.length;
/** A living daemon's kernel accepts at once; a full backlog is refused at once too. */
const PROBE_DEADLINE_MS = 1000;

const CODE_BY_SYSTEM_CODE: Readonly<Record<string, FailureCode>> = {
  EACCES: "not-allowed",
  EPERM: "not-allowed",
  EROFS: "not-allowed",
  EADDRINUSE: "busy",
};

/**
 * Listens on a unix socket, whose folder is made if needed.
 *
 * @returns a function that removes the file again, unless another daemon has taken its place by then
 * @throws Failure `busy` when a living daemon has it, `not-allowed` without the right to make it, else `invalid`
 */
export async function openSocket(server: Server, path: string): Promise<() => Promise<void>> {
  const sizeBytes = Buffer.byteLength(path);
  if (sizeBytes > PATH_BYTES_MAX) {
    throw new Failure(
      "invalid",
      `admin socket "${path}" has ${sizeBytes} bytes; expected ${PATH_BYTES_MAX} at most`,
    );
  }
  const boundPath = `${path}${NEW}`;
  try {
    await makeFolder(dirname(path), 0o777);
    await checkFree(path);
    await rm(boundPath, { force: true });
    await listening(server, () => server.listen(boundPath));
    await chmod(boundPath, SOCKET_MODE);
    const { ino } = await lstat(boundPath);
    await rename(boundPath, path);
    return () => removeOwn(path, ino);
  } catch (thrown) {
    throw failureOf(thrown, `admin socket "${path}"`);
  }
}

/**
 * Listens on a TCP port of a loopback address (0: any free one) and returns where.
 *
 * @throws Failure `invalid` for another address: TCP callers prove nothing about themselves
 */
export async function openPort(server: Server, at: HostPort): Promise<HostPort> {
  if (at.host !== "localhost" && !isLoopback(at.host)) {
    throw new Failure("invalid", `admin listener is "${renderHostPort(at)}"; expected a loopback address`);
  }
  try {
    await listening(server, () => server.listen(at.port, at.host));
  } catch (thrown) {
    throw failureOf(thrown, `admin listener "${renderHostPort(at)}"`);
  }
  const bound = server.address();
  return typeof bound === "object" && bound !== null ? { host: bound.address, port: bound.port } : at;
}

function listening(server: Server, listen: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.once("listening", () => {
      server.off("error", reject);
      resolve();
    });
    listen();
  });
}

/** Returns when nothing is at `path`, or the socket of a dead daemon; throws Failure otherwise. */
async function checkFree(path: string): Promise<void> {
  const found = await lstat(path).catch((thrown: unknown) => {
    if (systemCodeOf(thrown) === "ENOENT") return null;
    throw thrown;
  });
  if (found === null) return;
  if (!found.isSocket()) {
    throw new Failure(
      "invalid",
      `admin socket "${path}" is another kind of file; expected a socket or nothing`,
    );
  }
  if (await answers(path)) {
    throw new Failure("busy", `admin socket "${path}" belongs to a running daemon; expected it to be free`);
  }
}

/** True unless the kernel says that nobody listens: a socket that is too busy, or not for us, is not ours to take. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    const settle = (answered: boolean): void => {
      probe.destroy();
      resolve(answered);
    };
    probe.setTimeout(PROBE_DEADLINE_MS, () => settle(true));
    probe.once("connect", () => settle(true));
    probe.once("error", (error) => settle(!["ECONNREFUSED", "ENOENT"].includes(systemCodeOf(error) ?? "")));
  });
}

async function removeOwn(path: string, ino: number): Promise<void> {
  const found = await lstat(path).catch(() => null);
  // A failed unlink leaves a dead socket, which the next daemon replaces.
  if (found?.ino === ino) await unlink(path).catch(() => null);
}

function failureOf(thrown: unknown, thing: string): Failure {
  if (thrown instanceof Failure) return thrown;
  const code = CODE_BY_SYSTEM_CODE[systemCodeOf(thrown) ?? ""] ?? "invalid";
  return new Failure(code, `${thing} cannot be opened: ${textOf(thrown)}`, { cause: thrown });
}
