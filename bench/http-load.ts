// Puts HTTP load on one address with autocannon and hands back its figures.

import autocannon from 'autocannon';
import type { Metrics } from './samples.js';

const requestSecondsMax = 20;

export interface HttpLoad {
  readonly url: string;
  readonly connections: number;
  readonly seconds: number;
}

export interface HttpResult {
  readonly requests: number;
  readonly metrics: Metrics;
}

/** Throws when a request failed or was answered with anything but 2xx. */
export async function loadHttp(load: HttpLoad, stop: AbortSignal): Promise<HttpResult> {
  const { url, connections, seconds } = load;
  const result = await new Promise<autocannon.Result>((resolve, reject) => {
    const options = { url, connections, duration: seconds, timeout: requestSecondsMax };
    const instance = autocannon(options, (error: unknown, loaded) => {
      stop.removeEventListener('abort', end);
      if (error) reject(error);
      else resolve(loaded);
    });
    const end = (): void => instance.stop?.();
    stop.addEventListener('abort', end, { once: true });
  });
  return readHttpResult(result);
}

export function readHttpResult(result: autocannon.Result): HttpResult {
  const requests = result['2xx'];
  if (result.errors > 0 || result.non2xx > 0) {
    throw new Error(
      `of the HTTP requests ${requests} succeeded, ${result.non2xx} were refused, ${result.errors} failed ` +
        `(${result.timeouts} by time-out)`,
    );
  }
  if (requests === 0) throw new Error('no HTTP request was answered');
  const { p50, p99, p99_9 } = result.latency;
  return {
    requests,
    metrics: { requestsPerS: requests / result.duration, p50Ms: p50, p99Ms: p99, p999Ms: p99_9 },
  };
}
