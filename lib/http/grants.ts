// Lists, gives and takes temporary roles of the policy, for who sends the administrator's token.

import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Grant, GrantOrder, Revocation } from '../pooler/index.js';
import { PoolerError, type Secret } from '../util/index.js';

/** What the routes ask for and act on, in all processes. */
export interface GrantSource {
  grants(): Promise<readonly Grant[]>;
  /** The grant that is asked for, not in force yet. @throws PoolerError */
  order(order: GrantOrder): Promise<Grant>;
  /** @throws PoolerError */
  grant(grant: Grant): Promise<void>;
  /** @throws PoolerError */
  revoke(revocation: Revocation): Promise<void>;
}

const path = '/grants';
/** A reason and two names. */
const bodyBytesMax = 4_096;
/** Of grants and their records. */
const asked = 'http';

export function addGrantRoutes(app: FastifyInstance, source: GrantSource, token: Secret): void {
  const expected = digest(token.reveal());
  void app.register(async (routes) => {
    routes.addHook('onRequest', async (request, reply) => {
      const [, given = ''] = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '') ?? [];
      // Of equal length, whatever was sent: how long it takes tells nothing.
      if (timingSafeEqual(digest(given), expected)) return;
      return reply
        .code(401)
        .header('www-authenticate', 'Bearer')
        .send({ error: 'unauthorized', hint: 'Send http_admin_token in the Authorization header.' });
    });
    routes.setErrorHandler(async (error, _request, reply) => {
      if (!(error instanceof PoolerError)) throw error;
      return sendError(error, reply);
    });
    routes.get(path, async (_request, reply) =>
      reply.header('cache-control', 'no-store').send((await source.grants()).map(shown)),
    );
    routes.post(path, { bodyLimit: bodyBytesMax }, async (request, reply) => {
      const { role, user, for: duration, reason } = texts(request.body, ['role', 'user', 'for', 'reason']);
      const grant = await source.order({ role, user, duration, reason, grantedBy: asked });
      await source.grant(grant);
      return reply.code(201).send(shown(grant));
    });
    routes.delete(path, { bodyLimit: bodyBytesMax }, async (request, reply) => {
      await source.revoke({ ...texts(request.body, ['role', 'user']), revokedBy: asked });
      return reply.code(204).send();
    });
  });
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function shown({ role, user, untilMs, reason, grantedBy }: Grant): Readonly<Record<string, string>> {
  return { role, user, until: new Date(untilMs).toISOString(), reason, granted_by: grantedBy };
}

/** @throws PoolerError where one of them is no text */
function texts<const K extends string>(body: unknown, keys: readonly K[]): Record<K, string> {
  const found: Partial<Record<K, string>> = {};
  for (const key of keys) {
    const value: unknown = typeof body === 'object' && body !== null ? Reflect.get(body, key) : undefined;
    if (typeof value !== 'string') {
      throw new PoolerError(`"${key}" is missing or no text`, {
        sqlstate: '22023',
        hint: `Send a JSON object with ${keys.map((name) => `"${name}"`).join(', ')}.`,
      });
    }
    found[key] = value;
  }
  return found as Record<K, string>;
}

function sendError({ message, sqlstate, detail, hint }: PoolerError, reply: FastifyReply): FastifyReply {
  return reply.code(statusOf(sqlstate)).send({ error: message, sqlstate, detail, hint });
}

/** What is wrong with the request, what is missing, what is not possible now. */
function statusOf(sqlstate: string): number {
  if (sqlstate === '42704') return 404;
  if (sqlstate === '55000') return 409;
  return sqlstate === '22023' ? 400 : 503;
}
