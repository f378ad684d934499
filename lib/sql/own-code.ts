// Whether an operator or a type goes by a name that PostgreSQL itself has not given: then there may be a function behind it that nobody has read.

import { type Node, nameParts } from './tree.js';

const operators: ReadonlySet<string> = new Set(
  [
    '+ - * / % ^ |/ ||/ @ & | # ~ << >> = <> != < > <= >= || && @> <@ -> ->> #> #>> #- ? ?| ?& @? @@ @@@ <-> ^@ !!',
    '~~ ~~* !~~ !~~* ~ ~* !~ !~* ~=~ ~<~ ~<=~ ~>~ ~>=~ *= *<> *< *> *<= *>= <<= >>= <<| |>> &< &> &<| |&> -|- <^ >^ ?# ?- ?-| ?|| ~=',
  ].flatMap((line) => line.split(' ')),
);

/** Those that are in constant use; another one is as if it were somebody's own. */
const types: ReadonlySet<string> = new Set(
  [
    'bool int2 int4 int8 float4 float8 numeric money text varchar bpchar char name bytea bit varbit uuid json jsonb jsonpath xml oid void',
    'date time timetz timestamp timestamptz interval inet cidr macaddr macaddr8 point line lseg box path polygon circle tsvector tsquery',
    'regclass regtype regproc regprocedure regrole regnamespace regconfig regdictionary regoper regoperator xid xid8 cid tid pg_lsn',
    'int4range int8range numrange tsrange tstzrange daterange int4multirange int8multirange nummultirange tsmultirange tstzmultirange datemultirange',
    'record anyelement anyarray unknown serial bigserial smallserial serial2 serial4 serial8 cstring',
  ].flatMap((line) => line.split(' ')),
);

/** Of an A_Expr, or of what else names an operator. `BETWEEN` and the like are words. */
export function isOwnOperator(name: unknown): boolean {
  const parts = nameParts(name);
  const last = parts.at(-1);
  if (last === undefined) return false;
  if (parts.length > 1 && parts[0] !== 'pg_catalog') return true;
  return !operators.has(last) && !/^[A-Z ]+$/.test(last);
}

/** Of a TypeName. */
export function isOwnType(type: Node): boolean {
  const parts = nameParts(type['names']);
  const last = parts.at(-1);
  if (last === undefined) return false;
  if (parts.length > 1 && parts[0] !== 'pg_catalog') return true;
  return !types.has(last);
}
