// SHOW VERSION: the first line of `weir --version`.

import { show } from '../command.js';

export const version = show('version', { version: 'text' }, ({ pooler }) => [{ version: pooler.version }]);
