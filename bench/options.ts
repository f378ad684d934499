// The command line of the bench, read by commander into one typed value.

import { Command, InvalidArgumentError, Option } from 'commander';
import { type ComparisonName, comparisonNames } from './comparisons.js';
import type { TomlValue } from './pooler-config.js';
import { type WeirKeys, weirArrangements } from './targets.js';
import { longClientCounts, usualClientCounts } from './works.js';

export interface Options {
  readonly rounds: number;
  readonly seconds: number;
  readonly warmupSeconds: number;
  readonly scale: number;
  readonly idleClients: number;
  readonly clientCounts: readonly number[];
  readonly only: RegExp | undefined;
  readonly comparison: ComparisonName;
  /** Undefined: those of the comparison. */
  readonly targets: readonly string[] | undefined;
  /** By target name: keys that take the place of its own. */
  readonly arrangements: ReadonlyMap<string, WeirKeys>;
  readonly pgbench: string;
  readonly pgbouncer: string;
  /** The command that starts weir, as words; the config file's path is appended. Undefined: the built one. */
  readonly weir: readonly string[] | undefined;
  /** Likewise, of the target `weir-before`. */
  readonly before: readonly string[] | undefined;
  /** Undefined: bench/results of the project. */
  readonly resultsDirectory: string | undefined;
  readonly list: boolean;
}

interface Flags {
  rounds?: number;
  seconds?: number;
  scale?: number;
  idleClients: number;
  quick: boolean;
  long: boolean;
  only?: RegExp;
  comparison: ComparisonName;
  targets?: string[];
  keys: ReadonlyMap<string, WeirKeys>;
  pgbench: string;
  pgbouncer: string;
  weir?: string[];
  before?: string[];
  results?: string;
  list: boolean;
}

/** Exits with commander's message when an argument is wrong. */
export function parseOptions(argv: readonly string[]): Options {
  const flags = program().parse(argv, { from: 'user' }).opts<Flags>();
  return {
    rounds: flags.rounds ?? (flags.quick ? 1 : 5),
    seconds: flags.seconds ?? (flags.quick ? 2 : 5),
    warmupSeconds: flags.quick ? 1 : 3,
    scale: flags.scale ?? (flags.quick ? 5 : 20),
    idleClients: flags.idleClients,
    clientCounts: flags.long ? longClientCounts : usualClientCounts,
    only: flags.only,
    comparison: flags.comparison,
    targets: flags.targets,
    arrangements: flags.keys,
    pgbench: flags.pgbench,
    pgbouncer: flags.pgbouncer,
    weir: flags.weir,
    before: flags.before,
    resultsDirectory: flags.results,
    list: flags.list,
  };
}

function program(): Command {
  return new Command('bench')
    .description('Measures PostgreSQL directly, through PgBouncer and through weir, in turn. See bench/README.md.')
    .option('--rounds <n>', 'rounds; each measures every target once (default: 5)', integer(1, 1_000))
    .option('--seconds <n>', 'length of one measurement (default: 5)', integer(1, 3_600))
    .option('--scale <n>', 'scale factor of the pgbench tables (default: 20)', integer(1, 10_000))
    .option('--idle-clients <n>', 'clients of the idle memory work', integer(10, 50_000), 1_000)
    .option('--quick', '1 round of 2 s over small tables: shows that all works, proves nothing', false)
    .option('--long', 'with 500 clients too', false)
    .option('--only <pattern>', 'only works whose name matches this regular expression', regularExpression)
    .addOption(
      new Option('--comparison <name>', 'what is set against what').choices(comparisonNames).default('poolers'),
    )
    .option('--targets <names>', "these targets, separated by commas, instead of the comparison's", (text) =>
      text.split(','),
    )
    .option(
      '--keys <target:key=value,...>',
      'gives a weir these keys in place of its own; may be repeated',
      arrangement,
      new Map(),
    )
    .option('--pgbench <path>', 'the pgbench to use', 'pgbench')
    .option('--pgbouncer <path>', 'the PgBouncer to compare with', 'pgbouncer')
    .option(
      '--weir <command>',
      'the command that starts weir; a config path is appended (default: the built weir)',
      words,
    )
    .option('--before <command>', 'the command of another build of weir, the target weir-before', words)
    .option('--results <directory>', 'where the results file goes (default: bench/results)')
    .option('--list', 'print the names of the works and targets and stop', false);
}

function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < min || value > max) {
      throw new InvalidArgumentError(`Must be a whole number from ${min} to ${max}.`);
    }
    return value;
  };
}

function regularExpression(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : 'Not a regular expression.');
  }
}

/** `weir-untracked:server_reset_query_always=true`; nothing behind the colon takes the target's own keys away. */
function arrangement(text: string, earlier: ReadonlyMap<string, WeirKeys>): ReadonlyMap<string, WeirKeys> {
  const colon = text.indexOf(':');
  const name = text.slice(0, Math.max(0, colon));
  if (!(name in weirArrangements)) {
    throw new InvalidArgumentError(`Must begin with one of ${Object.keys(weirArrangements).join(', ')} and a colon.`);
  }
  const keys: Record<string, TomlValue> = {};
  for (const part of text.slice(colon + 1).split(',')) {
    if (part === '') continue;
    const equals = part.indexOf('=');
    if (equals < 1) throw new InvalidArgumentError(`Must be key=value: ${part}`);
    keys[part.slice(0, equals)] = tomlValue(part.slice(equals + 1));
  }
  return new Map([...earlier, [name, keys]]);
}

function tomlValue(text: string): TomlValue {
  if (text === 'true' || text === 'false') return text === 'true';
  return /^\d+$/.test(text) ? Number(text) : text;
}

function words(text: string): string[] {
  const parts = text.split(' ').filter((part) => part !== '');
  if (parts.length === 0) throw new InvalidArgumentError('Must name a command.');
  return parts;
}
