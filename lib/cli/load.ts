// Reads configuration, policy and auth_file, and turns what is wrong with them into one error that names every place.

import { existsSync } from 'node:fs';
import {
  type Config,
  formatProblem,
  loadConfig,
  loadPolicy,
  loadUserList,
  type Problem,
  type RawPolicy,
  type UserList,
} from '../config/index.js';
import { type PolicyDocument, readPolicy } from '../policy/index.js';
import type { Loaded } from '../pooler/index.js';
import { PoolerError } from '../util/index.js';

export interface LoadedFile extends Loaded {
  readonly warnings: readonly Problem[];
}

export class BadConfiguration extends PoolerError {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super(problems.map(formatProblem).join('\n'), { sqlstate: 'F0000' });
    this.problems = problems;
  }
}

/** The configuration alone, without its policy and the users of its auth_file. @throws BadConfiguration, PoolerError */
export function loadSettings(path: string): Omit<LoadedFile, 'users' | 'policy'> {
  if (!existsSync(path)) {
    throw new PoolerError(`configuration file ${path} does not exist`, {
      sqlstate: '58P01',
      hint: 'See config/weir.example.toml, or start weir without a file to try it.',
    });
  }
  const result = loadConfig(path, { env: process.env });
  if (!result.ok) throw new BadConfiguration(result.problems);
  return { config: result.config, warnings: result.warnings };
}

/** @throws BadConfiguration, PoolerError */
export function load(path: string): LoadedFile {
  const loaded = loadSettings(path);
  return { ...loaded, policy: policyOf(loaded.config), users: readUsers(loaded.config) };
}

function policyOf({ policy }: Config): PolicyDocument | undefined {
  return policy === null ? undefined : decodedPolicy(policy);
}

/** @throws BadConfiguration */
export function decodedPolicy(policy: RawPolicy): PolicyDocument {
  const result = readPolicy(policy, process.env);
  if (!result.ok) throw new BadConfiguration(result.problems);
  return result.policy;
}

/** Of a configuration, or of a file of its own. @throws BadConfiguration, PoolerError */
export function policyAt(path: string): PolicyDocument {
  const { policy, problems } = loadPolicy(path, { env: process.env });
  if (problems.length > 0) throw new BadConfiguration(problems);
  if (policy !== null) return decodedPolicy(policy);
  throw new PoolerError(`${path} has no policy`, {
    sqlstate: 'F0000',
    hint: 'Give a file with [policy], or a configuration that has one or names one with policy_file.',
  });
}

export function readUsers(config: Config): UserList {
  const { auth_file } = config.weir;
  if (auth_file === '') return new Map();
  const result = loadUserList(auth_file);
  if (!result.ok) throw new BadConfiguration(result.problems);
  return result.users;
}
