// Startup packets, readers and writers: round trips, truncation at every byte, limits, and a second opinion from pg-protocol.

import { serialize } from 'pg-protocol/dist/index.js';
import t from 'tap';
import {
  authenticationCleartextPassword,
  authenticationMd5Password,
  authenticationOk,
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
  Backend,
  type BackendMessage,
  backendKeyData,
  bindPrefix,
  cancelRequestMessage,
  closeCompleteMessage,
  closeStatementMessage,
  commandComplete,
  dataRow,
  decodeBackendFrames,
  describeStatementMessage,
  emptyQueryMessage,
  errorResponse,
  Frontend,
  headerBytes,
  negotiateProtocolVersion,
  noticeResponse,
  ownParameterisedQuery,
  parameterStatus,
  parseCompleteMessage,
  parseMessage,
  parseStartupPacket,
  queryMessage,
  readBackendKey,
  readBind,
  readCommandTag,
  readErrorFields,
  readParameterStatus,
  readParse,
  readTarget,
  readyForQuery,
  rowDescription,
  saslInitialResponse,
  saslResponse,
  sslRequestMessage,
  startupBytesMax,
  startupMessage,
  startupPacketLength,
  syncMessage,
  Target,
  TransactionStatus,
  terminateMessage,
} from '../../../lib/wire/index.js';

function parsed(packet: Buffer): ReturnType<typeof parseStartupPacket> {
  return parseStartupPacket(packet, 0, packet.length);
}

t.test('a startup packet comes back as it was written, byte for byte, in its order', async (t) => {
  const all = Array.from({ length: 255 }, (_, i) => String.fromCharCode(i + 1)).join('');
  const parameters: [string, string][] = [
    ['user', 'm\xfcller'],
    ['database', 'd'],
    ['application_name', all],
    ['empty', ''],
  ];
  for (const minor of [0, 2]) {
    const packet = parsed(startupMessage(minor, parameters));
    t.match(packet, { kind: 'startup', major: 3, minor });
    if (packet.kind === 'startup') t.same([...packet.parameters], parameters);
  }
  const theirs = parsed(serialize.startup({ user: 'a', database: 'b' }));
  t.equal(theirs.kind, 'startup', "pg-protocol's packet is read");
  if (theirs.kind === 'startup') t.equal(theirs.parameters.get('user'), 'a');
});

t.test('requests of the first phase are told apart', async (t) => {
  t.same(parsed(sslRequestMessage()), { kind: 'ssl' });
  t.same(parsed(serialize.requestSsl()), { kind: 'ssl' });
  const gss = sslRequestMessage();
  gss.writeInt32BE(80_877_104, 4);
  t.same(parsed(gss), { kind: 'gss' });
  t.same(parsed(serialize.cancel(77, 0x01020304)), { kind: 'cancel', pid: 77, secret: Buffer.from([1, 2, 3, 4]) });
  for (const length of [4, 32, 256]) {
    const secret = Buffer.alloc(length, 7);
    t.same(
      parsed(cancelRequestMessage(-5, secret)),
      { kind: 'cancel', pid: -5, secret },
      `a secret of ${length} bytes`,
    );
  }
  for (const length of [0, 3, 257]) {
    t.equal(parsed(cancelRequestMessage(1, Buffer.alloc(length))).kind, 'bad', `a secret of ${length} bytes`);
  }
  for (const request of [sslRequestMessage(), gss]) {
    const longer = Buffer.concat([request, Buffer.alloc(4)]);
    t.equal(parsed(longer).kind, 'bad', 'a request with a body');
  }
});

t.test('the length of a first packet is known with its fourth byte, and has limits', async (t) => {
  const lengthOf = (value: number, bytes = 4): number | undefined => {
    const word = Buffer.alloc(4);
    word.writeInt32BE(value);
    return startupPacketLength(word, 0, bytes);
  };
  for (let bytes = 0; bytes < 4; bytes++) t.equal(lengthOf(8, bytes), undefined);
  t.equal(lengthOf(8), 8);
  t.equal(lengthOf(startupBytesMax), startupBytesMax);
  for (const bad of [-1, 0, 7, startupBytesMax + 1, 0x7fff_ffff, -0x8000_0000]) t.equal(lengthOf(bad), -1);
});

t.test('a startup packet cut short at any byte is bad, never read beyond', async (t) => {
  const good = startupMessage(0, [
    ['user', 'u'],
    ['database', 'd'],
  ]);
  let bad = 0;
  for (let length = 8; length < good.length; length++) {
    // What follows belongs to somebody else, and would complete it.
    if (parseStartupPacket(good, 0, length).kind === 'bad') bad++;
  }
  t.equal(bad, good.length - 8);
  const withMore = Buffer.concat([good, Buffer.from('x')]);
  t.equal(parsed(withMore).kind, 'bad', 'bytes after the last parameter');
  const placed = Buffer.concat([Buffer.alloc(3, 0xff), good, Buffer.alloc(3, 0xff)]);
  t.equal(parseStartupPacket(placed, 3, good.length).kind, 'startup', 'a packet is read where it lies');
});

/** As pg-protocol reads it. */
function decoded(frame: Buffer): Record<string, unknown> {
  const messages = decodeBackendFrames(frame);
  if (messages.length !== 1) throw new Error(`${messages.length} messages`);
  return messages[0] as BackendMessage & Record<string, unknown>;
}

t.test('what weir says as a server is read by pg-protocol as it was meant', async (t) => {
  t.match(decoded(authenticationOk()), { name: 'authenticationOk' });
  t.match(decoded(authenticationCleartextPassword()), { name: 'authenticationCleartextPassword' });
  t.match(decoded(authenticationMd5Password(Buffer.from([1, 2, 3, 4]))), {
    name: 'authenticationMD5Password',
    salt: Buffer.from([1, 2, 3, 4]),
  });
  t.match(decoded(authenticationSasl(['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'])), {
    name: 'authenticationSASL',
    mechanisms: ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'],
  });
  t.match(decoded(authenticationSaslContinue(Buffer.from('r=x'))), { name: 'authenticationSASLContinue', data: 'r=x' });
  t.match(decoded(authenticationSaslFinal(Buffer.from('v=y'))), { name: 'authenticationSASLFinal', data: 'v=y' });
  t.match(decoded(parameterStatus('TimeZone', 'UTC')), {
    name: 'parameterStatus',
    parameterName: 'TimeZone',
    parameterValue: 'UTC',
  });
  t.match(decoded(backendKeyData(7, Buffer.from([0, 0, 0, 9]))), {
    name: 'backendKeyData',
    processID: 7,
    secretKey: 9,
  });
  for (const [status, letter] of [
    [TransactionStatus.Idle, 'I'],
    [TransactionStatus.InTransaction, 'T'],
    [TransactionStatus.Failed, 'E'],
  ] as const) {
    t.match(decoded(readyForQuery(status)), { name: 'readyForQuery', status: letter });
  }
  t.match(decoded(parseCompleteMessage), { name: 'parseComplete' });
  t.match(decoded(closeCompleteMessage), { name: 'closeComplete' });
  t.match(decoded(emptyQueryMessage), { name: 'emptyQuery' });
  t.match(decoded(commandComplete('SELECT 3')), { name: 'commandComplete', text: 'SELECT 3' });
  t.match(decoded(dataRow(['a', null, '', '\u00fc'])), { name: 'dataRow', fields: ['a', null, '', '\u00fc'] });
  t.match(decoded(dataRow([])), { name: 'dataRow', fields: [] });
  t.match(
    decoded(
      rowDescription([
        { name: 'number', typeOid: 23, typeSize: 4 },
        { name: '\u00fc', typeOid: 25, typeSize: -1 },
      ]),
    ),
    {
      name: 'rowDescription',
      fields: [
        {
          name: 'number',
          dataTypeID: 23,
          dataTypeSize: 4,
          dataTypeModifier: -1,
          format: 'text',
          tableID: 0,
          columnID: 0,
        },
        { name: '\u00fc', dataTypeID: 25, dataTypeSize: -1 },
      ],
    },
  );
  const many = Array.from({ length: 300 }, (_, i) => `v${i}`);
  t.same(decoded(dataRow(many))['fields'], many, 'more columns than a byte counts');
});

t.test('errors and notices keep their fields, and a zero byte cannot begin another', async (t) => {
  const fields = { severity: 'ERROR', sqlstate: '42601', message: 'm\u00fc', detail: 'd', hint: 'h' } as const;
  t.match(decoded(errorResponse(fields)), {
    name: 'error',
    severity: 'ERROR',
    code: '42601',
    message: 'm\u00fc',
    detail: 'd',
    hint: 'h',
  });
  t.match(decoded(noticeResponse({ ...fields, severity: 'NOTICE' })), { name: 'notice', message: 'm\u00fc' });
  const tricky = errorResponse({ severity: 'FATAL', sqlstate: '08P01', message: 'a\0C00000\0b' });
  t.match(readErrorFields(tricky, 0, tricky.length), {
    severity: 'FATAL',
    sqlstate: '08P01',
    message: 'aC00000b',
    detail: undefined,
  });
  t.equal(tricky.readUInt32BE(1), tricky.length - 1);
});

t.test(
  'error fields are read from any prefix, from a frame without SQLSTATE, and never from beyond the end',
  async (t) => {
    const frame = errorResponse({
      severity: 'ERROR',
      sqlstate: '22012',
      message: 'division by zero',
      detail: 'detail',
      hint: 'hint',
    });
    const placed = Buffer.concat([Buffer.from('###'), frame, Buffer.from('Xjunk\0\0')]);
    const whole = readErrorFields(placed, 3, 3 + frame.length);
    t.same(whole, {
      severity: 'ERROR',
      sqlstate: '22012',
      message: 'division by zero',
      detail: 'detail',
      hint: 'hint',
      where: undefined,
    });
    let checked = 0;
    for (let end = headerBytes; end <= frame.length; end++) {
      const part = readErrorFields(placed, 3, 3 + end);
      if ('division by zero'.startsWith(part.message) || part.message === 'unknown error') checked++;
    }
    t.equal(checked, frame.length - headerBytes + 1);
    t.match(readErrorFields(Buffer.from('E\0\0\0\x05\0', 'latin1'), 0, 6), {
      severity: 'ERROR',
      sqlstate: 'XX000',
      message: 'unknown error',
    });
    const localised = Buffer.from('E\0\0\0\0SFEHLER\0VERROR\0C22012\0Mx\0WCOPY t, line 1\0\0', 'latin1');
    t.match(readErrorFields(localised, 0, localised.length), { severity: 'ERROR', where: 'COPY t, line 1' });
    const old = Buffer.from('E\0\0\0\0SFATAL\0C57P01\0\0', 'latin1');
    t.equal(readErrorFields(old, 0, old.length).severity, 'FATAL', 'servers before 9.6 have no V');
  },
);

t.test('short messages of servers are read, and refused where they are cut', async (t) => {
  const status = parameterStatus('application_name', '\xe4\xf6');
  t.same(readParameterStatus(status, 0, status.length), { name: 'application_name', value: '\xe4\xf6' });
  let refused = 0;
  for (let end = headerBytes; end < status.length; end++)
    if (readParameterStatus(status, 0, end) === undefined) refused++;
  t.equal(refused, status.length - headerBytes);
  const tag = commandComplete('INSERT 0 1');
  t.equal(readCommandTag(tag, 0, tag.length), 'INSERT 0 1');
  const key = backendKeyData(-3, Buffer.alloc(256, 5));
  t.same(readBackendKey(key, 0, key.length), { pid: -3, secret: Buffer.alloc(256, 5) });
});

t.test('a negotiation of versions says what is spoken and what is not known', async (t) => {
  const frame = negotiateProtocolVersion(2, ['_pq_.a', '_pq_.b']);
  t.equal(frame[0], Backend.NegotiateProtocolVersion);
  t.equal(frame.readUInt32BE(1), frame.length - 1);
  t.equal(frame.readUInt32BE(5), 0x0003_0002);
  t.equal(frame.readUInt32BE(9), 2);
  t.equal(frame.toString('latin1', 13), '_pq_.a\0_pq_.b\0');
});

const parseFrame = serialize.parse({ name: 'stmt', text: 'select $1', types: [23, 25] });

t.test('Parse is read where it lies, and refused when cut anywhere or without its types', async (t) => {
  const placed = Buffer.concat([Buffer.from('\0\0'), parseFrame, Buffer.from('\0\0\0\0')]);
  const parts = readParse(placed, 2, 2 + parseFrame.length);
  t.ok(parts);
  if (parts === undefined) return;
  t.equal(placed.toString('latin1', parts.nameStart, parts.nameEnd), 'stmt');
  t.equal(placed.toString('latin1', parts.queryStart, parts.queryEnd), 'select $1');
  const least = parts.queryEnd - 2 + 3;
  let refused = 0;
  for (let end = headerBytes; end < least; end++) if (readParse(placed, 2, 2 + end) === undefined) refused++;
  t.equal(refused, least - headerBytes);
});

t.test('a renamed Parse differs in nothing but its name and length', async (t) => {
  const parts = readParse(parseFrame, 0, parseFrame.length);
  t.ok(parts);
  const renamed = parseMessage('weir_12', parseFrame.subarray(parts?.queryStart));
  t.same(renamed, serialize.parse({ name: 'weir_12', text: 'select $1', types: [23, 25] }));
  t.same(
    parseMessage('', parseFrame.subarray(parts?.queryStart)),
    serialize.parse({ text: 'select $1', types: [23, 25] }),
  );
});

t.test('Bind is read from its prefix, and renamed without its rest', async (t) => {
  const frame = Buffer.from(serialize.bind({ portal: 'p\u00fc', statement: 'stmt', values: ['1', null, 'x'] }));
  let refused = 0;
  let end = headerBytes;
  while (readBind(frame, 0, end) === undefined) {
    refused++;
    end++;
  }
  t.equal(refused, 'p\u00fc.stmt.'.length + 1, 'the names are enough');
  const parts = readBind(frame, 0, end);
  t.ok(parts);
  if (parts === undefined) return;
  t.equal(frame.toString('latin1', parts.statementStart, parts.statementEnd), 'stmt');
  const rest = frame.subarray(parts.statementEnd + 1);
  const renamed = Buffer.concat([
    bindPrefix(frame.subarray(headerBytes, parts.portalEnd), 'weir_3', rest.length),
    rest,
  ]);
  t.same(renamed, serialize.bind({ portal: 'p\u00fc', statement: 'weir_3', values: ['1', null, 'x'] }));
  t.equal(readBind(Buffer.from('B\0\0\0\x06ab'), 0, 7), undefined);
});

t.test('Describe and Close name a statement or a portal, and nothing follows the name', async (t) => {
  for (const [type, target] of [
    ['S', Target.Statement],
    ['P', Target.Portal],
  ] as const) {
    for (const name of ['', 'n']) {
      for (const frame of [serialize.describe({ type, name }), serialize.close({ type, name })]) {
        const parts = readTarget(frame, 0, frame.length);
        t.equal(parts?.target, target);
        t.equal(frame.toString('latin1', parts?.nameStart, parts?.nameEnd), name);
        for (let end = headerBytes; end < frame.length; end++)
          t.equal(readTarget(frame, 0, end), undefined, 'cut short');
        const longer = Buffer.concat([frame, Buffer.from('\0')]);
        t.equal(readTarget(longer, 0, longer.length), undefined, 'a byte too many');
      }
    }
  }
  t.equal(readTarget(Buffer.from('D\0\0\0\x06X\0', 'latin1'), 0, 7), undefined, 'neither');
});

t.test('what weir says as a client is what pg-protocol would say', async (t) => {
  t.same(queryMessage('select 1'), serialize.query('select 1'));
  t.same(queryMessage('\xc3\xbc'), serialize.query('\u00fc'), 'bytes pass as they are');
  t.same(describeStatementMessage('s'), serialize.describe({ type: 'S', name: 's' }));
  t.same(closeStatementMessage('s'), serialize.close({ type: 'S', name: 's' }));
  t.same([...syncMessage], [Frontend.Sync, 0, 0, 0, 4]);
  t.same([...terminateMessage], [Frontend.Terminate, 0, 0, 0, 4]);
  const initial = saslInitialResponse('SCRAM-SHA-256', Buffer.from('n,,n=,r=x'));
  t.equal(initial[0], Frontend.Password);
  t.equal(initial.toString('latin1', 5), 'SCRAM-SHA-256\0\0\0\0\x09n,,n=,r=x');
  t.equal(saslResponse(Buffer.from('c=x')).toString('latin1'), 'p\0\0\0\x07c=x');
  const asked = ownParameterisedQuery('select $1', ['v']);
  const tags: string[] = [];
  for (let at = 0; at < asked.length; at += 1 + asked.readUInt32BE(at + 1))
    tags.push(String.fromCharCode(asked[at] as number));
  t.equal(tags.join(''), 'PBDES');
});
