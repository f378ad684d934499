// The HTTP server: metrics, liveness, readiness, the hazards that occurred, and temporary roles for who has the token.

import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import type { Endpoint } from '../config/index.js';
import { PoolerError, type Secret } from '../util/index.js';
import { addGrantRoutes, type GrantSource } from './grants.js';
import type { HazardReport } from './hazard-report.js';
import type { MetricFormat, MetricText } from './metrics.js';
import type { Readiness } from './readiness.js';

/** What is asked for by HTTP: of one process, or of several together. */
export interface HttpSource extends GrantSource {
  readonly log: Logger;
  metrics(format: MetricFormat): Promise<MetricText>;
  readiness(): Promise<Readiness>;
  hazards(): Promise<HazardReport>;
}

export interface HttpServer {
  /** The one in use, also when 0 was asked for. */
  readonly port: number;
  /** Answers what is under way and stops. */
  close(): Promise<void>;
}

/** But for grants, no route takes a body. */
const bodyBytesMax = 1_024;
const headerBytesMax = 8_192;
/** Connections open at a time; a scraper and a few probes need a handful. */
const connectionsMax = 100;
const requestMsMax = 10_000;
const keepAliveMs = 30_000;

/** @param adminToken opens what changes something; without it nothing does @throws PoolerError when it cannot listen */
export async function startHttp(
  source: HttpSource,
  endpoint: Endpoint,
  adminToken: Secret | null = null,
): Promise<HttpServer> {
  const app = build(source);
  if (adminToken !== null) addGrantRoutes(app, source, adminToken);
  try {
    await app.listen({ host: endpoint.host, port: endpoint.port });
  } catch (cause) {
    await app.close();
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
    throw new PoolerError(`cannot listen on ${endpoint.host}:${endpoint.port} for HTTP: ${code}`, {
      sqlstate: '58000',
      hint: 'Change http_listen, or leave it empty for no HTTP server.',
      cause,
    });
  }
  const address = app.server.address();
  const port = address === null || typeof address === 'string' ? endpoint.port : address.port;
  source.log.info({ host: endpoint.host, port }, 'HTTP server is ready');
  return {
    port,
    close: async () => {
      // A scraper's idle connection must not keep the process.
      app.server.closeIdleConnections();
      await app.close();
    },
  };
}

function build(source: HttpSource): FastifyInstance {
  const app = fastify({
    logger: false,
    bodyLimit: bodyBytesMax,
    http: { maxHeaderSize: headerBytesMax },
    connectionTimeout: requestMsMax,
    requestTimeout: requestMsMax,
    keepAliveTimeout: keepAliveMs,
    forceCloseConnections: true,
    // A path that is no URL; fastify's own answer would repeat it.
    frameworkErrors: (_error, _request, reply: FastifyReply) => {
      void reply.code(400).send({ error: 'bad request' });
    },
  });
  app.server.maxConnections = connectionsMax;
  app.server.headersTimeout = requestMsMax;
  const { log } = source;
  app.addHook('onResponse', async (request, reply) => {
    // The route, not the URL: nothing that was typed.
    const route = request.routeOptions.url ?? 'none';
    log.debug({ method: request.method, route, status: reply.statusCode, ms: reply.elapsedTime }, 'HTTP request');
  });
  app.setNotFoundHandler(async (_request, reply) => reply.code(404).send({ error: 'not found' }));
  app.setErrorHandler(async (error, request, reply) => {
    const status = statusOf(error);
    if (status >= 500) log.error({ err: error, route: request.routeOptions.url ?? 'none' }, 'an HTTP request failed');
    return reply.code(status).send({ error: status >= 500 ? 'internal error' : 'bad request' });
  });
  addRoutes(app, source);
  return app;
}

function statusOf(error: unknown): number {
  const status = typeof error === 'object' && error !== null && 'statusCode' in error ? error.statusCode : undefined;
  return typeof status === 'number' && status >= 400 && status < 500 ? status : 500;
}

function addRoutes(app: FastifyInstance, source: HttpSource): void {
  app.get('/metrics', async (request, reply) => sendMetrics(source, request, reply));
  app.get('/healthz', async () => ({ status: 'ok' }));
  app.get('/readyz', async (_request, reply) => {
    const { ready, reasons } = await source.readiness();
    return reply.code(ready ? 200 : 503).send({ status: ready ? 'ready' : 'not ready', reasons });
  });
  app.get('/hazards', async (_request, reply) =>
    reply.header('cache-control', 'no-store').send(await source.hazards()),
  );
}

async function sendMetrics(source: HttpSource, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const accepted = request.headers.accept ?? '';
  const { type, body } = await source.metrics(
    accepted.includes('application/openmetrics-text') ? 'openmetrics' : 'prometheus',
  );
  return reply.header('content-type', type).header('cache-control', 'no-store').send(body);
}
