// Reads from a segment what statements its clients ran: for learning from it, not for proving anything.

import { lineBytesMax } from './statement-text.js';

/** One record; of two about one statement, the first. */
export interface AuditedStatement {
  readonly user: string;
  readonly verdict: string;
  /** null where the trail does not have the text, or not all of it. */
  readonly sql: string | null;
}

export async function* statementsOf(source: AsyncIterable<Buffer>): AsyncIterable<AuditedStatement> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of source) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const statement = parsed(line);
      if (statement !== undefined) yield statement;
    }
    if (rest.length > lineBytesMax) return;
  }
}

/** undefined for lines about something else. */
function parsed(line: string): AuditedStatement | undefined {
  let record: unknown;
  try {
    record = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof record !== 'object' || record === null) return undefined;
  const { event, user, verdict, sql, sql_bytes: whole } = record as Readonly<Record<string, unknown>>;
  if ((event !== 'statement' && event !== 'begin') || typeof user !== 'string' || typeof verdict !== 'string') {
    return undefined;
  }
  return { user, verdict, sql: typeof sql === 'string' && whole === undefined ? sql : null };
}
