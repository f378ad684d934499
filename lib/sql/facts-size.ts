// How much memory the facts of a text take, about: what one client can make weir keep is counted by it.

import type { StatementDeeds } from './deeds.js';
import type { ParsedFacts } from './facts.js';

/** Measured with texts of a thousand of each, and rounded up: names of 63 bytes are in it. */
const factsBytes = 1_024;
const nameBytes = 96;
const hazardBytes = 256;
const statementBytes = 1_280;
const actBytes = 640;
const relationBytes = 320;
const columnBytes = 448;
const calledBytes = 256;

/** Of the facts and of what is decided by them and kept as long as they are, in bytes. */
export function bytesOfFacts({ kinds, tables, columns, functions, hazards, deeds }: ParsedFacts): number {
  const names = kinds.length + tables.length * 2 + columns.length + functions.length;
  let bytes = factsBytes + names * nameBytes + hazards.length * hazardBytes;
  for (const statement of deeds?.statements ?? []) bytes += bytesOfDeeds(statement);
  return bytes;
}

function bytesOfDeeds(statement: StatementDeeds): number {
  const { acts, kinds, relations, functions, operators, columns, attributes, columnNames, executes } = statement;
  const names = kinds.size + attributes.size + columnNames.size + executes.length;
  return (
    statementBytes +
    names * nameBytes +
    acts.length * actBytes +
    relations.length * relationBytes +
    columns.length * columnBytes +
    (functions.length + operators.length) * calledBytes
  );
}
