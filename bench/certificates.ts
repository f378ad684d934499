// Makes the self-signed certificate that PostgreSQL and the poolers show to TLS clients in a bench run.

import { chmod, chown } from 'node:fs/promises';
import { join } from 'node:path';
import { complaint, type Fleet, type SystemUser } from './processes.js';

export interface CertificateFiles {
  readonly certificate: string;
  readonly key: string;
}

/**
 * ECDSA P-256; every target shows the same one. By the openssl command, which is wherever pgbench is.
 * Throws when it is not: the TLS works then do not apply.
 */
export async function makeCertificate(
  fleet: Fleet,
  directory: string,
  owner: SystemUser | undefined,
): Promise<CertificateFiles> {
  const files = { certificate: join(directory, 'bench.crt'), key: join(directory, 'bench.key') };
  const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const result = await fleet.run(
    {
      name: 'openssl',
      command: 'openssl',
      args: [...args, '-subj', '/CN=localhost', '-keyout', files.key, '-out', files.certificate],
    },
    30_000,
  );
  const problem = complaint('openssl', result);
  if (problem !== undefined) throw new Error(problem);
  // PostgreSQL refuses a key that others may read or that another user owns.
  await chmod(files.key, 0o600);
  if (owner !== undefined) await chown(files.key, owner.uid, owner.gid);
  return files;
}
