// Of one server: the client whose statement may have notified last, which so is the sender of what comes from there.

import { Notifies } from '../session/index.js';

export class Sender {
  /** As the client was told; 0 while there has been none. */
  pid = 0;
  /** Whether a text of its said so; else only a trigger or a function may have notified. */
  named = false;
  /** Whether all that it has notified has been told to those who listen. */
  settled = true;
  /** What is awaited for that. */
  awaited: object | undefined;

  /** A statement of the client's that may notify is about to run. */
  runs(pid: number, notifies: Notifies): void {
    const named = notifies === Notifies.Named;
    this.named = this.pid === pid && !this.settled ? this.named || named : named;
    this.pid = pid;
    this.settled = false;
    this.awaited = undefined;
  }
}
