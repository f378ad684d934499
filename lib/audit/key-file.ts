// Reads the key of the seals from its file, which only weir may read.

import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { PoolerError, Secret } from '../util/index.js';

/** Of what is in the file, without the end of its last line. */
const keyBytesMin = 32;
const keyBytesMax = 4096;
/** As PostgreSQL asks it of a private key: a file of root's may be read by its group. */
const forbiddenMode = 0o077;
const forbiddenModeOfRoot = 0o037;

/** @throws PoolerError that does not tell what is in the file */
export function readSealKey(path: string): Secret {
  let bytes: Buffer;
  try {
    const file = openSync(path, 'r');
    try {
      const { mode, uid } = fstatSync(file);
      if ((mode & (uid === 0 ? forbiddenModeOfRoot : forbiddenMode)) !== 0) {
        throw problem(
          path,
          `others may read or write it: its mode is ${(mode & 0o777).toString(8)}`,
          `chmod 600 ${path}`,
        );
      }
      bytes = readFileSync(file);
    } finally {
      closeSync(file);
    }
  } catch (cause) {
    if (cause instanceof PoolerError) throw cause;
    const hint = 'Let audit_key_file name a file that weir can read.';
    throw problem(path, cause instanceof Error ? cause.message : String(cause), hint);
  }
  const key = bytes.toString('latin1').replace(/\r?\n$/, '');
  if (key.length >= keyBytesMin && key.length <= keyBytesMax) return new Secret(key);
  const hint = `Make one of ${keyBytesMin} to ${keyBytesMax} bytes, as by: openssl rand -hex 32.`;
  throw problem(path, `the key in it has ${key.length} bytes`, hint);
}

function problem(path: string, detail: string, hint: string): PoolerError {
  return new PoolerError(`the key of the audit trail cannot be read from ${path}`, { sqlstate: 'F0000', detail, hint });
}
