// The state of a session as data: settings, prepared statements, what statements leave behind. Never touches a socket.

export { Effect, planReset, type ResetPlan } from './effects.js';
export { isReplayed, isSettingName, isStartupSetting, Settings } from './settings.js';
export { ClientStatements, ServerStatements, Statement, StatementRegistry } from './statements.js';
