// SET key = value: changes one global setting until the next RELOAD or start.

import { listSettings, type Problem, setSetting } from '../../config/index.js';
import { type Context, clipped, type Role, refusal } from '../command.js';

/** The files they name are read only when the configuration is: a SET of these would look done and change nothing. */
const fileKey = /^((client|server)_tls|policy_file$)/;
const tagCharsMax = 200;

export const set = {
  role: 'admin' satisfies Role,
  usage: ['SET key = arg'],
  /** @returns the command tag @throws PoolerError */
  run: (key: string, value: string, { pooler }: Context): string => {
    if (fileKey.test(key)) {
      throw refusal('SET failed', {
        detail: `${key}: settings of TLS and the policy take effect with the files they name.`,
        hint: 'Change the configuration file and RELOAD.',
      });
    }
    const result = setSetting(pooler.config, key, value);
    if (!result.ok) throw failed(result.problem);
    pooler.change(result.config);
    const printed = listSettings(result.config).find((row) => row.key === key)?.value ?? '';
    return clipped(`SET ${key}=${printed}`, tagCharsMax);
  },
} as const;

function failed(problem: Problem): Error {
  const received = problem.received === null ? '' : ` (received ${problem.received})`;
  const hint =
    problem.allowed !== null
      ? `Allowed: ${problem.allowed}.`
      : problem.nearest !== null
        ? `Did you mean "${problem.nearest}"?`
        : 'SHOW CONFIG lists the settings and which can be changed.';
  return refusal('SET failed', { detail: `${problem.key}: ${problem.message}${received}.`, hint });
}
