// One instance of PostgreSQL's parser in WebAssembly, walled off: bytes in, a tree or a clean error out, or it is broken for good.
//
// libpg-query's own entry points are not used. Its module has no stack check (pganalyze/libpg_query#348): a deep expression throws
// out of the middle of it, and after some dozens of these it answers wrongly or never. So whatever throws condemns the instance.

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import v8 from 'node:v8';
import { isNode } from './tree.js';
import { type CompiledModule, webAssembly } from './web-assembly.js';

/** What the emscripten factory gives, as far as it is used. Every field of it is checked before use. */
interface ParserModule {
  readonly HEAPU8: Uint8Array;
  readonly HEAPU32: Uint32Array;
  readonly _malloc: (bytes: number) => number;
  readonly _free: (pointer: number) => void;
  readonly _wasm_parse_query_raw: (text: number) => number;
  readonly _wasm_free_parse_result: (result: number) => void;
}

export type ParseOutcome =
  | { readonly kind: 'tree'; readonly tree: unknown }
  /** PostgreSQL's own verdict on the text. */
  | { readonly kind: 'error'; readonly message: string }
  /** The instance must not be used again. */
  | { readonly kind: 'broken' };

const broken: ParseOutcome = { kind: 'broken' };

/** Offsets in struct PgQueryParseResult, in 32-bit words: parse_tree, stderr_buffer, error. */
const treeWord = 0;
const errorWord = 2;

export class ParserInstance {
  readonly #module: ParserModule;
  #isBroken = false;

  private constructor(module: ParserModule) {
    this.#module = module;
  }

  /** @param compiled from `compileParser`, or sent from another thread */
  static async create(compiled: CompiledModule): Promise<ParserInstance> {
    const require = createRequire(import.meta.url);
    const factory: unknown = require('libpg-query/wasm/libpg-query.js');
    if (typeof factory !== 'function') throw new TypeError('libpg-query has no parser factory');
    const made: unknown = await factory({
      instantiateWasm: (imports: object, done: (instance: object) => void) => {
        done(new webAssembly.Instance(compiled, imports));
        return {};
      },
      // An abort would print.
      print: () => {},
      printErr: () => {},
    });
    return new ParserInstance(checkedModule(made));
  }

  get memoryBytes(): number {
    return this.#module.HEAPU8.byteLength;
  }

  /** @param text UTF-8 without NUL, standard_conforming_strings on */
  parse(text: Uint8Array): ParseOutcome {
    if (this.#isBroken) return broken;
    // The module's exit() would set the exit code of the process.
    const exitCode = process.exitCode;
    try {
      return this.#parse(text);
    } catch {
      this.#isBroken = true;
      process.exitCode = exitCode;
      return broken;
    }
  }

  #parse(text: Uint8Array): ParseOutcome {
    const module = this.#module;
    const pointer = module._malloc(text.length + 1);
    if (pointer === 0) throw new RangeError('out of memory');
    // The views are looked up anew each time: the memory may have grown and been moved.
    module.HEAPU8.set(text, pointer);
    module.HEAPU8[pointer + text.length] = 0;
    const result = module._wasm_parse_query_raw(pointer);
    if (result === 0) throw new RangeError('out of memory');
    const words = module.HEAPU32;
    const errorPointer = words[(result >> 2) + errorWord]!;
    const treePointer = words[(result >> 2) + treeWord]!;
    const outcome: ParseOutcome =
      errorPointer !== 0
        ? { kind: 'error', message: this.#string(words[errorPointer >> 2]!) }
        : { kind: 'tree', tree: JSON.parse(this.#string(treePointer)) };
    module._wasm_free_parse_result(result);
    module._free(pointer);
    if (outcome.kind === 'tree' && !(isNode(outcome.tree) && outcome.tree['version'] !== undefined))
      throw new TypeError('no tree');
    return outcome;
  }

  #string(pointer: number): string {
    const heap = this.#module.HEAPU8;
    const end = heap.indexOf(0, pointer);
    if (pointer === 0 || end < 0) throw new RangeError('no string');
    return Buffer.from(heap.buffer, heap.byteOffset + pointer, end - pointer).toString('utf8');
  }
}

function checkedModule(made: unknown): ParserModule {
  const needed = ['_malloc', '_free', '_wasm_parse_query_raw', '_wasm_free_parse_result'];
  if (!isNode(made) || needed.some((name) => typeof made[name] !== 'function')) {
    throw new TypeError('libpg-query is not the version weir knows');
  }
  return made as unknown as ParserModule;
}

/**
 * V8 13, that of Node.js 24, needs 600 MB for a third of a second to optimise the function that is PostgreSQL's grammar; the versions
 * before and after it 40 MB. Without, a parse takes a fifth longer.
 */
function spareMemory(): void {
  if (!process.versions.v8.startsWith('13.')) return;
  v8.setFlagsFromString('--no-wasm-tier-up');
  v8.setFlagsFromString('--no-wasm-dynamic-tiering');
}

/** Compiles the parser: 70 to 250 ms, once per process; the result may be sent to threads. */
export async function compileParser(): Promise<CompiledModule> {
  spareMemory();
  const require = createRequire(import.meta.url);
  return webAssembly.compile(await readFile(require.resolve('libpg-query/wasm/libpg-query.wasm')));
}
