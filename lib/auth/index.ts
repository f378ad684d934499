// Authentication as pure steps, both towards clients and towards servers: bytes in, bytes out, failures as values.
// Never opens a socket or a file, never waits, never logs; time and randomness come in as parameters. SASL payloads
// only: message framing is the caller's. What is derived from passwords prints as nothing.

export type { AuthFailure } from './auth-failure.js';
export {
  certificateFailure,
  loginRejected,
  noSuchUser,
  passwordFailure,
  passwordTooLong,
  saslFailure,
  serverLoginFailure,
  tlsRequired,
} from './auth-failure.js';
export { matchCertificate } from './certificate.js';
export type {
  AuthType,
  LoginChannel,
  Mechanism,
  ServerAnswer,
  ServerCredential,
  ServerRequest,
} from './choose-mechanism.js';
export { chooseMechanism, chooseServerAnswer } from './choose-mechanism.js';
export {
  mockDerivationsMax,
  passwordBytesMax,
  scramClientMessageBytesMax,
  scramIterationsDefault,
  scramIterationsMax,
  scramKeyEntriesMax,
  scramSaltBytes,
  scramSaltBytesMax,
  scramServerMessageBytesMax,
  throttleEntriesMax,
} from './limits.js';
export { md5Hash, md5Response, md5SaltBytes, verifyMd5Response } from './md5.js';
export { preparePassword } from './prepare-password.js';
export type { ScramKeyCacheOptions, ScramVerifiersOptions } from './scram-cache.js';
export { ScramKeyCache, ScramVerifiers } from './scram-cache.js';
export type { ScramClientOptions, ScramClientStep, ScramCredentials } from './scram-client.js';
export { ScramClient } from './scram-client.js';
export type { ScramParameters } from './scram-keys.js';
export { buildScramVerifier, deriveScramKeys, ScramKeys, ScramVerifier, sameParameters } from './scram-keys.js';
export type { RandomBytes, ScramMechanism, ScramServerOptions, ScramServerStep } from './scram-server.js';
export { channelBindingType, ScramServer } from './scram-server.js';
export type { StoredSecret } from './stored-secret.js';
export { parseStoredSecret } from './stored-secret.js';
export type { LoginThrottleOptions, ThrottleRate } from './throttle.js';
export { addressThrottleRate, LoginThrottle, userThrottleRate } from './throttle.js';
export type { PasswordVerdict } from './verify-password.js';
export { verifyPassword } from './verify-password.js';
