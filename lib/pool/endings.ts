// Servers whose clients have left in the middle: what runs there for nobody is cancelled until the server has answered, and counts until then.

import type { ServerConnection, ServerState } from '../server/index.js';
import { PoolerError } from '../util/index.js';
import { flushMessage } from '../wire/index.js';

/** How long a server may take to finish what a client left behind. */
export const drainMsMax = 10_000;
/** A cancel request that came before its statement, or was caught, is sent again. */
const againMs = 1_000;
/** A server that reads COPY data hears of a cancel only between two messages: it is closed behind the request. */
const copyMsMax = 500;
/** What cannot be asked for its answers, since half a message is on the way, may have nothing to say. */
const cutMsMax = 3_000;

/** Half a message was sent, COPY data are being read, the end of the batch was not sent, or all was. */
type Stage = 'cut' | 'copy' | 'open' | 'complete';

interface Ending {
  readonly stage: Stage;
  /** Until it is in another one. */
  readonly state: ServerState;
  /** From when on it is cancelled, and when it was last. */
  readonly cancelMs: number;
  cancelledMs: number;
  /** When it is closed, whatever it does. */
  readonly untilMs: number;
}

export class Endings {
  readonly #endings = new Map<ServerConnection, Ending>();
  readonly #cancel: (server: ServerConnection) => Promise<void>;

  /** @param cancel resolves when the request has arrived, or is given up */
  constructor(cancel: (server: ServerConnection) => Promise<void>) {
    this.#cancel = cancel;
  }

  /** Takes a server from its client that has sent so much. Where the batch is complete, what it answers says when it can be used again. */
  begin(server: ServerConnection, stage: Stage, running: 'cancel' | 'finish', now: number): void {
    server.takeBack();
    // The half message is owed an answer itself, and runs nothing.
    const mine = stage === 'cut' ? 1 : 0;
    if (stage !== 'complete' && server.channel.owedCount <= mine) {
      server.destroy(leftInTheMiddle());
      return;
    }
    // Without a Sync nothing comes of it: there is nothing to wait for, but that the server says what it has to say.
    if (stage === 'open') server.peer.writeOwned(flushMessage);
    server.beginTest('drain');
    const cancelMs = stage === 'complete' && running === 'finish' ? now + drainMsMax : now;
    const longest = stage === 'copy' ? copyMsMax : stage === 'cut' ? cutMsMax : drainMsMax;
    const ending = {
      stage,
      state: server.state,
      cancelMs,
      cancelledMs: Number.NEGATIVE_INFINITY,
      untilMs: cancelMs + longest,
    };
    this.#endings.set(server, ending);
    this.#look(server, ending, now);
  }

  /** Called several times a second. */
  sweep(now: number): void {
    for (const [server, ending] of [...this.#endings]) this.#look(server, ending, now);
  }

  /** Whether the server has its end here. */
  has(server: ServerConnection): boolean {
    return this.#endings.has(server);
  }

  #look(server: ServerConnection, ending: Ending, now: number): void {
    const { channel } = server;
    if (server.state !== ending.state) {
      this.#endings.delete(server);
      return;
    }
    if (channel.owedCount === 0 && ending.stage !== 'complete') {
      this.#endings.delete(server);
      server.destroy(leftInTheMiddle());
    } else if (now >= ending.untilMs && !(server.cancelling && now < ending.untilMs + drainMsMax)) {
      // A request on its way arrives first: behind the end of its connection nobody would count what goes on.
      this.#endings.delete(server);
      server.destroy(new PoolerError('the server did not finish in time', { sqlstate: '08006' }));
    } else if (channel.owedCount > 0 && now >= ending.cancelMs && now - ending.cancelledMs >= againMs) {
      ending.cancelledMs = now;
      void this.#cancel(server);
    }
  }
}

function leftInTheMiddle(): PoolerError {
  return new PoolerError('client left in the middle of a message', { sqlstate: '08006' });
}
