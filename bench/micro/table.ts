// The table of what is timed inside one process, one row each.

import type { Exercise } from './exercise.js';
import { policyExercises } from './policy.js';
import { relayExercises } from './relay.js';
import { type StatementTools, statementExercises } from './statements.js';

export const microTable: readonly Exercise<StatementTools>[] = [
  ...statementExercises,
  ...relayExercises,
  ...policyExercises,
];
