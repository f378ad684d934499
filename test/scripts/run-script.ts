// Plays a script: starts a weir between scripted servers and clients, does step after step, and ends when one does not hold.

import net from 'node:net';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { type Config, newDatabase, setSetting } from '../../lib/config/index.js';
import { takeCensus } from '../../lib/pooler/index.js';
import { eventually } from '../support/index.js';
import { startWeir, type TestWeir } from '../support/weir.js';
import { decode, encodeCancel, encodeStartup } from './messages.js';
import { Channel, NotReceived, ScriptedServers, type ServerPeer } from './peers.js';
import { type Action, bytesToSend, type Message, type Script, type Step, type Word } from './script.js';

/** How long "nothing" is looked at: many turns of the event loop, in which everything here happens. */
const nothingMs = 40;

/** Of every script, unless it says otherwise. */
const settings: ReadonlyMap<string, string> = new Map([
  ['auth_type', 'trust'],
  ['default_pool_size', '1'],
  ['server_tls_sslmode', 'disable'],
  ['server_login_retry', '0'],
  // The peers play what the script says and nothing else.
  ['read_catalog', 'false'],
  ['defer_begin', 'false'],
]);

/** A step that did not hold. */
export class StepFailed extends Error {}

interface ClientPeer {
  readonly channel: Channel;
  /** The cancel key weir gave it. */
  key: { readonly pid: number; readonly secret: Buffer } | undefined;
}

/** @returns how many expectations held @throws StepFailed naming the line */
export async function runScript(script: Script): Promise<number> {
  const servers = await ScriptedServers.start(script.reports);
  try {
    const weir = await startWeir({
      statementPrefix: 'weir_',
      server: { host: '127.0.0.1', port: servers.port },
      users: { alice: '', bob: '' },
      config: (config) => configure(config, script, servers.port),
    });
    try {
      return await new Play(weir, servers).run(script.steps);
    } finally {
      await weir.stop();
    }
  } finally {
    await servers.stop();
  }
}

function configure(base: Config, script: Script, port: number): Config {
  let config = base;
  for (const [key, value] of [...settings, ...script.weir]) {
    const result = setSetting(config, key, value);
    if (!result.ok) throw new StepFailed(`weir ${key}: ${result.problem.message}`);
    config = result.config;
  }
  const database = newDatabase('*', [{ kind: 'tcp', host: '127.0.0.1', port }], Object.fromEntries(script.database));
  return { ...config, databases: new Map([['*', database]]) };
}

class Play {
  readonly #weir: TestWeir;
  readonly #servers: ScriptedServers;
  readonly #clients = new Map<string, ClientPeer>();
  readonly #bound = new Map<string, string>();
  #held = 0;

  constructor(weir: TestWeir, servers: ScriptedServers) {
    this.#weir = weir;
    this.#servers = servers;
  }

  async run(steps: readonly Step[]): Promise<number> {
    for (const step of steps) {
      try {
        await this.#do(step.action);
      } catch (error) {
        if (!(error instanceof NotReceived || error instanceof StepFailed)) throw error;
        throw new StepFailed(`line ${step.line}: ${step.text}\n${error.message}`);
      }
    }
    await sleep(nothingMs);
    this.#nothingLeft();
    await this.#everythingReturned();
    return this.#held;
  }

  async #do(action: Action): Promise<void> {
    switch (action.kind) {
      case 'connect':
        return this.#connect(action.peer, action.login);
      case 'send':
        return this.#send(action.peer, action.messages, action.slowly);
      case 'send-bytes':
        (await this.#channel(action.peer)).socket.write(action.bytes);
        return;
      case 'send-cancel':
        return this.#sendCancel(action.peer, action.of, action.wrong);
      case 'end':
        (await this.#channel(action.peer)).socket.end();
        return;
      case 'expect':
        return this.#expect(action);
      case 'expect-bytes': {
        const bytes = await (await this.#channel(action.peer)).bytes(action.bytes.length, 'bytes');
        this.#same(bytes.toString('hex'), action.bytes.toString('hex'));
        return;
      }
      case 'expect-cancel': {
        const server = await this.#server(action.peer);
        await eventually(() => this.#servers.takeCancel(server)).catch(() => {
          throw new StepFailed('no cancel request with the key of this server came');
        });
        this.#held++;
        return;
      }
      case 'expect-nothing':
        return this.#expectNothing(await this.#channel(action.peer));
      case 'expect-end':
        await (await this.#channel(action.peer)).end();
        this.#held++;
        return;
      case 'pool':
        return this.#waitForPool(action.counts);
      default:
        action satisfies never;
    }
  }

  async #connect(name: string, login: ReadonlyMap<string, string> | undefined): Promise<void> {
    const socket = net.connect(this.#weir.port, '127.0.0.1');
    const client: ClientPeer = { channel: new Channel(socket), key: undefined };
    this.#clients.set(name, client);
    if (login === undefined) return;
    const parameters = new Map([['user', 'alice'], ['database', 'db'], ...login]);
    socket.write(encodeStartup('StartupMessage', ['3.0', ...[...parameters].map(([key, value]) => `${key}=${value}`)]));
    for (;;) {
      const [message, ...words] = await this.#next(name, 'the end of the login');
      if (message === 'ErrorResponse') throw new StepFailed(`the login failed: ${words.join(' ')}`);
      if (message === 'ReadyForQuery') return;
    }
  }

  async #channel(name: string): Promise<Channel> {
    if (name.startsWith('s')) return (await this.#server(name)).channel;
    const client = this.#clients.get(name);
    if (client === undefined) throw new StepFailed(`${name} has not connected`);
    return client.channel;
  }

  /** Weir connects when it needs to: the server may be about to come. */
  async #server(name: string): Promise<ServerPeer> {
    const index = Number(name.slice(1)) - 1;
    return eventually(() => this.#servers.all[index] ?? false).catch(() => {
      throw new StepFailed(`weir has made ${this.#servers.all.length} server connections, there is no ${name}`);
    });
  }

  async #send(name: string, messages: readonly Message[], slowly: boolean): Promise<void> {
    const { socket } = await this.#channel(name);
    const bytes = Buffer.concat(
      messages.map((message) => bytesToSend(name, message, (word) => this.#wordToSend(word))),
    );
    if (!slowly) {
      socket.write(bytes);
      return;
    }
    for (const byte of bytes) {
      socket.write(Buffer.from([byte]));
      // Two turns: one in which the byte is written, one in which it is read.
      await nextTurn();
      await nextTurn();
    }
  }

  #wordToSend({ text, quoted }: Word): string {
    if (quoted || !text.startsWith('$')) return text;
    const value = this.#bound.get(text);
    if (value === undefined) throw new StepFailed(`${text} has not been seen`);
    return value;
  }

  async #sendCancel(name: string, of: string, wrong: boolean): Promise<void> {
    const key = this.#clients.get(of)?.key;
    if (key === undefined) throw new StepFailed(`${of} has no cancel key`);
    const secret = Buffer.from(key.secret);
    if (wrong) secret[0] = (secret[0] as number) ^ 1;
    (await this.#channel(name)).socket.write(encodeCancel(key.pid, secret));
  }

  /** Name and words of the next message. */
  async #next(name: string, what: string): Promise<string[]> {
    const { frame } = await (await this.#channel(name)).frame(what);
    return this.#decode(name, frame);
  }

  #decode(name: string, frame: Buffer): string[] {
    const message = decode(name.startsWith('c') ? 'server' : 'client', frame);
    const client = this.#clients.get(name);
    if (client !== undefined && message[0] === 'BackendKeyData') {
      client.key = { pid: Number(message[1]), secret: Buffer.from(message[2] ?? '', 'hex') };
    }
    return message;
  }

  async #expect(action: Action & { kind: 'expect' }): Promise<void> {
    const { peer, how } = action;
    const chunks = new Set<number>();
    for (const expected of action.messages) {
      const what = textOf(expected);
      if (how === 'until') {
        while (!this.#matches(await this.#next(peer, what), expected));
      } else {
        const { frame, chunk } = await (await this.#channel(peer)).frame(what);
        const message = this.#decode(peer, frame);
        if (!this.#matches(message, expected)) this.#same(clip(message.map(quote).join(' ')), clip(what));
        chunks.add(chunk);
      }
      this.#held++;
    }
    if (how === 'together' && chunks.size > 1) throw new StepFailed(`they came in ${chunks.size} pieces`);
  }

  #matches([name, ...words]: readonly string[], expected: Message): boolean {
    if (name !== expected.name) return false;
    const open = expected.words.at(-1)?.text === '...';
    const wanted = open ? expected.words.slice(0, -1) : expected.words;
    if (open ? words.length < wanted.length : words.length !== wanted.length) return false;
    return wanted.every((word, index) => this.#matchesWord(words[index] as string, word));
  }

  #matchesWord(found: string, { text, quoted }: Word): boolean {
    if (quoted || !/^[$*{]/.test(text)) return found === text;
    if (text === '*') return true;
    const length = /^\{(\d+)\}$/.exec(text)?.[1];
    if (length !== undefined) return found.length === Number(length);
    const before = this.#bound.get(text);
    if (before === undefined) this.#bound.set(text, found);
    return before === undefined || before === found;
  }

  #same(found: string, expected: string): void {
    if (found !== expected) throw new StepFailed(`  expected: ${expected}\n  received: ${found}`);
    this.#held++;
  }

  async #expectNothing(channel: Channel): Promise<void> {
    const until = performance.now() + nothingMs;
    for (let leftMs = nothingMs; leftMs > 0 && channel.unread.length === 0; leftMs = until - performance.now()) {
      await channel.arrival(leftMs);
    }
    this.#same(clip(channel.unread.toString('latin1')), '');
  }

  async #waitForPool(counts: ReadonlyMap<string, number>): Promise<void> {
    await eventually(() => [...counts].every(([key, value]) => this.#count(key) === value)).catch(() => {
      throw new StepFailed([...counts.keys()].map((key) => `  ${key} is ${this.#count(key)}`).join('\n'));
    });
    this.#held++;
  }

  #count(key: string): number {
    let sum = 0;
    for (const pool of this.#weir.pooler.pools) {
      switch (key) {
        case 'servers':
          sum += pool.servers.size;
          break;
        case 'waiting':
          sum += pool.waiting;
          break;
        case 'clients':
          sum += pool.clients.size;
          break;
        case 'idle':
        case 'active':
        case 'tested':
          sum += pool.counts[key];
          break;
        default:
          throw new StepFailed(`a pool does not count ${key}`);
      }
    }
    return sum;
  }

  /** Whatever a script does not expect must not have come. */
  #nothingLeft(): void {
    const channels = [...this.#clients].map(([name, { channel }]) => [name, channel] as const);
    const servers = this.#servers.all.map(({ channel }, index) => [`s${index + 1}`, channel] as const);
    for (const [name, channel] of [...channels, ...servers]) {
      if (channel.unread.length > 0) {
        throw new StepFailed(
          `after the last step ${name} has unread: ${clip(JSON.stringify(channel.unread.toString('latin1')))}`,
        );
      }
    }
    if (this.#servers.cancelsLeft > 0)
      throw new StepFailed('after the last step there is a cancel request nobody expected');
    this.#held++;
  }

  /** When all clients have gone, no server is on loan and nobody waits. */
  async #everythingReturned(): Promise<void> {
    for (const { channel } of this.#clients.values()) channel.destroy();
    await eventually(() => {
      const { clients } = this.#weir.pooler;
      return clients.size === 0 && takeCensus(this.#weir.pooler).pools.every(({ servers }) => servers.active === 0);
    }).catch(() => {
      throw new StepFailed('after the clients had gone a server was still on loan');
    });
    this.#held++;
  }
}

function textOf(message: Message): string {
  return [message.name, ...message.words.map((word) => (word.quoted ? quote(word.text) : word.text))].join(' ');
}

function quote(word: string): string {
  return /^[\w.]+$/.test(word) ? word : JSON.stringify(word);
}

function clip(text: string): string {
  return text.length <= 300 ? text : `${text.slice(0, 300)}... (${text.length} characters)`;
}
