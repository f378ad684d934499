// Settings of PostgreSQL that drivers ask for or set without being asked to: the console knows them so that drivers can connect.

/** What SHOW answers; SET of them is taken and ignored. */
const parameters: Readonly<Record<string, string>> = {
  client_encoding: 'UTF8',
  default_transaction_isolation: 'read committed',
  standard_conforming_strings: 'on',
  datestyle: 'ISO',
  timezone: 'GMT',
  extra_float_digits: '2',
};

/** @param name in any case */
export function sessionParameter(name: string): { readonly name: string; readonly value: string } | undefined {
  const lower = name.toLowerCase();
  const value = Object.hasOwn(parameters, lower) ? parameters[lower] : undefined;
  return value === undefined ? undefined : { name: lower, value };
}
