// The two hot directions between a client and its server, the queue of replies owed, and what a client's statements leave on a
// server. Talks to ports; never to a socket.

export { ClientChannel, type ClientChannelLimits } from './client-channel.js';
export { type ResetPlan, type Standing, smartReset } from './ladder.js';
export { choosesPlans, noValues, type PlanQuestion, type PlansAnswer } from './plans.js';
export {
  type Auditor,
  type BoundValues,
  type ClientHost,
  type Estimation,
  type Gate,
  type LadderCounts,
  type Moment,
  newTraffic,
  type Port,
  type ResetKind,
  type Ruling,
  resetKinds,
  type ServerHost,
  type SessionHost,
  type Traffic,
} from './ports.js';
export type { Sender } from './sender.js';
export { ClientSequences, type ServerSequences } from './sequences.js';
export { ServerChannel } from './server-channel.js';
export { type Reader, type RerunCause, rerunCauses, SharedRead } from './shared-read.js';
