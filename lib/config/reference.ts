// Writes the reference of all settings and of the policy as Markdown, from their tables; config/README.md is its output.

import { auditReference } from './audit-reference.js';
import { renderPolicyReference } from './policy-reference.js';
import { defaultCell, tableRow, typeCell } from './reference-cells.js';
import { defaultFor, type Scope, type Setting } from './schema.js';
import { groups } from './settings.js';
import { sameValue } from './values.js';

const intro = `# Configuration

This page is written by the program from its table of settings; a test fails when the two differ.

\`weir FILE\` reads one file; \`weir check FILE\` only says what is wrong with it. A file ending in \`.ini\` is read as
PgBouncer reads it, every other file is TOML. Keys, meanings and units are PgBouncer's wherever it has the setting, so its
manual and the experience with it apply. [weir.example.toml](weir.example.toml) and
[pgbouncer.example.ini](pgbouncer.example.ini) are complete examples.

## TOML

\`\`\`toml
[weir]                    # global settings
pool_mode = "transaction"
auth_file = "userlist.txt"

[databases.app]           # what clients connect to as "app"
host = "db1.internal"
password = "\${APP_PASSWORD}"
user = "app"

[databases."*"]           # every other name
host = "db2.internal"

[users.reporting]         # what differs for one user
pool_size = 3

[policy]                  # who may run which statement: the last part of this page
\`\`\`

- \`\${NAME}\` in a text is replaced by the environment variable; one that is not set, or empty, is an error; \`$\${\` stands for
  the characters themselves. A text that holds a number or a flag counts as one, so \`pool_size = "\${POOL_SIZE}"\` works.
- Times are seconds, fractions allowed. Flags are \`true\` or \`false\` (\`1\` and \`0\` will do). Lists are arrays, or texts
  with commas.
- Names with characters other than letters, digits, \`_\` and \`-\` are quoted, as \`"*"\` is.
- The names \`pgbouncer\` and \`weir\` belong to the console and cannot be databases.
- An unknown key, a wrong type or a value out of range is an error that names file, line, key and what is allowed. Nothing
  is loaded then; at a RELOAD the running configuration stays.

## pgbouncer.ini

Sections \`[pgbouncer]\`, \`[databases]\` and \`[users]\`; comments start with \`;\` or \`#\` and take a whole line; \`%include FILE\`;
of repeated keys the last counts; databases and users are lines of \`key=value\` pairs, with single quotes around values
that hold spaces. All settings below work, weir's own too; \`\${NAME}\` is not replaced.

An existing pgbouncer.ini keeps its meaning: in an ini file these settings have PgBouncer's defaults instead of weir's:

INI_DEFAULTS

Authentication by \`hba\`, \`ldap\` or \`pam\` and the section \`[peers]\` are refused, because they are not supported yet. Some
contradictions that stop a TOML file (a \`min_pool_size\` above the pool size, an \`auth_query\` that nobody runs) are only warned
about, because PgBouncer starts with them.

## Which value counts

A user entry goes before a database entry, and that before the global value. Where a database has \`user\`, its pool takes
the settings of that user; \`client_idle_timeout\` and \`max_user_client_connections\` are always those of the user who logged in.

## Columns

*Where*: \`global\` is \`[weir]\` (\`[pgbouncer]\` in an ini file), \`database\` and \`user\` are entries of those sections. *Change*: \`reload\`
takes effect at RELOAD, SIGHUP or SET; \`restart\` when weir is started again. Entries of databases and users always follow a
reload. Settings marked * are weir's own; PgBouncer does not have them.
`;

const scopeWords: Readonly<Record<Scope, string>> = { weir: 'global', database: 'database', user: 'user' };

/** The whole page, ending in one line break. */
export function renderReference(): string {
  const parts = [intro.replace('INI_DEFAULTS', iniDefaults())];
  for (const [title, group] of Object.entries(groups)) {
    parts.push(title === 'Accepted without effect' ? renderNoEffect(title, group) : renderGroup(title, group));
    if (title === 'Audit trail') parts.push(auditReference);
  }
  parts.push(renderPolicyReference());
  return parts.join('\n');
}

function iniDefaults(): string {
  const rows: string[] = [];
  for (const group of Object.values<Readonly<Record<string, Setting>>>(groups)) {
    for (const [key, entry] of Object.entries(group)) {
      const ini = defaultFor(entry, 'ini');
      if (sameValue(ini, entry.default)) continue;
      rows.push(tableRow([`\`${key}\``, defaultCell(entry.type, ini), defaultCell(entry.type, entry.default)]));
    }
  }
  return ['| key | ini file | TOML |', '|---|---|---|', ...rows].join('\n');
}

function renderGroup(title: string, group: Readonly<Record<string, Setting>>): string {
  const rows = Object.entries(group).map(([key, entry]) => {
    const mark = entry.origin === 'weir' ? ' *' : '';
    const where = entry.scopes.map((scope) => scopeWords[scope]).join(', ');
    const change = entry.scopes.includes('weir') ? entry.change : 'reload';
    const cells = [
      `\`${key}\`${mark}`,
      typeCell(entry.type),
      defaultCell(entry.type, entry.default),
      where,
      change,
      entry.doc,
    ];
    return tableRow(cells);
  });
  return [
    `## ${title}`,
    '',
    '| key | type | default | where | change | meaning |',
    '|---|---|---|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}

function renderNoEffect(title: string, group: Readonly<Record<string, Setting>>): string {
  const rows = Object.entries(group).map(([key, entry]) =>
    tableRow([`\`${key}\``, typeCell(entry.type), defaultCell(entry.type, entry.default), entry.noEffect ?? '']),
  );
  return [
    `## ${title}`,
    '',
    'PgBouncer has these settings and its files may set them. They are checked, listed by SHOW CONFIG and otherwise ignored;',
    'a value other than the default is warned about.',
    '',
    '| key | type | default | why |',
    '|---|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}
