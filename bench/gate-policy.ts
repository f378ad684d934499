// A policy as large as they get: rules that a select of pgbench meets one after the other, and none that denies it.

/** What `policy` files hold. Deny rules on tables make it look names up; the last of the kinds wants columns. */
export function gatePolicy(rules: number): string {
  const kinds = [
    (i: number) => `tables = ["private.table_${i}", "*.secret_${i}*"]\nverdict = "deny"`,
    (i: number) => `statements = ["delete", "update"]\ntables = ["public.ledger_${i}"]\nrequire = ["where"]`,
    (i: number) => `functions = ["tools.*_${i}"]\nverdict = "deny"`,
    (i: number) => `roles = ["other"]\nstatements = ["select"]\ntables = ["public.wide_${i}"]\nverdict = "deny"`,
    (i: number) => `columns = ["public.customers.column_${i}"]\nverdict = "deny"`,
  ];
  const blocks = Array.from({ length: rules }, (_, i) => {
    const kind = kinds[i % kinds.length] as (typeof kinds)[number];
    return `[[policy.rules]]\nname = "rule-${i}"\n${kind(i)}\n`;
  });
  return `[policy]
mode = "enforce"
default = "allow"
unknown = "deny"
[policy.roles.other]
users = ["somebody else"]
${blocks.join('')}`;
}
