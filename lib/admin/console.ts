// Answers what a user types on the console: who may, which command, and its answer as messages of the protocol.

import type { ClientConnection, Console, ConsoleAnswer } from '../client/index.js';
import type { Pooler } from '../pooler/index.js';
import { PoolerError } from '../util/index.js';
import { commandComplete, emptyQueryMessage, errorResponse, noticeResponse } from '../wire/index.js';
import { type Context, clipped, type Role, refusal, type ShowCommand, table } from './command.js';
import { controlCommands, showCommands } from './commands.js';
import { set } from './control/set.js';
import { commandBytesMax, parseCommand } from './parse.js';
import { sessionParameter } from './session-parameters.js';

/** How much of a command an error repeats. */
const repeatedCharsMax = 200;

export class AdminConsole implements Console {
  readonly #pooler: Pooler;
  #commands = 0;

  constructor(pooler: Pooler) {
    this.#pooler = pooler;
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
    const context: Context = { pooler: this.#pooler, client, commands: this.#commands };
    const parsed = parseCommand(text);
    switch (parsed.kind) {
      case 'empty':
        return [emptyQueryMessage];
      case 'set':
        return this.#set(parsed.key, parsed.value, role, context);
      case 'command':
        if (parsed.word === 'show' || parsed.word === 'select') return showNamed(parsed.argument, text, role, context);
        return this.#control(parsed.word, parsed.argument, text, role, context);
      case 'several':
        throw invalid(text, 'Send one command a message.');
      case 'invalid':
        throw invalid(text);
      case 'bad-arguments':
        throw refusal('bad arguments', { hint: 'A name is missing, empty or too long.' });
      default:
        return parsed satisfies never;
    }
  }

  async #control(
    word: string,
    argument: string | undefined,
    text: string,
    role: Role,
    context: Context,
  ): Promise<readonly Buffer[]> {
    const command = controlCommands.get(word);
    if (command === undefined) throw invalid(text);
    this.#allow(command.role, role);
    if (command.argument === 'none' && argument !== undefined) throw invalid(text);
    const tag = await this.#logged(context, command.name, argument, () => command.run(argument, context));
    return tag === undefined ? [] : [commandComplete(tag)];
  }

  async #set(key: string, value: string, role: Role, context: Context): Promise<readonly Buffer[]> {
    if (sessionParameter(key) !== undefined) {
      return [
        noticeResponse({ severity: 'NOTICE', sqlstate: '00000', message: 'SET ignored' }),
        commandComplete('SET'),
      ];
    }
    this.#allow(set.role, role);
    // The value is not for the log.
    const tag = await this.#logged(context, 'set', key, () => set.run(key, value, context));
    return [commandComplete(tag)];
  }

  #allow(needed: Role, role: Role): void {
    if (!suffices(role, needed)) throw adminNeeded();
  }

  async #logged<T>(
    context: Context,
    command: string,
    argument: string | undefined,
    run: () => Promise<T> | T,
  ): Promise<T> {
    const { log } = this.#pooler;
    const { state, id } = context.client;
    const user = state.kind === 'console' ? state.user : undefined;
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

function showNamed(name: string | undefined, text: string, role: Role, context: Context): readonly Buffer[] {
  if (name === undefined) throw invalid(text);
  const parameter = sessionParameter(name);
  if (parameter !== undefined) return table({ [parameter.name]: 'text' }, [{ [parameter.name]: parameter.value }]);
  const command: ShowCommand | undefined = showCommands.get(name.toLowerCase());
  if (command === undefined) throw invalid(text);
  if (!suffices(role, command.role)) throw adminNeeded();
  return command.answer(context);
}

function suffices(role: Role, needed: Role): boolean {
  return role === 'admin' || needed === 'stats';
}

function adminNeeded(): PoolerError {
  return refusal('admin access needed', { sqlstate: '08P01', hint: 'Log in as one of admin_users.' });
}

function invalid(text: string, hint = 'SHOW HELP lists the commands.'): PoolerError {
  return refusal(`invalid command '${clipped(text, repeatedCharsMax)}', use SHOW HELP;`, { hint });
}
