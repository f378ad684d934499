// Counts the server connections of the process against the limits that span several pools: per database and per user.

/** A limit of 0 is none. */
export interface BudgetLimits {
  readonly databaseMax: number;
  readonly userMax: number;
}

export type BudgetAnswer = 'taken' | 'database-full' | 'user-full';

export class ServerBudget {
  readonly #byDatabase = new Map<string, number>();
  readonly #byUser = new Map<string, number>();

  /** Takes one place, if both limits leave one. */
  take(database: string, user: string, limits: BudgetLimits): BudgetAnswer {
    const ofDatabase = this.ofDatabase(database);
    const ofUser = this.ofUser(user);
    if (limits.databaseMax > 0 && ofDatabase >= limits.databaseMax) return 'database-full';
    if (limits.userMax > 0 && ofUser >= limits.userMax) return 'user-full';
    this.#byDatabase.set(database, ofDatabase + 1);
    this.#byUser.set(user, ofUser + 1);
    return 'taken';
  }

  give(database: string, user: string): void {
    decrement(this.#byDatabase, database);
    decrement(this.#byUser, user);
  }

  ofDatabase(database: string): number {
    return this.#byDatabase.get(database) ?? 0;
  }

  ofUser(user: string): number {
    return this.#byUser.get(user) ?? 0;
  }
}

function decrement(counts: Map<string, number>, key: string): void {
  const count = (counts.get(key) ?? 0) - 1;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
}
