// A script falls into the statements psql would send, each with its line; meta-commands and data of COPY are none.

import t from 'tap';
import { splitScript } from '../../../lib/sql/index.js';

const cases: readonly (readonly [name: string, script: string, statements: readonly (readonly [number, string])[]])[] =
  [
    ['nothing', ' \n-- no statement\n/* none */ ;;', []],
    [
      'the last needs no semicolon',
      'select 1;\nselect 2',
      [
        [1, 'select 1'],
        [2, 'select 2'],
      ],
    ],
    ['a comment before it is not its own', '-- first;\n/* a; /* b; */ c; */\nselect 1;', [[3, 'select 1']]],
    ['a comment inside stays', 'select /* ; */ 1 -- ;\n;', [[1, 'select /* ; */ 1 -- ;']]],
    ['an unfinished comment', 'select 1; /* select 2;', [[1, 'select 1']]],
    [
      'semicolons in quotes',
      `select ';', ";", $$;$$, $a$;$$;$a$; select 2`,
      [
        [1, `select ';', ";", $$;$$, $a$;$$;$a$`],
        [1, 'select 2'],
      ],
    ],
    [
      'quotes in quotes',
      `select 'it''s;', "a"";"; select 2`,
      [
        [1, `select 'it''s;', "a"";"`],
        [1, 'select 2'],
      ],
    ],
    [
      'backslashes in an escape string',
      `select E'\\';', e'\\\\'; select 2`,
      [
        [1, `select E'\\';', e'\\\\'`],
        [1, 'select 2'],
      ],
    ],
    [
      'backslashes in a plain string',
      `select '\\'; select 2`,
      [
        [1, `select '\\'`],
        [1, 'select 2'],
      ],
    ],
    [
      'a name that ends with e is no escape',
      `select name'\\'; select 2`,
      [
        [1, `select name'\\'`],
        [1, 'select 2'],
      ],
    ],
    [
      'a dollar inside a name opens nothing',
      'select a$b$; select c$b$',
      [
        [1, 'select a$b$'],
        [1, 'select c$b$'],
      ],
    ],
    [
      'an unfinished string is one statement',
      "select 'a; select 2",
      [
        [1, "select 'a"],
        [1, 'select 2'],
      ],
    ],
    [
      'meta-commands',
      '\\set x 1\n\\echo ;\nselect 1; \\echo done\nselect 2;\n',
      [
        [3, 'select 1'],
        [4, 'select 2'],
      ],
    ],
    [
      'a meta-command that sends',
      'select 1 \\g\nselect 2 \\gset\nselect 3;',
      [
        [1, 'select 1'],
        [2, 'select 2'],
        [3, 'select 3'],
      ],
    ],
    ['a semicolon that does not send', 'select 1\\; select 2;', [[1, 'select 1; select 2']]],
    [
      'a line of a string is no meta-command',
      "select '\n\\q';\nselect 2;",
      [
        [1, "select '\n\\q'"],
        [3, 'select 2'],
      ],
    ],
    [
      'data of COPY',
      'copy t from stdin;\n1\tdrop table t;\n\\.\nselect 1;',
      [
        [1, 'copy t from stdin'],
        [4, 'select 1'],
      ],
    ],
    ['data to the end', 'COPY s.t (a) FROM STDIN WITH CSV;\n1;2', [[1, 'COPY s.t (a) FROM STDIN WITH CSV']]],
    [
      'no data behind a COPY of a file',
      "copy t from '/x';\nselect 1",
      [
        [1, "copy t from '/x'"],
        [2, 'select 1'],
      ],
    ],
    [
      'rules',
      'create rule r as on insert to t do (select 1; select 2); select 3',
      [
        [1, 'create rule r as on insert to t do (select 1; select 2)'],
        [1, 'select 3'],
      ],
    ],
    [
      'a function with a body in SQL',
      'create or replace function f() returns int begin atomic select case when true then 1 end; select 2; end;\nselect 3',
      [
        [1, 'create or replace function f() returns int begin atomic select case when true then 1 end; select 2; end'],
        [2, 'select 3'],
      ],
    ],
    [
      'begin is a statement elsewhere',
      'begin; select 1; end;',
      [
        [1, 'begin'],
        [1, 'select 1'],
        [1, 'end'],
      ],
    ],
  ];

for (const [name, script, statements] of cases) {
  void t.test(name, async (t) => {
    t.same(
      splitScript(script).map(({ line, text }) => [line, text]),
      statements,
    );
  });
}

void t.test('a long script takes time in proportion to its length', async (t) => {
  const count = 20_000;
  const statements = splitScript("insert into t values (1, 'x'); -- note\n".repeat(count));
  t.equal(statements.length, count);
  t.equal(statements.at(-1)?.line, count);
});

void t.test('long strings are one token', async (t) => {
  const long = 'x'.repeat(5_000_000);
  for (const text of [
    `select '${long}'`,
    `select E'${long}\\''`,
    `select $$${long};$$`,
    `select "${long}"`,
    `select /*${long};*/ 1`,
  ]) {
    t.ok(splitScript(`${text};select 2`)[0]?.text === text, text.slice(0, 12));
  }
});
