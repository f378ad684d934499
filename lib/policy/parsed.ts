// What becomes of one text of the policy: its value, or what is wrong with it.

import type { ProblemDetails } from '../config/index.js';

export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly message: string; readonly details?: ProblemDetails };
