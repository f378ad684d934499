// Commands of the console that stay in force: workers that begin later obey them too.

import type { Grant, Revocation } from '../pooler/index.js';
import type { Command } from './messages.js';

export class Standing {
  readonly #commands = new Map<string, Command>();

  /** Grants whose time is over are forgotten. */
  commandsAt(wallMs: number): readonly Command[] {
    for (const [key, command] of this.#commands) {
      if (command.kind === 'grant' && command.grant.untilMs <= wallMs) this.#commands.delete(key);
    }
    return [...this.#commands.values()];
  }

  /** What is in force from when it is given on. @returns what takes it back */
  begin(command: Command): () => void {
    const key = keyOf(command);
    if (key === undefined) return () => {};
    const before = this.#commands.get(key);
    // There is nothing left to cut by a KILL, but what comes waits.
    const kept = command.kind === 'control' && command.command === 'kill' ? { ...command, command: 'pause' } : command;
    this.#commands.set(key, kept);
    return () => {
      if (this.#commands.get(key) !== kept) return;
      if (before === undefined) this.#commands.delete(key);
      else this.#commands.set(key, before);
    };
  }

  /** The command has been obeyed: what it ends is in force no more. */
  end(command: Command): void {
    if (command.kind === 'revoke') this.#commands.delete(grantKey(command.revocation));
    if (command.kind !== 'control') return;
    const { argument = '' } = command;
    if (command.command === 'resume') this.#commands.delete(`pause ${argument}`);
    else if (command.command === 'enable') this.#commands.delete(`disable ${argument}`);
    else if (command.command === 'reload') {
      for (const key of [...this.#commands.keys()]) if (key.startsWith('set ')) this.#commands.delete(key);
    }
  }
}

/** Of a command that stays in force. */
function keyOf(command: Command): string | undefined {
  if (command.kind === 'set') return `set ${command.key}`;
  if (command.kind === 'grant') return grantKey(command.grant);
  if (command.kind === 'revoke') return undefined;
  const { argument = '' } = command;
  switch (command.command) {
    case 'pause':
    case 'kill':
      return `pause ${argument}`;
    case 'disable':
      return `disable ${argument}`;
    default:
      return undefined;
  }
}

function grantKey({ role, user }: Grant | Revocation): string {
  return `grant ${JSON.stringify([role, user])}`;
}
