// SHOW DNS_ZONES: always empty, for weir watches no zones.

import { show } from '../command.js';

export const dnsZones = show('dns_zones', { zonename: 'text', serial: 'int8', count: 'int4' }, () => []);
