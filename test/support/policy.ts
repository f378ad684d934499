// A policy from the text of its file, for tests.

import { formatProblem, loadConfig } from '../../lib/config/index.js';
import { type PolicyDocument, type PolicyResult, readPolicy } from '../../lib/policy/index.js';

/** Reads the text as a policy file that a configuration names. */
export function tryPolicy(policy: string, env: Readonly<Record<string, string>> = {}): PolicyResult {
  const readFile = (path: string): string => (path === 'p.toml' ? policy : '[weir]\npolicy_file = "p.toml"');
  const loaded = loadConfig('weir.toml', { env, readFile });
  if (!loaded.ok) return loaded;
  const raw = loaded.config.policy;
  if (raw === null) throw new Error('there is no policy');
  return readPolicy(raw, env);
}

/** @throws Error that says what is wrong with it */
export function policyOf(policy: string, env: Readonly<Record<string, string>> = {}): PolicyDocument {
  const result = tryPolicy(policy, env);
  if (!result.ok) throw new Error(result.problems.map(formatProblem).join('\n'));
  return result.policy;
}
