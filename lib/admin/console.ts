// Answers what a user types on the console: who may, which command, and its answer as messages of the protocol.

import type { ClientConnection, Console, ConsoleAnswer } from '../client/index.js';
import type { Grant, Pooler, Revocation } from '../pooler/index.js';
import { PoolerError } from '../util/index.js';
import { commandComplete, emptyQueryMessage, errorResponse, noticeResponse } from '../wire/index.js';
import { type AnyRow, type Context, clipped, type Role, refusal, table } from './command.js';
import { controlCommands, showCommands } from './commands.js';
import { grant } from './control/grant.js';
import { revoke } from './control/revoke.js';
import { set } from './control/set.js';
import { commandBytesMax, type Parsed, parseCommand } from './parse.js';
import { sessionParameter } from './session-parameters.js';

/** How much of a command an error repeats. */
const repeatedCharsMax = 200;

/** Runs commands in all processes that serve the same clients, this one among them. */
export interface Fleet {
  /** The rows of all of them. @throws PoolerError */
  rows(command: string): Promise<readonly AnyRow[]>;
  /** @returns as `ControlCommand.run` @throws PoolerError */
  control(command: string, argument: string | undefined): Promise<string | undefined>;
  /** @returns the command tag @throws PoolerError */
  set(key: string, value: string): Promise<string>;
  /** @throws PoolerError */
  grant(grant: Grant): Promise<void>;
  /** @throws PoolerError */
  revoke(revocation: Revocation): Promise<void>;
}

export class AdminConsole implements Console {
  readonly #pooler: Pooler;
  readonly #fleet: Fleet;
  #commands = 0;

  /** @param fleet where the process is one of several */
  constructor(pooler: Pooler, fleet?: Fleet) {
    this.#pooler = pooler;
    this.#fleet = fleet ?? this.here;
  }

  /** Commands of which is known that they may run, in this process alone. */
  readonly here: Fleet = {
    rows: async (command) => found(showCommands, command).rows(this.#context),
    control: async (command, argument) => found(controlCommands, command).run(argument, this.#context),
    set: async (key, value) => set.run(key, value, this.#context),
    grant: async (given) => grant.run(given, this.#context),
    revoke: async (revocation) => revoke.run(revocation, this.#context),
  };

  get #context(): Context {
    return { pooler: this.#pooler, commands: this.#commands };
  }

  roleOf(user: string): Role | undefined {
    const { admin_users, stats_users } = this.#pooler.config.weir;
    if (admin_users.includes(user)) return 'admin';
    return stats_users.includes(user) ? 'stats' : undefined;
  }

  /** Never rejects: an error is an answer. */
  async execute(text: string, role: Role, client: ClientConnection): Promise<ConsoleAnswer> {
    this.#commands++;
    try {
      return { frames: await this.#answer(text, role, client) };
    } catch (error) {
      const shown = this.#shown(error);
      this.#pooler.poolerErrors.add(shown.sqlstate);
      return { frames: [errorResponse({ severity: 'ERROR', ...shown })] };
    }
  }

  async #answer(text: string, role: Role, client: ClientConnection): Promise<readonly Buffer[]> {
    if (Buffer.byteLength(text) > commandBytesMax) {
      throw refusal('command too long', { sqlstate: '54000', detail: `At most ${commandBytesMax} bytes.` });
    }
    const parsed = parseCommand(text);
    switch (parsed.kind) {
      case 'empty':
        return [emptyQueryMessage];
      case 'set':
        return this.#set(parsed.key, parsed.value, role, client);
      case 'command':
        if (parsed.word === 'show' || parsed.word === 'select') return this.#show(parsed.argument, text, role);
        return this.#control(parsed.word, parsed.argument, text, role, client);
      case 'grant':
        return this.#grant(parsed, role, client);
      case 'revoke':
        return this.#revoke(parsed, role, client);
      case 'several':
        throw invalid(text, 'Send one command a message.');
      case 'invalid':
        throw invalid(text, hintFor(text));
      case 'bad-arguments':
        throw refusal('bad arguments', { hint: 'A name is missing, empty or too long.' });
      default:
        return parsed satisfies never;
    }
  }

  async #show(name: string | undefined, text: string, role: Role): Promise<readonly Buffer[]> {
    if (name === undefined) throw invalid(text);
    const parameter = sessionParameter(name);
    if (parameter !== undefined) return table({ [parameter.name]: 'text' }, [{ [parameter.name]: parameter.value }]);
    const command = showCommands.get(name.toLowerCase());
    if (command === undefined) throw invalid(text);
    this.#allow(command.role, role);
    return command.answer(await this.#fleet.rows(command.name));
  }

  async #control(
    word: string,
    argument: string | undefined,
    text: string,
    role: Role,
    client: ClientConnection,
  ): Promise<readonly Buffer[]> {
    const command = controlCommands.get(word);
    if (command === undefined) throw invalid(text);
    this.#allow(command.role, role);
    if (command.argument === 'none' && argument !== undefined) throw invalid(text);
    const tag = await this.#logged(client, command.name, argument, () => this.#fleet.control(command.name, argument));
    return tag === undefined ? [] : [commandComplete(tag)];
  }

  async #set(key: string, value: string, role: Role, client: ClientConnection): Promise<readonly Buffer[]> {
    if (sessionParameter(key) !== undefined) {
      return [
        noticeResponse({ severity: 'NOTICE', sqlstate: '00000', message: 'SET ignored' }),
        commandComplete('SET'),
      ];
    }
    this.#allow(set.role, role);
    // The value is not for the log.
    const tag = await this.#logged(client, 'set', key, () => this.#fleet.set(key, value));
    return [commandComplete(tag)];
  }

  async #grant(
    { kind, ...order }: Parsed & { readonly kind: 'grant' },
    role: Role,
    client: ClientConnection,
  ): Promise<readonly Buffer[]> {
    this.#allow(grant.role, role);
    await this.#logged(client, kind, order.role, () =>
      this.#fleet.grant(this.#pooler.grants.order({ ...order, grantedBy: whoIs(client) })),
    );
    return [commandComplete('GRANT')];
  }

  async #revoke(
    { kind, ...what }: Parsed & { readonly kind: 'revoke' },
    role: Role,
    client: ClientConnection,
  ): Promise<readonly Buffer[]> {
    this.#allow(revoke.role, role);
    await this.#logged(client, kind, what.role, () => this.#fleet.revoke({ ...what, revokedBy: whoIs(client) }));
    return [commandComplete('REVOKE')];
  }

  #allow(needed: Role, role: Role): void {
    if (!suffices(role, needed)) throw adminNeeded();
  }

  async #logged<T>(
    client: ClientConnection,
    command: string,
    argument: string | undefined,
    run: () => Promise<T>,
  ): Promise<T> {
    const { log } = this.#pooler;
    const { id } = client;
    const user = userOf(client);
    log.info({ client: id, user, command, argument }, 'console command');
    try {
      return await run();
    } catch (error) {
      if (error instanceof PoolerError) {
        log.warn({ client: id, user, command, argument, sqlstate: error.sqlstate }, `console: ${error.message}`);
      }
      throw error;
    }
  }

  /** What the user may read of an error. */
  #shown(error: unknown): {
    sqlstate: string;
    message: string;
    detail?: string | undefined;
    hint?: string | undefined;
  } {
    if (error instanceof PoolerError) {
      const { sqlstate, message, detail, hint } = error;
      return { sqlstate, message, detail, hint };
    }
    this.#pooler.log.error({ err: error }, 'a console command failed');
    return {
      sqlstate: 'XX000',
      message: 'internal error in the pooler',
      hint: 'Please report it with the log.',
    };
  }
}

function userOf({ state }: ClientConnection): string | undefined {
  return state.kind === 'console' ? state.user : undefined;
}

/** Of a grant's records. */
function whoIs(client: ClientConnection): string {
  return `console:${userOf(client) ?? ''}`;
}

function found<T>(commands: ReadonlyMap<string, T>, name: string): T {
  const command = commands.get(name);
  if (command === undefined) throw invalid(name);
  return command;
}

function suffices(role: Role, needed: Role): boolean {
  return role === 'admin' || needed === 'stats';
}

function adminNeeded(): PoolerError {
  return refusal('admin access needed', { sqlstate: '08P01', hint: 'Log in as one of admin_users.' });
}

function hintFor(text: string): string | undefined {
  const [, word] = /^\s*(grant|revoke)\b/i.exec(text) ?? [];
  if (word === undefined) return undefined;
  return `Write ${(word.toLowerCase() === 'grant' ? grant : revoke).usage[0]}.`;
}

function invalid(text: string, hint = 'SHOW HELP lists the commands.'): PoolerError {
  return refusal(`invalid command '${clipped(text, repeatedCharsMax)}', use SHOW HELP;`, { hint });
}
