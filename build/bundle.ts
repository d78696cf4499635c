/**
 * Bundle: the daemon and its CLI, without the packages they are made of: `dist/main.mjs` and `dist/parts/`.
 *
 * Opening some four hundred files is most of what a start from the sources costs. What is imported when it is needed
 * (X.509, Docker, the daemon itself where a command only asks it) is a part of its own, so that it costs nothing until
 * then. Names stay as they are written: a stack trace tells where. What a package brings along and this program never
 * calls is replaced by a stub that throws when it is called after all.
 *
 * Touches: files.
 */

import { build, type Metafile, type Plugin } from "esbuild";

/**
 * Of dockerode the modem alone is used: nobody builds images (tar-fs), opens sessions of BuildKit (grpc, protobufjs) or
 * reaches engines over SSH (ssh2).
 */
const STUBBED: readonly string[] = ["@grpc/grpc-js", "@grpc/proto-loader", "protobufjs", "ssh2", "tar-fs"];

/** Files of a package that it loads unasked, though only others' programs call them; each brings modules of Node. */
const UNUSED: readonly string[] = [
  "dns2/client/doh.js",
  "dns2/client/google.js",
  "prom-client/lib/cluster.js",
  "prom-client/lib/pushgateway.js",
];

/** CommonJS packages ask for Node's own modules by `require`, which a module has not. */
const BANNER = 'const require=process.getBuiltinModule("node:module").createRequire(import.meta.url);';

/**
 * Writes the parts.
 *
 * @returns paths of what went into them, relative to `root`
 * @throws when a file does not compile, or imports a name that is not there: esbuild has said which
 */
export async function bundleDaemon(root: string, outdir: string): Promise<readonly string[]> {
  const { metafile, warnings } = await build({
    absWorkingDir: root,
    entryPoints: [{ in: "src/main.ts", out: "main" }],
    outdir,
    outExtension: { ".js": ".mjs" },
    chunkNames: "parts/[name]-[hash]",
    bundle: true,
    splitting: true,
    platform: "node",
    format: "esm",
    target: "node24",
    // The modules of a package rather than its CommonJS: what is not used is left out.
    mainFields: ["module", "main"],
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: "none",
    banner: { js: BANNER },
    plugins: [stubs(), builtins()],
    metafile: true,
    logLevel: "warning",
  });
  if (warnings.length > 0) throw new Error("a warning above is an import that would fail when it runs");
  return inputsOf(metafile);
}

/** Paths of what is in the outputs; what was read and then left out is not. */
export function inputsOf(metafile: Metafile): readonly string[] {
  return Object.values(metafile.outputs).flatMap((output) =>
    Object.entries(output.inputs).flatMap(([path, { bytesInOutput }]) => (bytesInOutput > 0 ? path : [])),
  );
}

/** A stub can be asked for anything, and throws when that is called or made. */
function stubs(): Plugin {
  return {
    name: "stubs",
    setup(bundler) {
      const filter = new RegExp(`^(?:${STUBBED.join("|")})$`);
      bundler.onResolve({ filter }, ({ path }) => ({ path, namespace: "stub" }));
      bundler.onLoad({ filter: /^/, namespace: "stub" }, ({ path }) => ({ contents: stubOf(path) }));
      const unused = new RegExp(`/node_modules/(${UNUSED.join("|").replaceAll(".", "\\.")})$`);
      bundler.onLoad({ filter: unused }, ({ path }) => ({
        contents: stubOf(unused.exec(path)?.[1] ?? path),
      }));
    },
  };
}

function stubOf(name: string): string {
  const text = JSON.stringify(`${name} is not part of this build of skein`);
  return `const stub = new Proxy(function () { throw new Error(${text}); }, { get: () => stub });
module.exports = stub;`;
}

/**
 * Node's own modules are taken as `require` takes them. For an import Node reads every export of the module, and so
 * loads what lies behind the lazy ones: of node:http all of undici and HTTP/2, some 20 ms.
 */
function builtins(): Plugin {
  return {
    name: "builtins",
    setup(bundler) {
      // For programs of other names behind a command, of which there are none.
      bundler.onResolve({ filter: /^node:child_process$/ }, ({ path, importer }) =>
        importer.includes("/node_modules/commander/") ? { path, namespace: "stub" } : null,
      );
      bundler.onResolve({ filter: /^node:/ }, ({ path, kind }) =>
        kind === "require-call" ? null : { path, namespace: "builtin", sideEffects: false },
      );
      bundler.onLoad({ filter: /^/, namespace: "builtin" }, ({ path }) => ({ contents: builtinOf(path) }));
    },
  };
}

/** A module of constants, each of them dropped where nobody imports it. */
function builtinOf(name: string): string {
  const names = Object.keys(process.getBuiltinModule(name) ?? {}).filter((key) => key !== "default");
  const all = `/* @__PURE__ */ process.getBuiltinModule(${JSON.stringify(name)})`;
  return [
    `const $all = ${all};`,
    "export default $all;",
    "const $of = (key) => $all[key];",
    ...names.map((key) => `export const ${key} = /* @__PURE__ */ $of("${key}");`),
  ].join("\n");
}
