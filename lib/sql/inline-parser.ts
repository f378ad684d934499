// The parser of the event loop: one instance in use and one in reserve, so that a broken one is replaced without waiting.

import { parserMemoryBytesMax } from './limits.js';
import { type ParseOutcome, ParserInstance } from './parser-instance.js';
import type { CompiledModule } from './web-assembly.js';

export class InlineParser {
  readonly #compiled: CompiledModule;
  #current: ParserInstance | undefined;
  #reserve: ParserInstance | undefined;
  #isMaking = false;
  /** Instances thrown away. */
  replaced = 0;

  private constructor(compiled: CompiledModule, current: ParserInstance, reserve: ParserInstance) {
    this.#compiled = compiled;
    this.#current = current;
    this.#reserve = reserve;
  }

  static async create(compiled: CompiledModule): Promise<InlineParser> {
    return new InlineParser(compiled, await ParserInstance.create(compiled), await ParserInstance.create(compiled));
  }

  /** `broken` also while both instances are being replaced: try again later. */
  parse(text: Uint8Array): ParseOutcome {
    const instance = this.#current;
    if (instance === undefined) {
      this.#make();
      return { kind: 'broken' };
    }
    const outcome = instance.parse(text);
    if (outcome.kind === 'broken' || instance.memoryBytes > parserMemoryBytesMax) this.#replace();
    return outcome;
  }

  #replace(): void {
    this.replaced++;
    this.#current = this.#reserve;
    this.#reserve = undefined;
    this.#make();
  }

  #make(): void {
    if (this.#isMaking) return;
    this.#isMaking = true;
    ParserInstance.create(this.#compiled).then(
      (instance) => {
        this.#isMaking = false;
        if (this.#current === undefined) this.#current = instance;
        else this.#reserve = instance;
        if (this.#reserve === undefined) this.#make();
      },
      () => {
        // Out of memory: the next text tries again, and until then everything new is unknown.
        this.#isMaking = false;
      },
    );
  }
}
