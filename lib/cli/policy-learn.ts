// `weir policy learn`: the policy that allows what an audit trail has, and which of its statements no rule can allow.

import { basename, dirname } from 'node:path';
import { diskDirectory, statementsOf } from '../audit/index.js';
import { readPolicyFile } from '../config/index.js';
import { Learner, type PolicyDocument, type RehearsedNames } from '../policy/index.js';
import type { StatementReader, TextReading } from '../sql/index.js';
import { PoolerError } from '../util/index.js';
import { caseName } from './case-report.js';
import { decodedPolicy } from './load.js';
import { rehearsalOf } from './policy-setup.js';

export interface Learnt {
  /** TOML. */
  readonly policy: string;
  readonly notes: readonly string[];
  /** Every statement that was learnt is allowed. */
  readonly isComplete: boolean;
}

/** Different texts, user by user. */
const textsMax = 100_000;
/** Statements that are told one by one. */
const toldMax = 20;

/** What the lines of the trail come to. */
interface Gathered {
  /** Texts by user. */
  readonly texts: Map<string, Set<string>>;
  textless: number;
  denied: number;
  unnamed: number;
}

/** @param onlyUser all users where it is undefined @throws PoolerError */
export async function learn(
  segments: readonly string[],
  onlyUser: string | undefined,
  names: RehearsedNames,
  reader: StatementReader,
): Promise<Learnt> {
  const gathered = await gather(segments, onlyUser);
  const learner = new Learner(names);
  const learnt: Learned[] = [];
  let unread = 0;
  for (const [user, texts] of gathered.texts) {
    for (const sql of texts) {
      const reading = await reader.read(sql);
      if (reading.kind === 'unread' || reading.facts.deeds?.unknown !== false) unread++;
      else {
        learner.take(user, reading.facts.deeds.statements);
        learnt.push({ user, sql, facts: reading.facts });
      }
    }
  }
  const policy = learner.policy();
  const refused = stillDenied(learnt, documentOf(policy), names);
  const notes = [
    `learnt from ${learnt.length} different statements of ${gathered.texts.size} users`,
    ...counted(gathered.denied, 'records of denied statements are left out'),
    ...counted(gathered.textless, 'records have no text, or not all of it, and are left out'),
    ...counted(gathered.unnamed, 'records of users with a star in their name are left out'),
    ...counted(unread, 'statements cannot be parsed and are left out'),
    ...counted(refused.length, 'statements are still denied: no rule can allow what cannot be seen in them'),
    ...refused.slice(0, toldMax).map(({ user, sql }) => `  ${user}: ${caseName(sql)}`),
  ];
  return { policy, notes, isComplete: refused.length === 0 };
}

interface Learned {
  readonly user: string;
  readonly sql: string;
  readonly facts: Extract<TextReading, { kind: 'read' }>['facts'];
}

async function gather(segments: readonly string[], onlyUser: string | undefined): Promise<Gathered> {
  const gathered: Gathered = { texts: new Map(), textless: 0, denied: 0, unnamed: 0 };
  let count = 0;
  for (const path of segments) {
    try {
      for await (const { user, verdict, sql } of statementsOf(diskDirectory(dirname(path)).read(basename(path)))) {
        if (onlyUser !== undefined && user !== onlyUser) continue;
        if (verdict === 'deny') gathered.denied++;
        // A role would be for others, too.
        else if (user.includes('*')) gathered.unnamed++;
        else if (sql === null || sql === '') gathered.textless++;
        else if (count < textsMax) {
          const texts = gathered.texts.get(user) ?? new Set();
          if (!texts.has(sql)) count++;
          gathered.texts.set(user, texts.add(sql));
        }
      }
    } catch (cause) {
      throw new PoolerError(`cannot read ${path}`, {
        sqlstate: '58030',
        detail: cause instanceof Error ? cause.message : String(cause),
        hint: 'Give files called audit.*.jsonl in the directory that audit_dir names.',
        cause,
      });
    }
  }
  if (count === 0) {
    throw new PoolerError('there is nothing to learn from', {
      sqlstate: '02000',
      hint: 'The trail needs the texts of statements: set audit_sql = "normalised" or "full", and audit_statements = "all".',
    });
  }
  if (count < textsMax) return gathered;
  throw new PoolerError(`more than ${textsMax} different statements`, {
    sqlstate: '54000',
    hint: 'Set audit_sql = "normalised", or give fewer segments.',
  });
}

function documentOf(policy: string): PolicyDocument {
  const { policy: raw } = readPolicyFile('(learnt)', policy);
  if (raw === null) throw new PoolerError('what was learnt is not a policy', { sqlstate: 'XX000' });
  return decodedPolicy(raw);
}

function stillDenied(learnt: readonly Learned[], document: PolicyDocument, names: RehearsedNames): Learned[] {
  return learnt.filter(({ user, sql, facts }) => {
    const { verdict, rule } = rehearsalOf(document, { user, database: user, wallMs: 0 }, names).judge(sql, facts);
    // What EXECUTE runs was learnt when it was prepared.
    const isPrepared = rule === '(unknown)' && facts.deeds?.statements.some(({ executes }) => executes.length > 0);
    return verdict === 'deny' && isPrepared !== true;
  });
}

function counted(count: number, what: string): string[] {
  return count === 0 ? [] : [`${count} ${what}`];
}
