// Lists the settings in force for SHOW CONFIG, and changes one of them for SET.

import { checkConfig } from './check.js';
import { type Config, type GlobalSettings, keysIn, settingNamed } from './config.js';
import { refusedValue } from './decode.js';
import { nearest, nowhere, type Problem, problemAt } from './problems.js';
import { defaultFor } from './schema.js';
import { settings } from './settings.js';
import { decodeValue, printValue } from './values.js';

export interface SettingRow {
  readonly key: string;
  readonly value: string;
  readonly default: string;
  /** It can be changed while weir runs. */
  readonly changeable: boolean;
}

/** Global settings by key; a secret shows as asterisks. */
export function listSettings(config: Config): readonly SettingRow[] {
  const keys = [...keysIn('weir')].sort() as (keyof GlobalSettings)[];
  return keys.map((key) => {
    const entry = settings[key];
    const value = key === 'conffile' ? (config.file ?? '') : printValue(entry.type, config.weir[key]);
    const defaultText = printValue(entry.type, defaultFor(entry, config.dialect));
    return { key, value, default: defaultText, changeable: entry.change === 'reload' };
  });
}

export type SetResult =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly problem: Problem };

/** The configuration with one global setting changed; `config` itself stays as it is. */
export function setSetting(config: Config, key: string, text: string): SetResult {
  const found = settingNamed(key);
  if (found?.scopes.includes('weir') !== true) {
    return refuse(problemAt(nowhere, key, 'unknown setting', { nearest: nearest(key, keysIn('weir')) }));
  }
  if (found.change === 'restart')
    return refuse(problemAt(nowhere, key, 'this setting can only be changed by a restart'));
  const decoded = decodeValue(found.type, text);
  if (!decoded.ok)
    return refuse(refusedValue(found.type, key, { value: text, written: text, place: nowhere }, decoded.refusal));
  const changed: Config = { ...config, weir: { ...config.weir, [key]: decoded.value } };
  // Only what the change made wrong counts: the rest was accepted before.
  const known = new Set(checkConfig(config, null).problems.map((problem) => problem.key + problem.message));
  const fresh = checkConfig(changed, null).problems.find((problem) => !known.has(problem.key + problem.message));
  return fresh === undefined ? { ok: true, config: changed } : refuse(fresh);
}

function refuse(problem: Problem): SetResult {
  return { ok: false, problem };
}
