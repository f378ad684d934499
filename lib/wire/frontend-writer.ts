// Messages weir says to servers. Small fixed ones are built by pg-protocol; those that carry a client's bytes are built here.

import { serialize } from 'pg-protocol/dist/index.js';
import { Frontend } from './tags.js';

/** A Query whose text is a latin1 string: bytes pass as they are. */
export function queryMessage(sql: string): Buffer {
  const frame = Buffer.allocUnsafe(6 + sql.length);
  frame[0] = Frontend.Query;
  frame.writeInt32BE(5 + sql.length, 1);
  frame.write(sql, 5, 'latin1');
  frame[frame.length - 1] = 0;
  return frame;
}

/** A Parse with a new name in front of the query and parameter types of another, which stay as they are. */
export function parseMessage(name: string, queryAndTypes: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(6 + name.length + queryAndTypes.length);
  frame[0] = Frontend.Parse;
  frame.writeInt32BE(frame.length - 1, 1);
  frame.write(name, 5, 'latin1');
  frame[5 + name.length] = 0;
  queryAndTypes.copy(frame, 6 + name.length);
  return frame;
}

/** What a Parse has behind the name: the text, its terminator and the types of the parameters. */
export function statementBody(text: Buffer, typeOids: readonly number[]): Buffer {
  const body = Buffer.allocUnsafe(text.length + 3 + 4 * typeOids.length);
  text.copy(body);
  body[text.length] = 0;
  body.writeInt16BE(typeOids.length, text.length + 1);
  for (const [index, oid] of typeOids.entries()) body.writeUInt32BE(oid, text.length + 3 + 4 * index);
  return body;
}

/**
 * The beginning of a Bind up to and including the statement's name, for a frame whose statement gets another name.
 * @param bodyAfterNames bytes that will follow: those after the old name's terminator
 */
export function bindPrefix(portal: Buffer, statement: string, bodyAfterNames: number): Buffer {
  const prefix = Buffer.allocUnsafe(5 + portal.length + 1 + statement.length + 1);
  prefix[0] = Frontend.Bind;
  prefix.writeUInt32BE(prefix.length - 1 + bodyAfterNames, 1);
  portal.copy(prefix, 5);
  prefix[5 + portal.length] = 0;
  prefix.write(statement, 6 + portal.length, 'latin1');
  prefix[prefix.length - 1] = 0;
  return prefix;
}

/** Bind without parameters and Execute, of a named statement. */
export function runStatementMessages(name: string): Buffer {
  return Buffer.concat([serialize.bind({ statement: name }), serialize.execute()]);
}

export function describeStatementMessage(name: string): Buffer {
  return serialize.describe({ type: 'S', name });
}

export function closeStatementMessage(name: string): Buffer {
  return serialize.close({ type: 'S', name });
}

export const flushMessage: Buffer = serialize.flush();
export const syncMessage: Buffer = serialize.sync();
export const terminateMessage: Buffer = serialize.end();

/** A PasswordMessage: a clear or md5 password. */
export function passwordMessage(password: string): Buffer {
  return serialize.password(password);
}

/** SASLInitialResponse. pg-protocol takes the payload as a string; SCRAM's are ASCII but for SASLprep'd names, which PostgreSQL ignores. */
export function saslInitialResponse(mechanism: string, payload: Buffer): Buffer {
  return serialize.sendSASLInitialResponseMessage(mechanism, payload.toString('utf8'));
}

export function saslResponse(payload: Buffer): Buffer {
  return serialize.sendSCRAMClientFinalMessage(payload.toString('utf8'));
}

/** Ends a COPY from stdin with an error. */
export function copyFailMessage(reason: string): Buffer {
  return serialize.copyFail(reason);
}

/** A Query with its text in UTF-8, for weir's own statements. */
export function ownQueryMessage(sql: string): Buffer {
  return serialize.query(sql);
}

/** Parse, Bind, Describe, Execute and Sync of one parameterised statement, for weir's own look-ups. */
export function ownParameterisedQuery(sql: string, values: readonly string[]): Buffer {
  return Buffer.concat([
    serialize.parse({ text: sql }),
    serialize.bind({ values: [...values] }),
    serialize.describe({ type: 'P' }),
    serialize.execute(),
    serialize.sync(),
  ]);
}

/** Bind, Execute and the Close of a portal within a batch that goes on, of a prepared statement without parameters. */
export function ownBoundWithin(statement: string, portal: string): Buffer {
  return Buffer.concat([
    serialize.bind({ statement, portal }),
    serialize.execute({ portal }),
    serialize.close({ type: 'P', name: portal }),
  ]);
}

/** Parse, Bind, Execute and the Closes of a statement within a batch that goes on: it and its portal have a name of their own. */
export function ownStatementWithin(name: string, body: Buffer): Buffer {
  return Buffer.concat([
    parseMessage(name, body),
    serialize.bind({ statement: name, portal: name }),
    serialize.execute({ portal: name }),
    serialize.close({ type: 'P', name }),
    serialize.close({ type: 'S', name }),
  ]);
}

/** A statement of weir's own with values, in the place of one of the same name: Close, Parse, Bind, Execute and the Closes. */
export function ownBoundStatement(name: string, body: Buffer, values: Buffer): Buffer {
  return Buffer.concat([
    serialize.close({ type: 'S', name }),
    parseMessage(name, body),
    bindPrefix(Buffer.from(name, 'latin1'), name, values.length),
    values,
    serialize.execute({ portal: name }),
    serialize.close({ type: 'P', name }),
    serialize.close({ type: 'S', name }),
  ]);
}
