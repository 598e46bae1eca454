// Puts a build where the binary embeds it from, with .br and .gz twins of what is worth compressing, and removes
// everything else there.
//
// A compressor's output depends on its version and sometimes on the processor. A twin that already holds the right
// content is therefore kept as it is, so that equal sources give an equal folder on every machine.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, brotliDecompressSync, constants, gunzipSync, gzipSync } from "node:zlib";

const here = dirname(fileURLToPath(import.meta.url));
const built = join(here, "node_modules/.quartet-dist");
const dist = join(here, "../internal/dashboard/dist");
const worthwhile = 1024; // bytes

const br = {
  ext: ".br",
  pack: (b) => brotliCompressSync(b, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: b.length } }),
  unpack: brotliDecompressSync,
};
const gz = { ext: ".gz", pack: (b) => gzipSync(b, { level: 9 }), unpack: gunzipSync };

const files = (dir) =>
  readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile())
    .map((e) => join(e.parentPath ?? e.path, e.name).slice(dir.length + 1))
    .sort();

/** What a file holds, or undefined when there is none or it cannot be read as that. */
function read(path, unpack = (b) => b) {
  try {
    return unpack(readFileSync(path));
  } catch {
    return undefined;
  }
}

mkdirSync(dist, { recursive: true });
const keep = new Set();
const sizes = [];
for (const name of files(built)) {
  const content = readFileSync(join(built, name));
  const target = join(dist, name);
  mkdirSync(dirname(target), { recursive: true });
  if (!read(target)?.equals(content)) writeFileSync(target, content);
  keep.add(name);
  const size = { file: name, plain: content.length };
  if (content.length >= worthwhile) {
    for (const { ext, pack, unpack } of [br, gz]) {
      if (!read(target + ext, unpack)?.equals(content)) writeFileSync(target + ext, pack(content));
      keep.add(name + ext);
      size[ext.slice(1)] = readFileSync(target + ext).length;
    }
  }
  sizes.push(size);
}
for (const name of files(dist)) if (!keep.has(name)) rmSync(join(dist, name));
console.table(sizes);
