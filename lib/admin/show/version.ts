// SHOW VERSION: the first line of `weir --version`.

import { show } from '../command.js';
import { same } from '../merge.js';

export const version = show('version', { version: 'text' }, ({ pooler }) => [{ version: pooler.version }], same);
