// Gives users roles of the policy for a time and takes them back: checked, recorded in the audit trail, and logged.

import type { Logger } from 'pino';
import type { AuditTrail } from '../audit/index.js';
import { type Clock, PoolerError } from '../util/index.js';
import { type GrantOrder, grantOf } from './grant-order.js';
import type { Grant, Revocation } from './grants.js';
import type { Policing } from './policing.js';

export interface GrantDeskHouse {
  readonly clock: Clock;
  readonly log: Logger;
  readonly policing: Policing;
  readonly audit: AuditTrail | undefined;
  /** Milliseconds. */
  readonly grantMsMax: number;
}

export class GrantDesk {
  readonly #house: GrantDeskHouse;

  constructor(house: GrantDeskHouse) {
    this.#house = house;
  }

  /** The grant that is asked for, not in force yet. @throws PoolerError that says why there can be none */
  order(order: GrantOrder): Grant {
    const { policing, clock, grantMsMax } = this.#house;
    return grantOf(order, policing.policy?.document, grantMsMax, clock.wallMs());
  }

  /** Resolves when it is in force, which is when its record is as sure as `audit_mode` asks for. @throws PoolerError */
  async grant(grant: Grant): Promise<void> {
    const { policing, clock, log, audit } = this.#house;
    if (grant.untilMs <= clock.wallMs()) return;
    const { role, user, reason, grantedBy } = grant;
    const until = new Date(grant.untilMs).toISOString();
    if (audit !== undefined && !(await audit.granted({ role, user, until, reason, by: grantedBy }))) {
      throw new PoolerError('the grant cannot be recorded', {
        sqlstate: '53100',
        hint: 'SHOW AUDIT says what is wrong with the trail.',
      });
    }
    policing.grants.add(grant);
    log.info({ role, user, until, reason, grantedBy }, 'access granted');
  }

  /** @throws PoolerError where there is nothing to take back */
  revoke({ role, user, revokedBy }: Revocation): void {
    const { policing, log, audit } = this.#house;
    if (!policing.grants.remove(role, user)) {
      throw new PoolerError('there is no such grant', { sqlstate: '42704', hint: 'SHOW GRANTS lists them.' });
    }
    audit?.revoked({ role, user, by: revokedBy });
    log.info({ role, user, revokedBy }, 'access revoked');
  }

  /** Those in force. */
  list(): readonly Grant[] {
    return this.#house.policing.grants.list();
  }
}
