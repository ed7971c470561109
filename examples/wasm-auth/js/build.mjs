// Makes a component of auth.js: `npm install && node build.mjs [OUT]`. The contract is plugin.wit, here or in the repository.
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { componentize } from "@bytecodealliance/componentize-js";

const out = process.argv[2] ?? "auth.wasm";
const here = dirname(fileURLToPath(import.meta.url));
const contract = [join(here, "plugin.wit"), join(here, "../../../plugin-api/wit/plugin.wit")].find(existsSync);
const wit = await mkdtemp(join(tmpdir(), "wit-"));
try {
  await cp(join(here, "world.wit"), join(wit, "world.wit"));
  await mkdir(join(wit, "deps"));
  await cp(contract, join(wit, "deps", "plugin.wit"));
  const { component } = await componentize(await readFile(join(here, "auth.js"), "utf8"), {
    witPath: wit,
    worldName: "guest",
    // What is left is our own: no clocks, no randomness, no files, no sockets.
    disableFeatures: ["random", "stdio", "clocks", "http", "fetch-event"],
  });
  await writeFile(out, component);
  console.log(`${out}: ${component.length} bytes`);
} finally {
  await rm(wit, { recursive: true });
}
