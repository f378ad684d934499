// Writes the part of the reference about the policy, from its table of keys.

import { type PolicyKey, type PolicyKeys, policyTables } from './policy-keys.js';
import { defaultCell, tableRow, typeCell } from './reference-cells.js';

const intro = `## The policy

\`[policy]\` says who may run which statement. It stands in the weir.toml, or in a file of its own that \`policy_file\` names (the
only way with a pgbouncer.ini). [examples](examples) has four to begin with.

\`\`\`toml
[policy]
mode = "enforce"
default = "allow"                      # what no rule decides

[policy.roles.deployers]               # who: everyone for whom all keys fit
users = ["deploy_*"]
networks = ["10.1.0.0/16", "unix"]

[[policy.rules]]                       # what they may do
name = "no-drop"
except = ["deployers"]
statements = ["drop_table", "truncate"]
verdict = "deny"
hint = "Ask the deployers."

[[policy.masks]]                       # what they see
columns = ["*.users.email"]
with = "email"
\`\`\`

- An error in a policy is one in the configuration: nothing is loaded, and at a RELOAD everything stays as it was.
- In patterns \`*\` stands for any characters. Names of tables, columns and functions have all their parts, \`public.orders\` or
  \`*.orders\`; as in SQL they are lower-cased, and a part in double quotes is taken as it is.
- Lists, \`\${NAME}\` and times are written as in the settings.
`;

const kinds = `### Statements

| group | what is in it |
|---|---|
| \`read\` | \`select\`, \`show\`, \`explain\`, \`declare\`, \`fetch\`, \`close\`, \`copy_to\` |
| \`write\` | \`insert\`, \`update\`, \`delete\`, \`merge\`, \`truncate\`, \`copy_from\` |
| \`copy\` | \`copy_to\`, \`copy_from\`, \`copy_program\`, \`copy_file\` |
| \`ddl\` | \`create_\`, \`alter_\` and \`drop_\` with each of \`table\`, \`view\`, \`index\`, \`function\`, \`schema\`, \`role\`, \`database\`, \`extension\`, \`trigger\`, \`rule\`, \`policy\`, \`sequence\`, \`type\`, \`domain\`, \`server\`, \`publication\`, \`subscription\`, \`event_trigger\`, \`tablespace\`, \`cast\`, \`operator\`, \`aggregate\`, \`other\`; \`create_table_as\`, \`grant\`, \`revoke\`, \`comment\`, \`security_label\`, \`reassign_owned\`, \`drop_owned\`, \`rename\`, \`import_foreign_schema\` |
| \`any\`, \`*\` | everything |

In no group but the last: \`select_into\`, \`select_for_update\`, \`explain_analyze\`, \`call\`, \`do\`, \`lock\`, \`prepare\`, \`execute\`,
\`deallocate\`, \`listen\`, \`unlisten\`, \`notify\`, \`transaction\`, \`savepoint\`, \`set\`, \`reset\`, \`discard\`, \`load\`, \`vacuum\`,
\`cluster\`, \`reindex\`, \`refresh\`, \`checkpoint\`, \`alter_system\`, \`function_call\` (the protocol's) and \`replication\`. \`set\` is SET,
RESET and set_config of any setting; \`set_\` and a name, such as \`set_role\` or \`set_search_path\`, those of one.

### What is hidden with a table

Where a mask applies to a role, a rule denies it tables or columns, or everything is denied that no rule allows, weir refuses what it
cannot see into:
- A view, a parent or a partitioned table is what it touches: one denied or masked part of it denies the whole, unless a rule
  allows it by its name. A foreign table, and a view that calls a function that is not PostgreSQL's own, need such a rule, or the
  function one that allows \`functions\`.
- \`listen\` shows what triggers notify, and needs a rule that names it.
- A relation that weir does not know is refused until it has looked again. A temporary table counts once the server has it; in
  the middle of a batch, or of a transaction for other new tables, nobody can be asked.
- What PostgreSQL keeps from ordinary users is refused. In \`pg_settings\`, \`pg_subscription\`, \`pg_foreign_server\`, \`pg_roles\` and
  their like, passwords, options and settings of roles are null, and so are, for hidden tables, defaults, partition bounds and expressions of
  indexes and constraints in \`pg_attribute\`, \`pg_attrdef\`, \`pg_class\`, \`pg_constraint\`, \`pg_index\` and \`information_schema.columns\`.
  \`SHOW\` and \`current_setting\` refuse settings that only superusers see, and commands of the archive, as well as \`SHOW ALL\`, unless a rule
  allows the function \`pg_catalog.current_setting\`.
- What \`pg_get_constraintdef\`, \`pg_get_indexdef\` and other functions say of a definition is not hidden: psql's \`\\d\` needs them.
`;

export function renderPolicyReference(): string {
  const tables = Object.values<{ readonly title: string; readonly keys: PolicyKeys }>(policyTables);
  return [intro, ...tables.map(({ title, keys }) => renderTable(title, keys)), kinds].join('\n');
}

function renderTable(title: string, keys: PolicyKeys): string {
  const rows = Object.entries(keys).map(([key, entry]) =>
    tableRow([`\`${key}\``, typeCell(entry.type), defaultOf(entry), entry.doc]),
  );
  return [`### ${title}`, '', '| key | type | default | meaning |', '|---|---|---|---|', ...rows, ''].join('\n');
}

function defaultOf({ type, default: preset, required }: PolicyKey): string {
  if (required) return 'required';
  return preset === undefined ? 'not set' : defaultCell(type, preset);
}
