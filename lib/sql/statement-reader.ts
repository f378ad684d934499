// Reads texts without a cache and says what is wrong with those that cannot be read: for the command line, not for traffic.

import { type Definition, extractDefinitions } from './definitions.js';
import { extractFacts } from './extract-facts.js';
import type { ParsedFacts } from './facts.js';
import { inspectBytesMax } from './limits.js';
import { compileParser, ParserInstance } from './parser-instance.js';
import type { CompiledModule } from './web-assembly.js';

export type TextReading =
  | { readonly kind: 'read'; readonly facts: ParsedFacts; readonly definitions: readonly Definition[] }
  /** With PostgreSQL's message, or why its parser has no answer. */
  | { readonly kind: 'unread'; readonly message: string };

const trusted = { trustedFunctions: new Set<string>(), deeds: true };

export class StatementReader {
  readonly #compiled: CompiledModule;
  #parser: ParserInstance;

  private constructor(compiled: CompiledModule, parser: ParserInstance) {
    this.#compiled = compiled;
    this.#parser = parser;
  }

  static async create(): Promise<StatementReader> {
    const compiled = await compileParser();
    return new StatementReader(compiled, await ParserInstance.create(compiled));
  }

  /** Facts with deeds, whose locations are places in the text. */
  async read(text: string): Promise<TextReading> {
    const bytes = Buffer.from(text, 'utf8');
    if (bytes.length > inspectBytesMax) return { kind: 'unread', message: `longer than ${inspectBytesMax} bytes` };
    if (bytes.includes(0)) return { kind: 'unread', message: 'it holds a zero byte' };
    const outcome = this.#parser.parse(bytes);
    if (outcome.kind === 'error') return { kind: 'unread', message: outcome.message };
    if (outcome.kind === 'broken') {
      this.#parser = await ParserInstance.create(this.#compiled);
      return { kind: 'unread', message: 'it is too deep for the parser' };
    }
    const { tree } = outcome;
    return { kind: 'read', facts: extractFacts(tree, bytes, trusted), definitions: extractDefinitions(tree) };
  }
}
