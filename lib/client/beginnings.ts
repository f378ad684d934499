// What a session begins with: the settings its pool's servers have, over them the client's own, and the packet that tells it so.

import type { TimeLimits } from '../policy/index.js';
import type { Pool, Welcome } from '../pool/index.js';
import { inert, Settings } from '../session/index.js';
import { authenticationOk, parameterStatus } from '../wire/index.js';
import type { ClientAddress, House } from './house.js';
import { lookUp } from './internal-client.js';
import { isCanonical, type StartupRequest } from './startup-parameters.js';

export interface Beginning {
  readonly settings: Settings;
  /** AuthenticationOk and a ParameterStatus for each parameter that PostgreSQL reports. */
  readonly frames: Buffer;
}

/** What earlier logins of a pool found out. */
interface Known {
  /** Values PostgreSQL has taken, with what it made of them. */
  readonly accepted: Map<string, string>;
  /** Settings clients began with: those who begin alike share one, so that comparing them costs nothing. */
  readonly settings: Map<string, Settings>;
  /** By the client's own settings. */
  readonly beginnings: Map<string, Beginning>;
  /** What the beginnings are made of. */
  welcome: Welcome | undefined;
}

const knownByPool = new WeakMap<Pool, Known>();
const knownMax = 1_000;

/** @param limits time-outs that hold where the client does not ask for smaller ones @throws PoolerError with PostgreSQL's own error for a value it does not take */
export async function beginSession(
  house: House,
  pool: Pool,
  request: StartupRequest,
  address: ClientAddress,
  limits: TimeLimits,
): Promise<Beginning> {
  const known = knownOf(pool);
  const asked = ownSettings(house, request, address);
  const key = [...asked, ...limits].flat().join('\0');
  const before = known.beginnings.get(key);
  if (before !== undefined) return before;
  const { welcome } = known;
  const begun = new Map(welcome?.settings.values);
  for (const [name, value] of asked) {
    begun.set(name, isCanonical(name, value) ? value : await accept(pool, known, name, value));
  }
  for (const [name, ms] of limits) {
    if (!isWithin(begun.get(name), ms)) begun.set(name, await accept(pool, known, name, `${ms}ms`));
  }
  const settings = sharedSettings(known, new Settings(begun));
  const frames = [authenticationOk()];
  for (const [name, value] of welcome?.parameters ?? [])
    frames.push(parameterStatus(name, settings.get(name) ?? value));
  const beginning = { settings, frames: Buffer.concat(frames) };
  // Another server may have logged in meanwhile.
  if (known.welcome === welcome) remember(known.beginnings, key, beginning);
  return beginning;
}

function knownOf(pool: Pool): Known {
  let known = knownByPool.get(pool);
  if (known === undefined) {
    known = { accepted: new Map(), settings: new Map(), beginnings: new Map(), welcome: undefined };
    knownByPool.set(pool, known);
  }
  if (known.welcome !== pool.welcome) {
    known.welcome = pool.welcome;
    known.beginnings.clear();
  }
  return known;
}

/** The settings in the startup packet, as the client is to have them. */
function ownSettings(
  { config }: House,
  { settings }: StartupRequest,
  { ip, port }: ClientAddress,
): ReadonlyMap<string, string> {
  const name = settings.get('application_name');
  if (name === undefined || !config.weir.application_name_add_host) return settings;
  return new Map([...settings, ['application_name', `${name} - ${ip}:${port}`]]);
}

/** The value as PostgreSQL writes it, which it is asked once. */
async function accept(pool: Pool, { accepted }: Known, name: string, value: string): Promise<string> {
  const key = `${name}\0${value}`;
  const before = accepted.get(key);
  if (before !== undefined) return before;
  const text = Buffer.from(value, 'latin1').toString('utf8');
  const rows = await lookUp(pool, 'SELECT pg_catalog.set_config($1, $2, true)', [name, text], inert);
  const canonical = Buffer.from(rows[0]?.[0] ?? text, 'utf8').toString('latin1');
  remember(accepted, key, canonical);
  return canonical;
}

const unitMs: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1_000],
  ['min', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

/** @param timeout as PostgreSQL writes it: 0 is none at all */
function isWithin(timeout: string | undefined, msMax: number): boolean {
  const [, count = '0', unit = 'ms'] = /^(\d+)([a-z]+)?$/.exec(timeout ?? '') ?? [];
  const ms = Number(count) * (unitMs.get(unit) ?? 0);
  return ms > 0 && ms <= msMax;
}

function sharedSettings(known: Known, settings: Settings): Settings {
  const shared = known.settings.get(settings.key);
  if (shared !== undefined) return shared;
  remember(known.settings, settings.key, settings);
  return settings;
}

function remember<V>(map: Map<string, V>, key: string, value: V): void {
  if (map.size >= knownMax) map.clear();
  map.set(key, value);
}
