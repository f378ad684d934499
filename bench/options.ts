// The command line of the bench, read by commander into one typed value.

import { Command, InvalidArgumentError } from 'commander';
import { longClientCounts, usualClientCounts } from './works.js';

export interface Options {
  readonly rounds: number;
  readonly seconds: number;
  readonly warmupSeconds: number;
  readonly scale: number;
  readonly idleClients: number;
  readonly clientCounts: readonly number[];
  readonly only: RegExp | undefined;
  readonly targets: readonly string[] | undefined;
  readonly pgbench: string;
  readonly pgbouncer: string;
  /** The command that starts weir, as words; the config file's path is appended. Undefined: the built one. */
  readonly weir: readonly string[] | undefined;
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
  targets?: string[];
  pgbench: string;
  pgbouncer: string;
  weir?: string[];
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
    targets: flags.targets,
    pgbench: flags.pgbench,
    pgbouncer: flags.pgbouncer,
    weir: flags.weir,
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
    .option('--targets <names>', 'only these targets, separated by commas', (text) => text.split(','))
    .option('--pgbench <path>', 'the pgbench to use', 'pgbench')
    .option('--pgbouncer <path>', 'the PgBouncer to compare with', 'pgbouncer')
    .option(
      '--weir <command>',
      'the command that starts weir; a config path is appended (default: the built weir)',
      words,
    )
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

function words(text: string): string[] {
  const parts = text.split(' ').filter((part) => part !== '');
  if (parts.length === 0) throw new InvalidArgumentError('Must name a command.');
  return parts;
}
