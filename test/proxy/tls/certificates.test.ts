// Certificates: what is served follows the folder, and what is half written takes nothing away.

import assert from "node:assert/strict";
import { chmod, mkdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { LIMITS } from "../../../src/model/limits.ts";
import {
  openCertificates,
  type Certificates,
  type CertificatesOptions,
} from "../../../src/proxy/tls/certificates.ts";
import { makePair, type TestPair } from "../../support/certificate.ts";
import { openFolder } from "../../support/folder.ts";
import { until } from "../../support/wait.ts";
import { SILENT } from "../fixtures.ts";

/** Never within a test: what is found without being asked for was told by the watch. */
const NEVER_MS = 2 ** 30;

async function open(
  t: TestContext,
  folder: string,
  changes: Partial<CertificatesOptions> = {},
): Promise<{ readonly certificates: Certificates; readonly lines: readonly string[] }> {
  const lines: string[] = [];
  const note = (text: string): void => void lines.push(text);
  const log = { ...SILENT, info: note, warn: note, error: note };
  const certificates = await openCertificates({ folder, log, nowMs: Date.now, pollMs: NEVER_MS, ...changes });
  t.after(() => certificates.close());
  return { certificates, lines };
}

async function write(folder: string, name: string, { certificate, key }: TestPair): Promise<void> {
  await writeFile(join(folder, `${name}.crt`), certificate);
  await writeFile(join(folder, `${name}.key`), key, { mode: 0o600 });
}

function servedFor(certificates: Certificates, host: string | null): string | null {
  return certificates.choose(host)?.name ?? null;
}

test("certificates: files and folders of each layout are served for the hosts that they name", async (t) => {
  const folder = await openFolder(t);
  await write(folder, "web", makePair({ hosts: ["web.example"] }));
  const shop = makePair({ hosts: ["*.shop.example"] });
  await writeFile(join(folder, "shop.pem"), shop.certificate + shop.key, { mode: 0o600 });
  // As certbot has it: links that lead out of the folder.
  const archive = await openFolder(t);
  const live = makePair({ hosts: ["live.example"] });
  await mkdir(join(folder, "live.example"));
  for (const [name, text] of [
    ["fullchain", live.certificate],
    ["privkey", live.key],
  ] as const) {
    await writeFile(join(archive, `${name}1.pem`), text, { mode: 0o600 });
    await symlink(join(archive, `${name}1.pem`), join(folder, "live.example", `${name}.pem`));
  }
  const { certificates, lines } = await open(t, folder);
  assert.equal(servedFor(certificates, "web.example"), "web.crt");
  assert.equal(servedFor(certificates, "a.shop.example"), "shop.pem");
  assert.equal(servedFor(certificates, "live.example"), "live.example");
  assert.equal(servedFor(certificates, null), "live.example");
  assert.deepEqual(certificates.problems, []);
  assert.ok(lines.includes("certificate web.crt is served for web.example"));
});

test("certificates: a renewed pair is served soon after it is written, without being asked for", async (t) => {
  const folder = await openFolder(t);
  await write(folder, "web", makePair({ hosts: ["old.example"] }));
  const { certificates } = await open(t, folder);
  const renewed = makePair({ hosts: ["new.example"] });
  await writeFile(join(folder, "web.crt.tmp"), renewed.certificate);
  await writeFile(join(folder, "web.key.tmp"), renewed.key, { mode: 0o600 });
  await rename(join(folder, "web.crt.tmp"), join(folder, "web.crt"));
  await rename(join(folder, "web.key.tmp"), join(folder, "web.key"));
  await until(() => certificates.choose(null)?.pair.hosts[0] === "new.example");
  assert.deepEqual(certificates.problems, []);
});

test("certificates: changes behind links, of which no watch tells, are found by looking", async (t) => {
  const [folder, elsewhere] = [await openFolder(t), await openFolder(t)];
  await write(elsewhere, "web", makePair({ hosts: ["old.example"] }));
  await symlink(join(elsewhere, "web.crt"), join(folder, "web.crt"));
  await symlink(join(elsewhere, "web.key"), join(folder, "web.key"));
  const { certificates } = await open(t, folder, { pollMs: 20 });
  assert.equal(servedFor(certificates, "old.example"), "web.crt");
  await write(elsewhere, "web", makePair({ hosts: ["new.example"] }));
  await until(() => certificates.choose(null)?.pair.hosts[0] === "new.example");
});

test("certificates: while a pair is half written the one before is served and a problem tells why", async (t) => {
  const folder = await openFolder(t);
  await write(folder, "web", makePair({ hosts: ["web.example"] }));
  const { certificates, lines } = await open(t, folder);
  const before = certificates.choose("web.example");
  const renewed = makePair({ hosts: ["web.example"] });
  await writeFile(join(folder, "web.crt"), renewed.certificate);
  await certificates.refresh();
  assert.equal(certificates.choose("web.example"), before);
  const [problem] = certificates.problems;
  assert.equal(problem?.subject, join(folder, "web.crt"));
  assert.match(problem?.text ?? "", /key is not that of the first certificate; the one before is served on/);
  // Told in the log when it stays so, once.
  const told = (): number => lines.filter((line) => line.includes("is not that of")).length;
  await certificates.refresh();
  assert.equal(told(), 1);
  await certificates.refresh();
  assert.equal(told(), 1);

  await writeFile(join(folder, "web.key"), renewed.key);
  await certificates.refresh();
  assert.deepEqual(certificates.problems, []);
  assert.notEqual(certificates.choose("web.example"), before);
});

test("certificates: a missing key, an empty file or nonsense harms no other certificate", async (t) => {
  const folder = await openFolder(t);
  await write(folder, "good", makePair({ hosts: ["good.example"] }));
  await writeFile(join(folder, "a.crt"), makePair().certificate);
  await writeFile(join(folder, "b.pem"), "");
  await writeFile(join(folder, "c.pem"), "x".repeat(LIMITS.certificateFileBytes + 1));
  await mkdir(join(folder, "d.crt"));
  await mkdir(join(folder, "e"));
  await writeFile(join(folder, "e", "fullchain.pem"), makePair().certificate);
  const { certificates } = await open(t, folder);
  assert.equal(servedFor(certificates, "good.example"), "good.crt");
  assert.equal(certificates.served.length, 1);
  const texts = new Map(
    certificates.problems.map(({ subject, text }) => [subject.slice(folder.length + 1), text]),
  );
  assert.match(texts.get("a.crt") ?? "", /^a\.key cannot be read: there is no such file; it is not served$/);
  assert.match(texts.get("b.pem") ?? "", /^it holds no certificate/);
  assert.match(texts.get("c.pem") ?? "", /^c\.pem has \d+ bytes; expected at most/);
  assert.match(texts.get("e") ?? "", /^e\/privkey\.pem cannot be read/);
  assert.equal(texts.size, 4);
});

test("certificates: a link to what never ends is reported, and keeps nobody waiting", async (t) => {
  const folder = await openFolder(t);
  await write(folder, "good", makePair({ hosts: ["good.example"] }));
  // By its kind a file, and empty; reading it waits for the kernel's next line.
  await symlink("/proc/kmsg", join(folder, "kernel.pem"));
  await symlink("/dev/zero", join(folder, "zero.pem"));
  let isOpen = false;
  const opening = open(t, folder).finally(() => (isOpen = true));
  await until(() => isOpen);
  const { certificates } = await opening;
  assert.equal(servedFor(certificates, "good.example"), "good.crt");
  const texts = certificates.problems.map(({ text }) => text).toSorted();
  assert.equal(texts.length, 2);
  assert.match(texts[0] ?? "", /^it holds no certificate|^kernel\.pem cannot be read/);
  assert.match(texts[1] ?? "", /^zero\.pem is no file/);
});

test("certificates: one is gone with its files, but not with a folder that cannot be read", async (t) => {
  const folder = join(await openFolder(t), "certificates");
  await mkdir(folder);
  await write(folder, "a", makePair({ hosts: ["a.example"] }));
  await write(folder, "b", makePair({ hosts: ["b.example"] }));
  const { certificates } = await open(t, folder);
  await rm(join(folder, "a.crt"));
  await rm(join(folder, "a.key"));
  await certificates.refresh();
  assert.equal(servedFor(certificates, "a.example"), "b.crt");
  await rename(folder, `${folder}.away`);
  await certificates.refresh();
  assert.equal(servedFor(certificates, "b.example"), "b.crt");
  assert.match(certificates.problems[0]?.text ?? "", /cannot be read: there is no such file/);
  await rename(`${folder}.away`, folder);
  await certificates.refresh();
  assert.deepEqual(certificates.problems, []);
});

test("certificates: a folder that comes later is served when it is there", async (t) => {
  const folder = join(await openFolder(t), "later");
  const { certificates, lines } = await open(t, folder, { pollMs: 20 });
  assert.equal(certificates.choose(null), null);
  assert.equal(certificates.problems.length, 1);
  await mkdir(folder);
  await write(folder, "web", makePair({ hosts: ["web.example"] }));
  await until(() => certificates.choose("web.example"));
  assert.deepEqual(certificates.problems, []);
  assert.equal(lines.filter((line) => line.includes("cannot be read")).length, 1);
});

test("certificates: one that has expired is served and reported, as is a key that everybody may read", async (t) => {
  const folder = await openFolder(t);
  const untilMs = Date.now() - 1000;
  await write(folder, "old", makePair({ hosts: ["old.example"], fromMs: untilMs - 86_400_000, untilMs }));
  await chmod(join(folder, "old.key"), 0o644);
  const { certificates } = await open(t, folder);
  assert.equal(servedFor(certificates, "old.example"), "old.crt");
  const texts = certificates.problems.map(({ text }) => text).join("\n");
  assert.match(texts, /^expired on /m);
  assert.match(texts, /everybody on this host may read its key; chmod it to 640/);
  await chmod(join(folder, "old.key"), 0o640);
  await certificates.refresh();
  assert.doesNotMatch(certificates.problems.map(({ text }) => text).join("\n"), /everybody/);
});
