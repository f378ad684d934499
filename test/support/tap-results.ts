// Reads a TAP stream and counts the assertions in it that have no subtest below them, telling of each test file as it ends.

import { Parser, type Result } from 'tap-parser';

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

export interface Failure {
  /** Test file, tests and assertion, joined by ` > `. */
  readonly name: string;
  readonly diagnostics: Readonly<Record<string, unknown>>;
}

export interface FileResult extends Readonly<Counts> {
  readonly file: string;
  readonly ms: number;
  readonly failures: readonly Failure[];
}

interface Listener {
  /** A test file has ended; the counts are its own. */
  file(result: FileResult): void;
  /** A line of output that is not TAP. */
  text(line: string): void;
}

interface Scope extends Counts {
  readonly failures: Failure[];
  /** Results of the subtest that the next assertion of this scope sums up. */
  below: Scope | undefined;
}

export class TapResults {
  readonly #parser = new Parser();
  readonly #root = newScope();

  constructor(listener: Listener) {
    this.#watch(this.#parser, this.#root, listener.text, (result, scope) => {
      listener.file({ file: result.name, ms: result.time ?? 0, ...scope });
    });
  }

  write(chunk: string): void {
    this.#parser.write(chunk);
  }

  /** Totals over the whole stream. A stream that ended before its plan was met counts as a failure more. */
  end(): Counts {
    this.#parser.end();
    const { passed, failed, skipped } = this.#root;
    const incomplete = failed === 0 && !this.#parser.ok;
    return { passed, failed: failed + (incomplete ? 1 : 0), skipped };
  }

  #watch(parser: Parser, scope: Scope, text: Listener['text'], summed: (result: Result, below: Scope) => void): void {
    parser.on('child', (child: Parser) => {
      const below = newScope();
      scope.below = below;
      this.#watch(child, below, text, () => {});
    });
    parser.on('extra', (line: string) => text(line));
    parser.on('assert', (result: Result) => {
      const below = scope.below;
      scope.below = undefined;
      if (below === undefined) return count(scope, result);
      settle(below, result);
      scope.passed += below.passed;
      scope.failed += below.failed;
      scope.skipped += below.skipped;
      scope.failures.push(...below.failures);
      summed(result, below);
    });
  }
}

function newScope(): Scope {
  return { passed: 0, failed: 0, skipped: 0, failures: [], below: undefined };
}

function count(scope: Scope, result: Result): void {
  if (result.skip !== false || result.todo !== false) scope.skipped++;
  else if (result.ok) scope.passed++;
  else fail(scope, result, {});
}

/** What only the sum of a subtest knows: that it broke outside its assertions, or that it has none. */
function settle(below: Scope, result: Result): void {
  if (!result.ok && below.failed === 0) fail(below, result, {});
  if (result.ok && below.passed + below.failed + below.skipped === 0)
    fail(below, result, { reason: 'it asserts nothing' });
}

function fail(scope: Scope, result: Result, extra: Record<string, unknown>): void {
  scope.failed++;
  const diagnostics: unknown = result.diag;
  const known = typeof diagnostics === 'object' && diagnostics !== null ? diagnostics : {};
  scope.failures.push({ name: result.fullname, diagnostics: { ...known, ...extra } });
}
