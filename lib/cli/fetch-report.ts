// Asks a running weir for its hazards: where it is, by option or configuration, and what it means when no answer comes.

import { isIPv6 } from 'node:net';
import type { Endpoint } from '../config/index.js';
import { type HazardReport, readHazardReport } from '../http/index.js';
import { PoolerError } from '../util/index.js';
import { loadSettings } from './load.js';

export interface Place {
  readonly url: string | undefined;
  readonly config: string | undefined;
}

const answerMsMax = 10_000;
const answerBytesMax = 64 * 1024 * 1024;

/** @throws PoolerError that says what to do */
export async function fetchReport(place: Place): Promise<HazardReport> {
  const url = new URL('hazards', baseOf(place));
  const text = await get(url);
  const report = readHazardReport(parsed(text));
  if (report === undefined) {
    throw new PoolerError(`what ${url.href} answers is no report of weir`, {
      sqlstate: '08P01',
      hint: 'Give the address in http_listen of a weir of this version.',
    });
  }
  return report;
}

function baseOf({ url, config }: Place): URL {
  if (url !== undefined) return urlOf(url);
  if (config === undefined) {
    throw new PoolerError('weir report does not know where weir is', {
      sqlstate: '22023',
      hint: 'Give --config and the file that weir runs with, or --url and the address of its HTTP server.',
    });
  }
  const { http_listen } = loadSettings(config).config.weir;
  if (http_listen === null || http_listen.port === 0) {
    const why = http_listen === null ? 'sets no http_listen' : 'lets the system choose the port of http_listen';
    throw new PoolerError(`${config} ${why}`, {
      sqlstate: 'F0000',
      hint: 'Set it to an address such as 127.0.0.1:9127 and start weir again, or give --url.',
    });
  }
  return urlOf(`http://${reachable(http_listen)}`);
}

/** With a path that ends in a slash, so that a proxy may have put the server below one. */
function urlOf(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isPlain = url?.username === '' && url.password === '' && /^https?:$/.test(url.protocol);
  if (url === undefined || !isPlain) {
    throw new PoolerError('--url is not the address of an HTTP server', {
      sqlstate: '22023',
      hint: 'It looks like http://127.0.0.1:9127, without user and password.',
    });
  }
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  return url;
}

/** The loopback address where weir listens on all. */
function reachable({ host, port }: Endpoint): string {
  if (host === '0.0.0.0') return `127.0.0.1:${port}`;
  if (host === '::') return `[::1]:${port}`;
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

async function get(url: URL): Promise<string> {
  let response: Response;
  try {
    response = await fetch(url, { signal: AbortSignal.timeout(answerMsMax) });
    if (response.ok) return await bodyOf(response);
  } catch (cause) {
    throw new PoolerError(`no answer from ${url.href}: ${reasonOf(cause)}`, {
      sqlstate: '08001',
      hint: 'Check that weir runs and that http_listen in its configuration is this address; it is read only at the start.',
      cause,
    });
  }
  throw new PoolerError(`${url.href} answers with status ${response.status}`, {
    sqlstate: '08P01',
    hint: 'Give the address in http_listen of a weir of this version.',
  });
}

async function bodyOf(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > answerBytesMax) throw new Error(`more than ${answerBytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** What fetch hides in the cause of its error. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  if (cause instanceof Error && 'code' in cause) return String(cause.code);
  return error.name === 'TimeoutError' ? `none within ${answerMsMax / 1_000} s` : error.message;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
