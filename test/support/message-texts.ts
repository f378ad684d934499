// Protocol messages as short texts, so that a test can say what was sent in lines a person reads.

import { Backend, Frontend, readErrorFields } from '../../lib/wire/index.js';

const backendNames = new Map<number, string>(Object.entries(Backend).map(([name, tag]) => [tag, name]));
const frontendNames = new Map<number, string>(Object.entries(Frontend).map(([name, tag]) => [tag, name]));

/** Where the last frame ends that is all there. */
export function wholeFramesEnd(bytes: Buffer): number {
  let at = 0;
  while (bytes.length - at >= 5) {
    const end = at + 1 + bytes.readUInt32BE(at + 1);
    if (end > bytes.length) break;
    at = end;
  }
  return at;
}

/** Cuts bytes into whole frames. @throws Error when something is left over */
export function framesOf(bytes: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  let at = 0;
  while (at < bytes.length) {
    const end = bytes.length - at < 5 ? Number.POSITIVE_INFINITY : at + 1 + bytes.readUInt32BE(at + 1);
    if (end > bytes.length) throw new Error(`half a message at the end: ${bytes.toString('latin1', at, at + 100)}`);
    frames.push(bytes.subarray(at, end));
    at = end;
  }
  return frames;
}

/** The strings of a body, up to `count`. */
function strings(frame: Buffer, from: number, count: number): string[] {
  const found: string[] = [];
  let at = from;
  while (found.length < count && at < frame.length) {
    const end = frame.indexOf(0, at);
    if (end < 0) break;
    found.push(frame.toString('latin1', at, end));
    at = end + 1;
  }
  return found;
}

function values(frame: Buffer, from: number): string {
  const texts: string[] = [];
  let at = from + 2;
  for (let count = frame.readUInt16BE(from); count > 0; count--) {
    const length = frame.readInt32BE(at);
    at += 4;
    texts.push(length < 0 ? 'NULL' : frame.toString('latin1', at, at + length));
    at += Math.max(0, length);
  }
  return texts.join(',');
}

function backendText(frame: Buffer): string {
  const tag = frame[0] as number;
  const name = backendNames.get(tag) ?? `unknown ${tag}`;
  switch (tag) {
    case Backend.ErrorResponse:
    case Backend.NoticeResponse: {
      const fields = readErrorFields(frame, 0, frame.length);
      return `${name} ${fields.severity === 'ERROR' ? '' : `${fields.severity} `}${fields.sqlstate} ${fields.message}`;
    }
    case Backend.ReadyForQuery:
      return `${name} ${String.fromCharCode(frame[5] as number)}`;
    case Backend.CommandComplete:
      return `${name} ${strings(frame, 5, 1)[0]}`;
    case Backend.ParameterStatus:
      return `${name} ${strings(frame, 5, 2).join('=')}`;
    case Backend.RowDescription:
      return `${name} ${strings(frame, 7, 1)[0]}`;
    case Backend.DataRow:
      return `${name} ${values(frame, 5)}`;
    case Backend.CopyData:
    case Backend.FunctionCallResponse:
      return `${name} ${frame.toString('latin1', 5, 80)}`;
    case Backend.NotificationResponse:
      return `${name} ${strings(frame, 9, 2).join(' ')}`;
    default:
      return name;
  }
}

/** What a server said. */
export function backendTexts(bytes: Buffer): string[] {
  return framesOf(bytes).map(backendText);
}

function frontendText(frame: Buffer): string {
  const tag = frame[0] as number;
  const name = frontendNames.get(tag) ?? `unknown ${tag}`;
  switch (tag) {
    case Frontend.Query:
      return `${name} ${strings(frame, 5, 1)[0]?.slice(0, 200)}`;
    case Frontend.Parse:
      return `${name} ${strings(frame, 5, 2)
        .map((text) => text.slice(0, 200))
        .join(': ')}`;
    case Frontend.Bind:
      return `${name} ${strings(frame, 5, 2).join(' to ')}`;
    case Frontend.Describe:
    case Frontend.Close:
      return `${name} ${String.fromCharCode(frame[5] as number)} ${strings(frame, 6, 1)[0]}`;
    case Frontend.Execute:
      return `${name} ${strings(frame, 5, 1)[0]}`;
    case Frontend.CopyData:
      return `${name} ${frame.toString('latin1', 5, 80)}`;
    default:
      return name;
  }
}

/** What a client said. */
export function frontendTexts(bytes: Buffer): string[] {
  return framesOf(bytes).map(frontendText);
}
