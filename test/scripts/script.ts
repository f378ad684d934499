// Reads the text of a script: a title, settings, and steps of named peers. Pure: text in, steps or an error with its line out.

import { BadMessage, encode, encodeStartup, isMessage, isStartup, type Sender } from './messages.js';

/*
 * A script, line by line:
 *
 *   # The first line says the behaviour.
 *   weir pool_mode=session            settings of the process, as in the configuration
 *   database max_db_connections=1     settings of the database
 *   reports search_path=public        a parameter servers report when they log weir in
 *   client c1 user=bob TimeZone=UTC   connects and logs in; `user`, `database` and startup parameters
 *   socket c2                         connects and says nothing
 *   c1 > Query "select 1"; Sync       c1 sends, in one write
 *   c1 > slowly Query "select 1"      byte by byte
 *   s1 < Query "select 1"             the first server reads exactly this next
 *   s1 < together Query "a"; Sync     and both have come in one piece
 *   c1 < until ReadyForQuery I        whatever comes before it is passed over
 *   c1 < bytes 4e                     bytes as they are, for either direction
 *   c1 < nothing                      nothing comes for a moment
 *   c1 > close                        ends its connection; `c1 < close`: the other end has ended it
 *   c2 > CancelRequest c1             asks with the key of c1; `CancelRequest c1 wrong` with a wrong secret
 *   s1 < CancelRequest                a cancel request with the key of s1 arrives; until then it is left unanswered
 *   pool idle=1                       waits until the pool has one idle server (or servers, active, waiting, tested)
 *
 * Servers are named s1, s2, ... in the order weir connects to them; they log weir in by themselves. In what is expected,
 * `*` stands for any word, `{8}` for any of 8 characters, `...` for any further ones, and `$name` for a word that is the
 * same wherever it is named.
 * A word may be repeated: "x"*1000.
 */

export interface Message {
  readonly name: string;
  readonly words: readonly Word[];
}

export interface Word {
  readonly text: string;
  /** A quoted word stands for itself, whatever it looks like. */
  readonly quoted: boolean;
}

export type Action =
  | { readonly kind: 'connect'; readonly peer: string; readonly login: ReadonlyMap<string, string> | undefined }
  | { readonly kind: 'send'; readonly peer: string; readonly messages: readonly Message[]; readonly slowly: boolean }
  | { readonly kind: 'send-bytes'; readonly peer: string; readonly bytes: Buffer }
  | { readonly kind: 'send-cancel'; readonly peer: string; readonly of: string; readonly wrong: boolean }
  | { readonly kind: 'end'; readonly peer: string }
  | {
      readonly kind: 'expect';
      readonly peer: string;
      readonly messages: readonly Message[];
      readonly how: 'next' | 'together' | 'until';
    }
  | { readonly kind: 'expect-bytes'; readonly peer: string; readonly bytes: Buffer }
  | { readonly kind: 'expect-cancel'; readonly peer: string }
  | { readonly kind: 'expect-nothing' | 'expect-end'; readonly peer: string }
  | { readonly kind: 'pool'; readonly counts: ReadonlyMap<string, number> };

export interface Step {
  readonly line: number;
  readonly text: string;
  readonly action: Action;
}

export interface Script {
  /** The behaviour. */
  readonly title: string;
  readonly weir: ReadonlyMap<string, string>;
  readonly database: ReadonlyMap<string, string>;
  readonly reports: ReadonlyMap<string, string>;
  readonly steps: readonly Step[];
}

export class BadScript extends Error {}

export const poolCounts: readonly string[] = ['servers', 'idle', 'active', 'tested', 'waiting', 'clients'];

/** @throws BadScript that names the line */
export function parseScript(source: string): Script {
  const lines = source.split('\n');
  const title = /^# (\S.*)$/.exec(lines[0] ?? '')?.[1];
  if (title === undefined) throw new BadScript('line 1: the first line is "# " and the behaviour');
  const weir = new Map<string, string>();
  const database = new Map<string, string>();
  const reports = new Map<string, string>();
  const tables: Readonly<Record<string, Map<string, string>>> = { weir, database, reports };
  const steps: Step[] = [];
  for (const [index, raw] of lines.entries()) {
    const text = raw.trim();
    if (text === '' || text.startsWith('#')) continue;
    try {
      const [first = [], ...rest] = splitItems(text);
      const table = tables[first[0]?.text ?? ''];
      if (table === undefined) {
        steps.push({ line: index + 1, text, action: parseAction(first, rest) });
      } else {
        if (steps.length > 0) throw new BadScript('settings come before the first step');
        for (const [key, value] of pairsOf(first.slice(1))) table.set(key, value);
      }
    } catch (error) {
      if (error instanceof BadScript || error instanceof BadMessage)
        throw new BadScript(`line ${index + 1}: ${error.message}`);
      throw error;
    }
  }
  if (!steps.some((step) => step.action.kind.startsWith('expect'))) throw new BadScript('the script expects nothing');
  return { title, weir, database, reports, steps };
}

/** Words of a line, in groups separated by `;`. */
function splitItems(text: string): Word[][] {
  const items: Word[][] = [[]];
  const wordForm = /\s*(?:(;)|((?:[^\s";]|"(?:[^"\\]|\\.)*")+))/y;
  while (wordForm.lastIndex < text.trimEnd().length) {
    const at = wordForm.lastIndex;
    const match = wordForm.exec(text);
    if (match === null) throw new BadScript(`cannot be read from "${text.slice(at)}"`);
    if (match[1] !== undefined) items.push([]);
    else items.at(-1)?.push(wordOf(match[2] as string));
  }
  return items;
}

function wordOf(written: string): Word {
  const [, body = '', times] = /^(.*?)(?:\*(\d+))?$/s.exec(written.endsWith('"') ? written : timesOnly(written)) ?? [];
  const text = body.replace(/"((?:[^"\\]|\\.)*)"/g, (_, inner: string) => unescaped(inner));
  return { text: times === undefined ? text : text.repeat(Number(times)), quoted: body.startsWith('"') };
}

/** `*N` counts only behind a quote: a bare `a*2` is a word. */
function timesOnly(written: string): string {
  return /"\*\d+$/.test(written) ? written : `${written}*1`;
}

function unescaped(inner: string): string {
  return inner.replace(/\\(x[0-9a-f]{2}|.)/g, (_, code: string) => {
    if (code === 'n') return '\n';
    if (code.length === 3) return String.fromCharCode(Number.parseInt(code.slice(1), 16));
    return code;
  });
}

function pairsOf(words: readonly Word[]): Map<string, string> {
  const pairs = new Map<string, string>();
  for (const { text } of words) {
    const equals = text.indexOf('=');
    if (equals <= 0) throw new BadScript(`expected key=value, not "${text}"`);
    pairs.set(text.slice(0, equals), text.slice(equals + 1));
  }
  return pairs;
}

function parseAction(first: readonly Word[], rest: readonly (readonly Word[])[]): Action {
  const [subject, verb, ...words] = first.map((word) => word.text);
  if (subject === 'client' || subject === 'socket') {
    if (verb === undefined || !/^c\d+$/.test(verb)) throw new BadScript('a client is called c1, c2, ...');
    const login = subject === 'client' ? pairsOf(first.slice(2)) : undefined;
    if (login === undefined && words.length > 0) throw new BadScript('a socket has no parameters');
    return { kind: 'connect', peer: verb, login };
  }
  if (subject === 'pool') {
    const counts = new Map<string, number>();
    for (const [key, value] of pairsOf(first.slice(1))) {
      if (!poolCounts.includes(key)) throw new BadScript(`a pool counts ${poolCounts.join(', ')}, not "${key}"`);
      counts.set(key, Number(value));
    }
    return { kind: 'pool', counts };
  }
  if (subject === undefined || !/^[cs]\d+$/.test(subject))
    throw new BadScript(`"${subject}" is no peer and no setting`);
  if (verb === '>') return parseSending(subject, first.slice(2), rest);
  if (verb === '<') return parseExpecting(subject, first.slice(2), rest);
  throw new BadScript('a peer sends (>) or reads (<)');
}

function senderOf(peer: string): Sender {
  return peer.startsWith('c') ? 'client' : 'server';
}

function parseSending(peer: string, words: readonly Word[], rest: readonly (readonly Word[])[]): Action {
  const name = words[0]?.text;
  if (name === 'close') return { kind: 'end', peer };
  if (name === 'bytes') return { kind: 'send-bytes', peer, bytes: bytesOf(words.slice(1)) };
  if (name === 'CancelRequest') {
    const of = words[1]?.text ?? '';
    if (!/^c\d+$/.test(of)) throw new BadScript('CancelRequest names the client whose key it carries');
    return { kind: 'send-cancel', peer, of, wrong: words[2]?.text === 'wrong' };
  }
  const slowly = name === 'slowly';
  const messages = messagesOf(slowly ? words.slice(1) : words, rest);
  for (const message of messages) bytesToSend(peer, message);
  return { kind: 'send', peer, messages, slowly };
}

/** @throws BadMessage */
export function bytesToSend(
  peer: string,
  message: Message,
  bound: (word: Word) => string = (word) => word.text,
): Buffer {
  const words = message.words.map(bound);
  if (peer.startsWith('c') && isStartup(message.name)) return encodeStartup(message.name, words);
  return encode(senderOf(peer), message.name, words);
}

function parseExpecting(peer: string, words: readonly Word[], rest: readonly (readonly Word[])[]): Action {
  const name = words[0]?.text;
  if (name === 'nothing') return { kind: 'expect-nothing', peer };
  if (name === 'close') return { kind: 'expect-end', peer };
  if (name === 'bytes') return { kind: 'expect-bytes', peer, bytes: bytesOf(words.slice(1)) };
  if (name === 'CancelRequest' && peer.startsWith('s')) return { kind: 'expect-cancel', peer };
  const how = name === 'until' || name === 'together' ? name : 'next';
  const messages = messagesOf(how === 'next' ? words : words.slice(1), rest);
  const sender = peer.startsWith('c') ? 'server' : 'client';
  for (const message of messages) {
    if (!isMessage(sender, message.name)) throw new BadScript(`no ${sender} sends ${message.name}`);
  }
  if (how === 'until' && messages.length !== 1) throw new BadScript('until names one message');
  return { kind: 'expect', peer, messages, how };
}

function messagesOf(first: readonly Word[], rest: readonly (readonly Word[])[]): Message[] {
  return [first, ...rest].map(([name, ...words]) => {
    if (name === undefined) throw new BadScript('a message has a name');
    return { name: name.text, words };
  });
}

/** Hexadecimal pairs and quoted texts. */
function bytesOf(words: readonly Word[]): Buffer {
  return Buffer.concat(
    words.map(({ text, quoted }) => {
      if (!quoted && !/^([0-9a-f]{2})+$/.test(text)) throw new BadScript(`"${text}" is not hexadecimal`);
      return quoted ? Buffer.from(text, 'latin1') : Buffer.from(text, 'hex');
    }),
  );
}
