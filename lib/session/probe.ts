// Asks a server what its session is really like: one query made of the parts that matter, and its answer read.

import { Effect } from './footprint.js';
import { asciiLiteral, isReadBack } from './settings.js';

/** What a look at the session has to find out. */
export interface ProbePlan {
  /** Bits of `Effect`. */
  readonly effects: number;
  /** Lower-case names of settings to be read back. */
  readonly settings: ReadonlySet<string>;
  /** Names of prepared statements to be read back, bytes as latin1 strings. */
  readonly statements: ReadonlySet<string>;
  /** What the names of weir's own statements begin with. */
  readonly ownPrefix: string;
}

/** How a setting stands in the session. */
export interface FoundSetting {
  readonly value: string;
  /** `session`: as a client set it; `reset`: as RESET leaves it. */
  readonly source: 'session' | 'reset';
  /** No statement of an ordinary user could set it: it cannot be carried to another server. */
  readonly restricted: boolean;
}

/** A statement the session has prepared under a name of the client's own. */
export interface FoundStatement {
  /** What the statement came with: for SQL's PREPARE the whole text it stood in. */
  readonly text: string;
  readonly typeOids: readonly number[];
  readonly fromSql: boolean;
}

export interface Findings {
  readonly settings: ReadonlyMap<string, FoundSetting>;
  /** The settings a session has taken over from a client were all listed: what is not in `settings` is as RESET leaves it. */
  readonly allSettings: boolean;
  readonly role: { readonly role: string; readonly authorization: string; readonly explicit: boolean } | undefined;
  readonly statements: ReadonlyMap<string, FoundStatement>;
  readonly allStatements: boolean;
  /** How many statements there are under names of weir's own; undefined where that was not asked. */
  readonly ownStatements: number | undefined;
  readonly temp: boolean;
  readonly cursors: boolean;
  readonly locks: number;
  readonly channels: readonly string[];
}

/** Everything a full look finds out. */
export const everything =
  Effect.AllSettings | Effect.Role | Effect.Statements | Effect.Temp | Effect.Cursors | Effect.Locks | Effect.Listens;

/** Effects that only a look at the server can settle. */
export const lookedFor = everything | Effect.Unknown | Effect.Settings | Effect.ResetSettings;

/** The client may have put operators of its own before PostgreSQL's. */
const is = ' OPERATOR(pg_catalog.=) ';

function list(names: Iterable<string>): string {
  return `ANY(ARRAY[${[...names].map(asciiLiteral).join(',')}]::pg_catalog.text[])`;
}

/** PostgreSQL's own settings that any user may set, as far as they have been asked for: one set for all, since there are few. */
const everybodys = new Set<string>();

/** The rows' first column says what a row tells. */
const settingColumns =
  "pg_catalog.lower(s.name),pg_catalog.current_setting(s.name),pg_catalog.concat(s.source,' ',s.context) FROM pg_catalog.pg_settings s";

/** A statement in plain ASCII whose rows have four columns of text; `readProbe` reads them. */
export function probeQuery(plan: ProbePlan): string {
  const full = (plan.effects & Effect.Unknown) !== 0;
  const effects = full ? plan.effects | everything : plan.effects;
  const parts: string[] = [];
  const asked = [...plan.settings].filter(isReadBack);
  const named = asked.filter((name) => !name.includes('.'));
  // Listing settings costs the server a millisecond. A value alone is enough where nothing was reset and anybody may set it.
  const plain = Effect.ResetSettings | Effect.AllSettings;
  const quick = (effects & plain) === 0 && named.every((name) => everybodys.has(name));
  if ((effects & Effect.AllSettings) !== 0) {
    parts.push("SELECT 'all settings','','',''");
    const too = named.length > 0 ? ` OR pg_catalog.lower(s.name)${is}${list(named)}` : '';
    parts.push(`SELECT 'setting',${settingColumns} WHERE s.source${is}'session'${too}`);
  } else if (named.length > 0 && !quick) {
    parts.push(`SELECT 'setting',${settingColumns} WHERE pg_catalog.lower(s.name)${is}${list(named)}`);
  }
  for (const name of quick ? asked : asked.filter((each) => each.includes('.'))) {
    const literal = asciiLiteral(name);
    parts.push(`SELECT 'setting',${literal},pg_catalog.current_setting(${literal},true),'session user'`);
  }
  if ((effects & Effect.Role) !== 0) {
    parts.push(
      "SELECT 'role',pg_catalog.current_setting('role'),pg_catalog.current_setting('session_authorization')," +
        "CASE WHEN EXISTS(SELECT 1 FROM pg_catalog.pg_db_role_setting d,pg_catalog.unnest(d.setconfig) c WHERE pg_catalog.starts_with(c,'role=')) THEN 't' ELSE 'f' END",
    );
  }
  if ((effects & Effect.Statements) !== 0) {
    const all = full || plan.statements.size === 0;
    if (all) {
      parts.push(
        `SELECT 'all statements',pg_catalog.count(*)::pg_catalog.text,CASE WHEN pg_catalog.bool_or(o.from_sql) THEN 't' ELSE 'f' END,'' FROM pg_catalog.pg_prepared_statements o WHERE pg_catalog.starts_with(o.name,'${plan.ownPrefix}')`,
      );
    }
    const which = all
      ? `NOT pg_catalog.starts_with(p.name,'${plan.ownPrefix}')`
      : `p.name${is}${list(plan.statements)}`;
    parts.push(
      "SELECT 'statement',p.name,p.statement,pg_catalog.concat(pg_catalog.array_to_string(p.parameter_types::pg_catalog.oid[],','),CASE WHEN p.from_sql THEN ' s' ELSE ' p' END)" +
        ` FROM pg_catalog.pg_prepared_statements p WHERE ${which}`,
    );
  }
  if ((effects & Effect.Temp) !== 0) {
    parts.push(
      `SELECT 'temp','','','' WHERE EXISTS(SELECT 1 FROM pg_catalog.pg_depend d WHERE d.refclassid${is}'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid${is}pg_catalog.pg_my_temp_schema())`,
    );
  }
  if ((effects & Effect.Cursors) !== 0) {
    parts.push("SELECT 'cursor','','','' WHERE EXISTS(SELECT 1 FROM pg_catalog.pg_cursors c WHERE c.is_holdable)");
  }
  if ((effects & Effect.Locks) !== 0) {
    parts.push(
      `SELECT 'locks',pg_catalog.count(*)::pg_catalog.text,'','' FROM pg_catalog.pg_locks l WHERE l.locktype${is}'advisory' AND l.granted AND l.pid${is}pg_catalog.pg_backend_pid()`,
    );
  }
  if ((effects & Effect.Listens) !== 0) {
    parts.push("SELECT 'channel',c,'','' FROM pg_catalog.pg_listening_channels() c");
  }
  if (parts.length === 0) parts.push("SELECT 'nothing','','',''");
  return parts.join(' UNION ALL ');
}

/** Values are latin1 strings of the bytes the server sent. */
export function readProbe(rows: readonly (readonly (string | null)[])[]): Findings {
  const settings = new Map<string, FoundSetting>();
  const statements = new Map<string, FoundStatement>();
  const channels: string[] = [];
  const seen = new Set<string>();
  let role: Findings['role'];
  let locks = 0;
  let ownStatements: number | undefined;
  for (const [what, a, b, c] of rows) {
    seen.add(what ?? '');
    switch (what) {
      case 'setting': {
        const [source, context] = (c ?? '').split(' ');
        // Without a value: a name that nobody has set.
        if (context === 'user' && a !== null && a !== undefined && !a.includes('.')) everybodys.add(a);
        if (a !== null && a !== undefined && isReadBack(a) && b !== null && b !== undefined) {
          settings.set(a, {
            value: b,
            source: source === 'session' ? 'session' : 'reset',
            restricted: context !== 'user',
          });
        }
        break;
      }
      case 'role':
        role = { role: a ?? 'none', authorization: b ?? '', explicit: c === 't' };
        break;
      case 'statement': {
        const [types = '', from] = (c ?? '').split(' ');
        statements.set(a ?? '', {
          text: b ?? '',
          typeOids: types === '' ? [] : types.split(',').map(Number),
          fromSql: from === 's',
        });
        break;
      }
      case 'all statements':
        // One of them prepared by SQL is not weir's: whatever their number is, it is not right.
        ownStatements = b === 't' ? -1 : Number(a);
        break;
      case 'locks':
        locks = Number(a);
        break;
      case 'channel':
        channels.push(a ?? '');
        break;
      default:
    }
  }
  return {
    settings,
    allSettings: seen.has('all settings'),
    role,
    statements,
    allStatements: seen.has('all statements'),
    ownStatements,
    temp: seen.has('temp'),
    cursors: seen.has('cursor'),
    locks,
    channels,
  };
}
