// What a random program consists of: steps of clients, what is known beforehand of what they leave, and how they are printed.

/** What a statement may leave behind, as bits: more than it does leave behind, never less. */
export const Trace = {
  None: 0,
  /** May hold a server until `checkSql` shows that nothing is left. */
  Holds: 1,
  /** May hold a server until the client leaves. */
  HoldsOn: 2,
  /** May notify when its transaction ends. */
  Notifies: 4,
  /** May listen from the end of its transaction. */
  Listens: 8,
  /** May have taken a value from a sequence. */
  TakesNext: 16,
  /** Asks for the value taken last. */
  Asks: 32,
  /** Nobody can tell from the text what it does: where sequences pin, it may have taken a value. */
  Unclear: 64,
} as const;

export type Message =
  | { readonly say: 'query'; readonly text: string }
  | { readonly say: 'parse'; readonly name: string; readonly text: string }
  | { readonly say: 'bind'; readonly name: string; readonly portal: string; readonly values: readonly string[] }
  | { readonly say: 'describe' | 'close'; readonly of: 'S' | 'P'; readonly name: string }
  | { readonly say: 'execute'; readonly portal: string; readonly rows: number }
  | { readonly say: 'sync' | 'flush' };

export type Act =
  /** All in one write. The last one is a Sync or a Query. */
  | { readonly kind: 'send'; readonly messages: readonly Message[] }
  /** Leaves, if it is there, and comes (back). */
  | {
      readonly kind: 'connect';
      readonly leaving: 'end' | 'vanish';
      readonly parameters: Readonly<Record<string, string>>;
    };

export interface Step {
  readonly client: number;
  readonly act: Act;
  readonly trace: number;
  /** Statement names given, with the trace that each use of them will have. */
  readonly names?: readonly (readonly [name: string, trace: number])[] | undefined;
  /** Statement names used. */
  readonly uses?: readonly string[] | undefined;
}

/** A statement that shows three zeros when nothing is left that only this server has. */
export const checkSql =
  'select (select count(*) from pg_catalog.pg_class where relnamespace = pg_catalog.pg_my_temp_schema())' +
  ' + (select count(*) from pg_catalog.pg_proc where pronamespace = pg_catalog.pg_my_temp_schema()) as temp,' +
  " (select count(*) from pg_catalog.pg_locks where locktype = 'advisory' and pid = pg_catalog.pg_backend_pid()) as locks," +
  ' (select count(*) from pg_catalog.pg_cursors where is_holdable) as cursors';

/** What `checkSql` answers then. */
export const nothingLeft = 'D 0|0|0';

export function printStep({ client, act }: Step): string {
  return `c${client}  ${printAct(act)}`;
}

function printAct(act: Act): string {
  switch (act.kind) {
    case 'send':
      return act.messages.map(printMessage).join(' ; ');
    case 'connect':
      return `(${act.leaving}, connect) ${JSON.stringify(act.parameters)}`;
    default:
      return act satisfies never;
  }
}

function printMessage(message: Message): string {
  switch (message.say) {
    case 'query':
      return message.text === checkSql ? 'Query (what is left)' : `Query {${message.text}}`;
    case 'parse':
      return `Parse "${message.name}" {${message.text}}`;
    case 'bind':
      return `Bind "${message.name}"${message.portal === '' ? '' : ` portal "${message.portal}"`} ${JSON.stringify(message.values)}`;
    case 'describe':
      return `Describe ${message.of} "${message.name}"`;
    case 'close':
      return `Close ${message.of} "${message.name}"`;
    case 'execute':
      return `Execute "${message.portal}"${message.rows === 0 ? '' : ` ${message.rows} rows`}`;
    case 'sync':
      return 'Sync';
    case 'flush':
      return 'Flush';
    default:
      return message satisfies never;
  }
}
