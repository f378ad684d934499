// Draws the next step of a client: which statements, and by which messages they are sent.

import {
  drawName,
  forgettingName,
  fragileNames,
  isFragile,
  type Kind,
  type Piece,
  pieces,
  protocolPreparable,
  quote,
  type Scene,
  weights,
} from './pieces.js';
import { type Act, type Message, Trace } from './steps.js';

/** What a client's user would remember. */
export interface Memory {
  /** Values a statement was meant to be executed with, by its name. */
  readonly values: Map<string, readonly string[]>;
  readonly believed: Set<string>;
  /** Names that SQL has prepared or deallocated in the open transaction. */
  readonly unsettled: Set<string>;
  /** Of the unnamed statement, if it may be one that cannot be prepared any more. */
  fragileValues: readonly string[] | undefined;
}

export function newMemory(): Memory {
  return { values: new Map(), believed: new Set(), unsettled: new Set(), fragileValues: undefined };
}

interface Draft {
  readonly messages: Message[];
  readonly names: (readonly [string, number])[];
  readonly uses: string[];
  readonly believed: Set<string>;
  readonly unsettled: Set<string>;
  trace: number;
}

export interface Drawn {
  readonly act: Act;
  readonly trace: number;
  readonly names?: readonly (readonly [string, number])[] | undefined;
  readonly uses?: readonly string[] | undefined;
}

type Way = 'ending' | 'query' | 'unnamed' | 'named' | 'portal' | 'multi' | 'pipeline';

export function drawStep(scene: Scene, memory: Memory): Drawn {
  const { random, has, status } = scene;
  // An aborted transaction is soon ended: nothing else happens in it.
  const ending = status === 'E' && has('transactions') && !random.oneIn(4);
  const simple = status === 'E' && !has('aborted');
  const { believed, unsettled } = memory;
  if (status === 'I') unsettled.clear();
  const draft: Draft = { messages: [], names: [], uses: [], believed, unsettled, trace: 0 };
  const way = random.weighted<Way>([
    [ending ? 1_000 : 0, 'ending'],
    [10, 'query'],
    [simple ? 0 : 4, 'unnamed'],
    [has('statements') && !simple ? 7 : 0, 'named'],
    [has('statements') && status === 'T' ? 2 : 0, 'portal'],
    [has('multi') && status !== 'E' ? 3 : 0, 'multi'],
    [has('pipelines') && !simple ? 3 : 0, 'pipeline'],
  ]);
  switch (way) {
    case 'ending':
      query(draft, [pieces.transactions(scene)]);
      break;
    case 'query':
      query(draft, [drawPiece(scene)]);
      break;
    case 'multi':
      query(draft, several(scene));
      break;
    case 'unnamed':
      unnamed(draft, scene, memory, drawPiece(scene));
      draft.messages.push({ say: 'sync' });
      break;
    case 'named':
      named(draft, scene, memory, 'alone');
      draft.messages.push({ say: 'sync' });
      break;
    case 'portal':
      portal(draft, scene, memory);
      draft.messages.push({ say: 'sync' });
      break;
    case 'pipeline':
      pipeline(draft, scene, memory);
      break;
    default:
      way satisfies never;
  }
  const { messages, names, uses, trace } = draft;
  // What such a name stands for only its server knows: weir takes a use of it for anything.
  const unclearUse = messages.some((message) => 'name' in message && unsettled.has(message.name));
  return {
    act: { kind: 'send', messages },
    trace: unclearUse ? trace | Trace.Unclear : trace,
    names: names.length > 0 ? names : undefined,
    uses: uses.length > 0 ? uses : undefined,
  };
}

function drawPiece(scene: Scene): Piece {
  const { random, has } = scene;
  const kinds = (Object.keys(pieces) as (keyof typeof pieces)[]).filter((kind: Kind) => kind === 'data' || has(kind));
  return pieces[random.weighted(kinds.map((kind) => [weights[kind], kind] as const))](scene);
}

/**
 * What goes back to the values the session began with, or lists its statements, is exact from the next message on only: a
 * documented limit. So it comes with no others in one message or batch. Neither does what must come before any query: a Parse
 * that weir answers without a server is none; nor EXECUTE in code nobody reads, for which all names have to stand for what they
 * are, also those that cannot be prepared any more; nor a table that takes the place of one that such a statement reads.
 */
const alone =
  /\b(reset|discard all|deallocate|default|pg_prepared_statements|schema|search_path)\b|set_config|^(set|start) transaction isolation|^do .*execute|^execute "?f\d|\bshadowed\b/i;

function drawCompanion(scene: Scene): Piece {
  for (;;) {
    const piece = drawPiece(scene);
    if (!alone.test(piece.sql)) return companion(piece);
  }
}

/**
 * The same of what is drawn too often to be drawn anew. TIME ZONE LOCAL is a RESET; for a PREPARE nobody can read all names have
 * to stand for what they are; and whether CALL may COMMIT behind an empty statement hangs on what weir runs between them.
 */
function companion(piece: Piece): Piece {
  const sql = piece.sql
    .replace(/ time zone local$/, " time zone 'Asia/Tokyo'")
    .replace(/^prepare .* as (?=selec )/, '')
    .replace(/^call p_commit/, 'call p_set');
  return sql === piece.sql ? piece : { ...piece, sql };
}

function several(scene: Scene): Piece[] {
  const drawn: Piece[] = [];
  let took = false;
  for (let left = 2 + scene.random.below(3); left > 0; left--) {
    const piece = drawCompanion(scene);
    const trace = piece.trace ?? 0;
    if (took && !scene.sequencesPin && (trace & Trace.Asks) !== 0) continue;
    // What is committed in the same Query before the LISTEN is heard already.
    if (/\blisten\b/i.test(piece.sql) && drawn.some(({ sql }) => /^(commit|end)\b/i.test(sql))) continue;
    took ||= (trace & Trace.TakesNext) !== 0;
    drawn.push(piece);
  }
  return drawn;
}

/** What does not parse, runs other code, may take a default from a sequence, or comes behind something that may change how it is read. */
const unclear =
  /selec |into temp|\b(do|call|explain|execute|insert|copy|nextval|setval)\b|\b(f|p|tf)_?\w*\(|\bnames\b|encoding|standard_conforming|end \$\$/i;

function traceOf({ sql, trace = 0 }: Piece): number {
  return unclear.test(sql) ? trace | Trace.Unclear : trace;
}

function note(draft: Draft, piece: Piece): void {
  const { sql, names, uses, makes, ends } = piece;
  draft.trace |= traceOf(piece);
  noteNames(draft, { names, uses, makes, ends });
  for (const name of bySql.test(sql) ? [makes, ends] : []) if (name !== undefined) draft.unsettled.add(name);
}

const bySql = /^(prepare|deallocate) /;

interface Noted {
  readonly names: Piece['names'] | undefined;
  readonly uses: Piece['uses'] | undefined;
  readonly makes: string | undefined;
  readonly ends: string | undefined;
}

function noteNames(draft: Draft, { names, uses, makes, ends }: Noted): void {
  if (makes !== undefined) draft.believed.add(makes);
  if (ends === '*') draft.believed.clear();
  else if (ends !== undefined) draft.believed.delete(ends);
  if (names !== undefined) draft.names.push(...names);
  if (uses !== undefined) draft.uses.push(...uses);
}

function inlined({ sql, values }: Piece): string {
  if (values === undefined) return sql;
  return sql.replace(/\$(\d)/g, (_, index: string) => quote(values[Number(index) - 1] ?? ''));
}

function query(draft: Draft, of: readonly Piece[]): void {
  for (const piece of of) note(draft, piece);
  draft.messages.push({ say: 'query', text: of.map(inlined).join('; ') });
}

function run(draft: Draft, scene: Scene, name: string, values: readonly string[], describes = true): void {
  draft.messages.push({ say: 'bind', name, portal: '', values });
  if (describes && scene.random.oneIn(2)) draft.messages.push({ say: 'describe', of: 'P', name: '' });
  if (scene.random.oneIn(12)) draft.messages.push({ say: 'flush' });
  draft.messages.push({ say: 'execute', portal: '', rows: scene.random.oneIn(10) ? 1 : 0 });
}

function unnamed(draft: Draft, scene: Scene, memory: Memory, piece: Piece): void {
  note(draft, piece);
  memory.fragileValues = isFragile(piece) ? (piece.values ?? []) : undefined;
  draft.names.push(['', traceOf(piece)]);
  draft.messages.push({ say: 'parse', name: '', text: piece.sql });
  // That an EXECUTE names a statement whose table is gone is told when it runs, not when it is described: a documented limit.
  run(draft, scene, '', piece.values ?? [], !executesFragile.test(piece.sql));
}

const executesFragile = /execute "f\d"/;

function parse(draft: Draft, scene: Scene, memory: Memory, name: string): void {
  let piece = protocolPreparable(scene, isFragileName(name));
  // It may be run in one batch with others later.
  while (!isFragileName(name) && alone.test(piece.sql)) piece = protocolPreparable(scene, false);
  if (!isFragileName(name)) piece = companion(piece);
  const { names, uses } = piece;
  noteNames(draft, { names, uses, makes: undefined, ends: undefined });
  // Weir may count one that cannot be read when it is prepared.
  draft.trace |= traceOf(piece) & Trace.Unclear;
  draft.names.push([name, traceOf(piece)]);
  if (name !== '') draft.believed.add(name);
  else memory.fragileValues = undefined;
  memory.values.set(name, piece.values ?? []);
  draft.messages.push({ say: 'parse', name, text: piece.sql });
}

function isFragileName(name: string): boolean {
  return (fragileNames as readonly string[]).includes(name);
}

function valuesFor({ random, has }: Scene, memory: Memory, name: string): readonly string[] {
  if (isFragileName(name)) return [];
  const meant = memory.values.get(name) ?? [];
  const values = has('mismatch') && random.oneIn(12) ? random.pick([[], ['1'], ['1', '2']]) : meant;
  // That it cannot be prepared any more weir tells before a wrong number of values: a documented limit.
  return name === '' ? (memory.fragileValues ?? values) : values;
}

function execute(draft: Draft, scene: Scene, memory: Memory, name: string): void {
  draft.uses.push(name);
  run(draft, scene, name, valuesFor(scene, memory, name));
}

/** Takes the names of messages behind it as well: in a batch of its own. */
function forgetting(draft: Draft, scene: Scene): void {
  const { random, believed } = scene;
  if (!believed.has(forgettingName) || random.oneIn(4)) {
    const text = random.pick(['discard all', 'deallocate all']);
    draft.names.push([forgettingName, 0]);
    draft.believed.add(forgettingName);
    draft.messages.push({ say: 'parse', name: forgettingName, text });
    if (random.oneIn(2)) return;
  }
  noteNames(draft, { names: undefined, uses: [forgettingName], makes: undefined, ends: '*' });
  run(draft, scene, forgettingName, []);
}

function named(draft: Draft, scene: Scene, memory: Memory, place: 'alone' | 'pipeline'): void {
  const { random, believed } = scene;
  if (place === 'alone' && scene.has('discard') && random.oneIn(12)) {
    forgetting(draft, scene);
    return;
  }
  const fragile = random.oneIn(4);
  const there = random.oneIn(8) ? '' : drawName(scene, 'there', fragile);
  const free = random.oneIn(8) ? '' : drawName(scene, 'free', fragile);
  const [make, use] = there === '' || believed.has(there) ? [1, 3] : [4, 1];
  const way = random.weighted([
    [2 * make, 'parse'],
    [3 * use, 'execute'],
    [2 * make, 'both'],
    // PostgreSQL tells the parameters before it looks for the table.
    // An unnamed BEGIN that weir has put off is prepared when it is described, which a failed transaction does not allow.
    [fragile || (there === '' && scene.status === 'E') ? 0 : 1, 'describe'],
    [use, 'close'],
    [use, 'anew'],
  ] as const);
  switch (way) {
    case 'parse':
      parse(draft, scene, memory, free);
      if (random.oneIn(2)) draft.messages.push({ say: 'describe', of: 'S', name: free });
      break;
    case 'execute':
      execute(draft, scene, memory, there);
      break;
    case 'both':
      parse(draft, scene, memory, free);
      execute(draft, scene, memory, free);
      break;
    case 'describe':
      // A failed transaction lets weir prepare nothing to be described: a documented limit.
      if (scene.status !== 'E') draft.messages.push({ say: 'describe', of: 'S', name: there });
      break;
    case 'close':
      draft.messages.push({ say: 'close', of: 'S', name: there });
      draft.believed.delete(there);
      break;
    case 'anew':
      draft.messages.push({ say: 'close', of: 'S', name: there });
      parse(draft, scene, memory, there);
      execute(draft, scene, memory, there);
      break;
    default:
      way satisfies never;
  }
}

/** A portal lives as long as its transaction: over several Syncs only inside one. */
function portal(draft: Draft, scene: Scene, memory: Memory): void {
  const { random, has } = scene;
  const name = drawName(scene, 'there', random.oneIn(4));
  const open = has('cursors') && random.oneIn(4) ? random.pick(['h1', 'h2']) : 'p1';
  switch (random.below(5)) {
    case 0:
    case 1:
      draft.uses.push(name);
      draft.messages.push({ say: 'bind', name, portal: 'p1', values: valuesFor(scene, memory, name) });
      draft.messages.push({ say: 'execute', portal: 'p1', rows: 1 + random.below(2) });
      break;
    case 2:
      draft.messages.push({ say: 'execute', portal: open, rows: random.below(3) });
      break;
    case 3:
      draft.messages.push({ say: 'describe', of: 'P', name: open });
      break;
    case 4:
      draft.messages.push({ say: 'close', of: 'P', name: open });
      break;
  }
}

function pipeline(draft: Draft, scene: Scene, memory: Memory): void {
  const { random, has } = scene;
  for (const piece of several(scene)) {
    if (has('statements') && random.oneIn(3)) named(draft, scene, memory, 'pipeline');
    else unnamed(draft, scene, memory, piece);
    if (has('syncs') && random.oneIn(8)) draft.messages.push({ say: 'sync' });
  }
  draft.messages.push({ say: 'sync' });
  // After an error everything up to the Sync is skipped, a Query too.
  if (has('syncs') && random.oneIn(8)) query(draft, [drawCompanion(scene)]);
}

const startups: readonly Readonly<Record<string, string>>[] = [
  { application_name: "some app's" },
  { options: '-c work_mem=6MB -c app.x=from_options' },
  { TimeZone: 'Asia/Tokyo', DateStyle: 'ISO, DMY' },
  { search_path: 'sb, public' },
  { options: '-c default_transaction_read_only=on' },
  { 'app.y': 'at startup', statement_timeout: '123456' },
  { IntervalStyle: 'iso_8601', extra_float_digits: '0' },
];
const refusedStartups: readonly Readonly<Record<string, string>>[] = [
  { work_mem: 'much' },
  { options: '-c nonsense=1' },
];

export function drawConnect({ random, has }: Scene): Act {
  const parameters = random.weighted<Readonly<Record<string, string>>>([
    [3, {}],
    [has('settings') ? 3 : 0, random.pick(startups)],
    [has('settings') && has('errors') && random.oneIn(4) ? 1 : 0, random.pick(refusedStartups)],
  ]);
  return { kind: 'connect', leaving: random.oneIn(3) ? 'vanish' : 'end', parameters };
}
