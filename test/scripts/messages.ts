// Turns messages written as words (`Query "select 1"`) into bytes, and bytes into words, by one table of layouts.

import { Backend, Frontend } from '../../lib/wire/index.js';

/** One field after the other: words of a script on one side, bytes of a message on the other. */
interface Part {
  /** Takes the words it needs from the front. */
  write(words: string[]): Buffer;
  /** Adds the words it stands for; answers where the next part begins. */
  read(bytes: Buffer, from: number, words: string[]): number;
}

interface Layout {
  readonly tag: number;
  readonly parts: readonly Part[];
}

export type Sender = 'client' | 'server';

export class BadMessage extends Error {}

/** What a NULL value and a missing error field are written as. */
const nullWord = 'NULL';
const missingWord = '-';

function take(words: string[], what: string): string {
  const word = words.shift();
  if (word === undefined) throw new BadMessage(`${what} is missing`);
  return word;
}

function takeNumber(words: string[], what: string): number {
  const word = take(words, what);
  if (!/^-?\d+$/.test(word)) throw new BadMessage(`${what} is a number, not "${word}"`);
  return Number(word);
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

const text: Part = {
  write: (words) => Buffer.from(`${take(words, 'a text')}\0`),
  read: (bytes, from, words) => {
    const end = bytes.indexOf(0, from);
    if (end < 0) throw new BadMessage('a text does not end');
    words.push(bytes.toString('utf8', from, end));
    return end + 1;
  },
};

const letter: Part = {
  write: (words) => Buffer.from(take(words, 'a letter'), 'latin1'),
  read: (bytes, from, words) => {
    words.push(bytes.toString('latin1', from, from + 1));
    return from + 1;
  },
};

const number: Part = {
  write: (words) => int32(takeNumber(words, 'a number')),
  read: (bytes, from, words) => {
    words.push(String(bytes.readInt32BE(from)));
    return from + 4;
  },
};

/** A number that may be left out where it is 0. */
const numberOrZero: Part = {
  write: (words) => int32(words.length === 0 ? 0 : takeNumber(words, 'a number')),
  read: (bytes, from, words) => {
    const value = bytes.readInt32BE(from);
    if (value !== 0) words.push(String(value));
    return from + 4;
  },
};

/** All that is left, as one word. */
const data: Part = {
  write: (words) => Buffer.from(words.shift() ?? ''),
  read: (bytes, from, words) => {
    words.push(bytes.toString('utf8', from));
    return bytes.length;
  },
};

const hex: Part = {
  write: (words) => Buffer.from(take(words, 'bytes in hexadecimal'), 'hex'),
  read: (bytes, from, words) => {
    words.push(bytes.toString('hex', from));
    return bytes.length;
  },
};

/** A count of type oids, and the oids. */
const oids: Part = {
  write: (words) => {
    const values = words.splice(0);
    return Buffer.concat([int16(values.length), ...values.map((word) => int32(takeNumber([word], 'a type')))]);
  },
  read: (bytes, from, words) => {
    const count = bytes.readInt16BE(from);
    for (let i = 0; i < count; i++) words.push(String(bytes.readInt32BE(from + 2 + i * 4)));
    return from + 2 + count * 4;
  },
};

/** A count of values with their lengths; NULL has none. */
const values: Part = {
  write: (words) => {
    const parts = words.splice(0);
    return Buffer.concat([int16(parts.length), ...parts.map(valueBytes)]);
  },
  read: (bytes, from, words) => {
    let position = from + 2;
    for (let left = bytes.readInt16BE(from); left > 0; left--) {
      const length = bytes.readInt32BE(position);
      position += 4;
      words.push(length < 0 ? nullWord : bytes.toString('utf8', position, position + length));
      position += Math.max(length, 0);
    }
    return position;
  },
};

function valueBytes(word: string): Buffer {
  if (word === nullWord) return int32(-1);
  const bytes = Buffer.from(word);
  return Buffer.concat([int32(bytes.length), bytes]);
}

/** A count of format codes, which all say text. */
const textFormats: Part = {
  write: () => int16(0),
  read: (bytes, from) => {
    const end = from + 2 + bytes.readInt16BE(from) * 2;
    if (bytes.subarray(from + 2, end).some((byte) => byte !== 0)) throw new BadMessage('a binary format');
    return end;
  },
};

/** A COPY in text without columns. */
const copyFormat: Part = {
  write: () => Buffer.alloc(3),
  read: (_, from) => from + 3,
};

/** Columns by name, all of type text. */
const columns: Part = {
  write: (words) => {
    const names = words.splice(0);
    return Buffer.concat([
      int16(names.length),
      ...names.flatMap((name) => [
        Buffer.from(`${name}\0`),
        int32(0),
        int16(0),
        int32(25),
        int16(-1),
        int32(-1),
        int16(0),
      ]),
    ]);
  },
  read: (bytes, from, words) => {
    let position = from + 2;
    for (let left = bytes.readInt16BE(from); left > 0; left--) position = text.read(bytes, position, words) + 18;
    return position;
  },
};

/** `SEVERITY SQLSTATE "message" X=...`; further fields by their letters. */
const errorFields: Part = {
  write: (words) => {
    const [severity, sqlstate, message] = [
      take(words, 'a severity'),
      take(words, 'a SQLSTATE'),
      take(words, 'a message'),
    ];
    const fields = [`S${severity}`, `V${severity}`];
    if (sqlstate !== missingWord) fields.push(`C${sqlstate}`);
    fields.push(`M${message}`);
    for (const word of words.splice(0)) fields.push(word.replace('=', ''));
    return Buffer.from(`${fields.join('\0')}\0\0`);
  },
  read: (bytes, from, words) => {
    const fields = new Map<string, string>();
    let position = from;
    while (bytes[position] !== 0) {
      const word: string[] = [];
      position = text.read(bytes, position, word);
      fields.set(word[0]!.slice(0, 1), word[0]!.slice(1));
    }
    for (const key of ['V', 'C', 'M']) words.push(fields.get(key) ?? missingWord);
    for (const [key, value] of fields) if (!'SVCM'.includes(key)) words.push(`${key}=${value}`);
    return position + 1;
  },
};

/** `Ok`, or the number of the request. */
const authentication: Part = {
  write: (words) => {
    const word = take(words, 'Ok or a number');
    return int32(word === 'Ok' ? 0 : takeNumber([word], 'an authentication request'));
  },
  read: (bytes, from, words) => {
    const code = bytes.readInt32BE(from);
    words.push(code === 0 ? 'Ok' : String(code));
    return bytes.length;
  },
};

/** Version `3.N`, then the options that are not known. */
const negotiation: Part = {
  write: () => {
    throw new BadMessage('only the pooler negotiates here');
  },
  read: (bytes, from, words) => {
    words.push(`${bytes.readInt16BE(from)}.${bytes.readInt16BE(from + 2)}`);
    let position = from + 8;
    for (let left = bytes.readInt32BE(from + 4); left > 0; left--) position = text.read(bytes, position, words);
    return position;
  },
};

const byClient: Readonly<Record<string, Layout>> = {
  Query: { tag: Frontend.Query, parts: [text] },
  Parse: { tag: Frontend.Parse, parts: [text, text, oids] },
  Bind: { tag: Frontend.Bind, parts: [text, text, textFormats, values, textFormats] },
  Describe: { tag: Frontend.Describe, parts: [letter, text] },
  Execute: { tag: Frontend.Execute, parts: [text, numberOrZero] },
  Close: { tag: Frontend.Close, parts: [letter, text] },
  Sync: { tag: Frontend.Sync, parts: [] },
  Flush: { tag: Frontend.Flush, parts: [] },
  Terminate: { tag: Frontend.Terminate, parts: [] },
  FunctionCall: { tag: Frontend.FunctionCall, parts: [number, textFormats, values, textFormats] },
  CopyData: { tag: Frontend.CopyData, parts: [data] },
  CopyDone: { tag: Frontend.CopyDone, parts: [] },
  CopyFail: { tag: Frontend.CopyFail, parts: [text] },
  Password: { tag: Frontend.Password, parts: [text] },
};

const byServer: Readonly<Record<string, Layout>> = {
  Authentication: { tag: Backend.Authentication, parts: [authentication] },
  BackendKeyData: { tag: Backend.BackendKeyData, parts: [number, hex] },
  NegotiateProtocolVersion: { tag: Backend.NegotiateProtocolVersion, parts: [negotiation] },
  ParameterStatus: { tag: Backend.ParameterStatus, parts: [text, text] },
  ReadyForQuery: { tag: Backend.ReadyForQuery, parts: [letter] },
  RowDescription: { tag: Backend.RowDescription, parts: [columns] },
  DataRow: { tag: Backend.DataRow, parts: [values] },
  CommandComplete: { tag: Backend.CommandComplete, parts: [text] },
  EmptyQueryResponse: { tag: Backend.EmptyQueryResponse, parts: [] },
  ErrorResponse: { tag: Backend.ErrorResponse, parts: [errorFields] },
  NoticeResponse: { tag: Backend.NoticeResponse, parts: [errorFields] },
  NotificationResponse: { tag: Backend.NotificationResponse, parts: [number, text, text] },
  ParseComplete: { tag: Backend.ParseComplete, parts: [] },
  BindComplete: { tag: Backend.BindComplete, parts: [] },
  CloseComplete: { tag: Backend.CloseComplete, parts: [] },
  NoData: { tag: Backend.NoData, parts: [] },
  PortalSuspended: { tag: Backend.PortalSuspended, parts: [] },
  ParameterDescription: { tag: Backend.ParameterDescription, parts: [oids] },
  CopyInResponse: { tag: Backend.CopyInResponse, parts: [copyFormat] },
  CopyOutResponse: { tag: Backend.CopyOutResponse, parts: [copyFormat] },
  CopyData: { tag: Backend.CopyData, parts: [data] },
  CopyDone: { tag: Backend.CopyDone, parts: [] },
  FunctionCallResponse: { tag: Backend.FunctionCallResponse, parts: [hex] },
};

function layoutsOf(sender: Sender): Readonly<Record<string, Layout>> {
  return sender === 'client' ? byClient : byServer;
}

/** Whether a peer of this kind may send a message of this name. */
export function isMessage(sender: Sender, name: string): boolean {
  return Object.hasOwn(layoutsOf(sender), name);
}

/** @throws BadMessage when the words do not fit the layout */
export function encode(sender: Sender, name: string, words: readonly string[]): Buffer {
  const layout = layoutsOf(sender)[name];
  if (layout === undefined) throw new BadMessage(`a ${sender} sends no ${name}`);
  const left = [...words];
  const body = Buffer.concat(layout.parts.map((part) => part.write(left)));
  if (left.length > 0) throw new BadMessage(`${name} has no place for "${left.join(' ')}"`);
  return Buffer.concat([Buffer.from([layout.tag]), int32(body.length + 4), body]);
}

/** Name and words of one whole frame; what fits no layout becomes `Unreadable` and its bytes. */
export function decode(sender: Sender, frame: Buffer): string[] {
  const found = Object.entries(layoutsOf(sender)).find(([, layout]) => layout.tag === frame[0]);
  if (found === undefined) return ['Unreadable', frame.toString('hex')];
  const [name, layout] = found;
  const words = [name];
  try {
    const end = layout.parts.reduce((position, part) => part.read(frame, position, words), 5);
    return end === frame.length ? words : ['Unreadable', frame.toString('hex')];
  } catch {
    return ['Unreadable', frame.toString('hex')];
  }
}

const requestCodes: Readonly<Record<string, number>> = { SSLRequest: 80_877_103, GSSENCRequest: 80_877_104 };

export function isStartup(name: string): boolean {
  return name === 'StartupMessage' || Object.hasOwn(requestCodes, name);
}

/** The packets without a tag: `SSLRequest`, `GSSENCRequest`, `StartupMessage 3.0 user=alice`. @throws BadMessage */
export function encodeStartup(name: string, words: readonly string[]): Buffer {
  const code = requestCodes[name];
  if (code !== undefined) return Buffer.concat([int32(8), int32(code)]);
  const [version = '', ...parameters] = words;
  const numbers = /^(\d+)\.(\d+)$/.exec(version);
  if (numbers === null) throw new BadMessage('StartupMessage begins with a version such as 3.0');
  const pairs = parameters.map((word) => Buffer.from(`${word.replace('=', '\0')}\0`));
  const body = Buffer.concat([int16(Number(numbers[1])), int16(Number(numbers[2])), ...pairs, Buffer.alloc(1)]);
  return Buffer.concat([int32(body.length + 4), body]);
}

const cancelCode = 80_877_102;

export function encodeCancel(pid: number, secret: Buffer): Buffer {
  return Buffer.concat([int32(12 + secret.length), int32(cancelCode), int32(pid), secret]);
}

/** What a first packet asks for; parameters of a startup in their order. */
export type FirstPacket =
  | { readonly kind: 'ssl' | 'gss' }
  | { readonly kind: 'cancel'; readonly pid: number; readonly secret: Buffer }
  | { readonly kind: 'startup'; readonly parameters: readonly string[] };

export function decodeFirstPacket(packet: Buffer): FirstPacket {
  const code = packet.readInt32BE(4);
  if (code === requestCodes['SSLRequest']) return { kind: 'ssl' };
  if (code === requestCodes['GSSENCRequest']) return { kind: 'gss' };
  if (code === cancelCode) return { kind: 'cancel', pid: packet.readInt32BE(8), secret: packet.subarray(12) };
  const words = packet.toString('utf8', 8, packet.length - 2).split('\0');
  const parameters: string[] = [];
  for (let i = 0; i + 1 < words.length; i += 2) parameters.push(`${words[i]}=${words[i + 1]}`);
  return { kind: 'startup', parameters };
}
