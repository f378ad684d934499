// Reads the TAP of one test file and counts the assertions in it that have no subtest below them.

import { Parser, type Result } from 'tap-parser';

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

export interface Failure {
  /** Tests and assertion, joined by ` > `. */
  readonly name: string;
  readonly diagnostics: Readonly<Record<string, unknown>>;
}

export interface FileCounts extends Readonly<Counts> {
  readonly failures: readonly Failure[];
  /** Why something was skipped, each reason once. */
  readonly skips: readonly string[];
  /** False where it stopped in the middle. */
  readonly complete: boolean;
}

interface Scope extends Counts {
  readonly failures: Failure[];
  readonly skips: Set<string>;
  /** Results of the subtest that the next assertion of this scope sums up. */
  below: Scope | undefined;
}

export class TapResults {
  readonly #parser = new Parser();
  readonly #root = newScope();
  /** @param text is given each line of output that is not TAP */
  constructor(text: (line: string) => void) {
    this.#watch(this.#parser, this.#root, text);
  }

  write(chunk: string): void {
    this.#parser.write(chunk);
  }

  end(): FileCounts {
    this.#parser.end();
    const { passed, failed, skipped, failures, skips } = this.#root;
    return { passed, failed, skipped, failures, skips: [...skips], complete: this.#parser.ok || failed > 0 };
  }

  #watch(parser: Parser, scope: Scope, text: (line: string) => void): void {
    parser.on('child', (child: Parser) => {
      const below = newScope();
      scope.below = below;
      this.#watch(child, below, text);
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
      for (const reason of below.skips) scope.skips.add(reason);
    });
  }
}

function newScope(): Scope {
  return { passed: 0, failed: 0, skipped: 0, failures: [], skips: new Set(), below: undefined };
}

function count(scope: Scope, result: Result): void {
  if (result.skip !== false || result.todo !== false) {
    scope.skipped++;
    scope.skips.add(`${result.fullname}: ${result.skip || result.todo}`);
  } else if (result.ok) scope.passed++;
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
