// The part of WebAssembly that weir uses, typed here because the compiler is given no browser library.

/** Can be sent to other threads. */
export type CompiledModule = { readonly compiledModule: unique symbol };

interface WebAssemblyApi {
  compile(bytes: Uint8Array): Promise<CompiledModule>;
  readonly Instance: new (module: CompiledModule, imports: object) => object;
}

export const webAssembly = (globalThis as unknown as { WebAssembly: WebAssemblyApi }).WebAssembly;
