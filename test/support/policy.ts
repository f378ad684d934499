// A policy from the text of its file, for tests.

import { formatProblem, loadConfig, type RawPolicy } from '../../lib/config/index.js';
import { type PolicyDocument, type PolicyResult, readPolicy } from '../../lib/policy/index.js';

type Env = Readonly<Record<string, string>>;

/** The text as a policy file that a configuration names. */
function load(policy: string, env: Env): ReturnType<typeof loadConfig> {
  const readFile = (path: string): string => (path === 'p.toml' ? policy : '[weir]\npolicy_file = "p.toml"');
  return loadConfig('weir.toml', { env, readFile });
}

function unread(policy: string, env: Env): RawPolicy {
  const loaded = load(policy, env);
  if (!loaded.ok) throw new Error(loaded.problems.map(formatProblem).join('\n'));
  if (loaded.config.policy === null) throw new Error('there is no policy');
  return loaded.config.policy;
}

export function tryPolicy(policy: string, env: Env = {}): PolicyResult {
  const loaded = load(policy, env);
  return loaded.ok ? readPolicy(unread(policy, env), env) : loaded;
}

/** @throws Error that says what is wrong with it */
export function policyOf(policy: string, env: Env = {}): PolicyDocument {
  const result = tryPolicy(policy, env);
  if (!result.ok) throw new Error(result.problems.map(formatProblem).join('\n'));
  return result.policy;
}

/** What a configuration has of it, and what is made of that. @throws Error that says what is wrong with it */
export function loadedPolicy(policy: string | undefined): {
  readonly raw: RawPolicy | null;
  readonly document: PolicyDocument | undefined;
} {
  return policy === undefined
    ? { raw: null, document: undefined }
    : { raw: unread(policy, {}), document: policyOf(policy) };
}
