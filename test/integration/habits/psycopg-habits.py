"""psycopg 3 as applications use it: server-side prepares, pipelines, server cursors, notifications, transactions, COPY, types."""

import asyncio
import contextlib
import datetime
import threading
import time

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.composite import CompositeInfo, register_composite
from psycopg.types.enum import EnumInfo, register_enum

from habits import fails, main, say, scenario, url


@contextlib.contextmanager
def clients(count, autocommit=True, threshold=0, **more):
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(count):
            client = stack.enter_context(contextlib.closing(psycopg.connect(url(), autocommit=autocommit, **more)))
            client.prepare_threshold = threshold
            made.append(client)
        yield made


def value(client, query, parameters=None):
    return client.execute(query, parameters).fetchone()[0]


def fresh(name, columns):
    with contextlib.closing(psycopg.connect(url(), autocommit=True)) as client:
        client.execute(sql.SQL("drop table if exists {} cascade").format(sql.Identifier(name)))
        client.execute(sql.SQL("create table {} ({})").format(sql.Identifier(name), sql.SQL(columns)))


@scenario()
def prepared_statements_of_three_clients_have_the_same_names():
    with clients(3) as all_three:
        for turn in range(4):
            for n, client in enumerate(all_three):
                # The same names with other texts and types in each client.
                say(client.execute(f"select 'client {n}', %s::int + {n}", (turn,)).fetchone())
                say(client.execute("select %s, %s", (f"text {turn}", n)).fetchone())
                say(client.execute("select %s, %s", (turn, f"text {n}")).fetchone())
                say(client.execute("select %b::int8, %t::text", (turn, "x")).fetchone())
        for client in all_three:
            say(client.execute("select name from pg_prepared_statements order by name").fetchall())


@scenario()
def a_small_cache_deallocates_statement_by_statement():
    with clients(2) as (a, b):
        a.prepared_max = b.prepared_max = 2
        for turn in range(3):
            for n in range(5):
                say(value(a, f"select %s::int + {n}", (turn,)), value(b, f"select %s::int * {n}", (turn,)))
        for client in (a, b):
            client.prepare_threshold = None
            say(client.execute("select name from pg_prepared_statements order by name").fetchall())


@scenario()
def rollback_and_alter_deallocate_all_of_the_own_only():
    fresh("changing", "id int primary key, name text")
    with clients(2) as (a, b):
        for n, client in enumerate((a, b)):
            client.execute("insert into changing values (%s, %s)", (n, f"row {n}"))
            say(value(client, "select name from changing where id = %s", (n,)))
        # psycopg says DEALLOCATE ALL after a ROLLBACK and after an ALTER or DROP.
        fails(lambda: failing_transaction(a))
        say(value(b, "select name from changing where id = %s", (1,)))
        say(value(a, "select name from changing where id = %s", (0,)))
        a.execute("alter table changing add column more int default 7")
        say(value(b, "select name from changing where id = %s", (1,)))
        say(a.execute("select * from changing order by id").fetchall())
        say(b.execute("select * from changing order by id").fetchall())


def failing_transaction(client):
    with client.transaction():
        client.execute("update changing set name = 'never'")
        client.execute("insert into changing values (%s, %s)", (1, "twice"))


@scenario()
def columns_added_by_another_client():
    fresh("widened", "id int")
    with clients(2) as (a, b):
        a.execute("insert into widened values (1)")
        say(a.execute("select * from widened").fetchall())
        b.execute("alter table widened add column name text default 'new'")
        fails(lambda: say(a.execute("select * from widened").fetchall()))


@scenario()
def executemany_and_returning():
    fresh("many", "id int primary key, name text")
    with clients(2) as (a, b):
        with a.cursor() as cursor:
            cursor.executemany("insert into many values (%s, %s)", [(n, f"row {n}") for n in range(50)])
            say(cursor.rowcount)
        with b.cursor() as cursor:
            cursor.executemany(
                "insert into many values (%s, %s) returning id", [(n, None) for n in range(100, 105)], returning=True
            )
            while True:
                say(cursor.fetchone())
                if not cursor.nextset():
                    break
        fails(lambda: a.cursor().executemany("insert into many values (%s, %s)", [(1000, "a"), (1, "b")]))
        say(value(b, "select count(*) from many"))


@scenario()
def pipelines_of_two_clients():
    fresh("piped", "id int primary key, name text")
    with clients(2) as (a, b):
        for turn in range(3):
            for n, client in enumerate((a, b)):
                with client.pipeline():
                    cursors = [client.execute("select %s::int, %s", (turn, f"{n} {i}")) for i in range(10)]
                    client.execute("insert into piped values (%s, %s)", (turn * 10 + n, "x"))
                say([cursor.fetchone() for cursor in cursors])
        say(value(b, "select count(*) from piped"))


@scenario()
def errors_in_pipelines():
    fresh("piped_errors", "id int primary key")
    with clients(2) as (a, b):

        def failing(client):
            with client.pipeline() as pipeline:
                client.execute("insert into piped_errors values (1)")
                pipeline.sync()
                client.execute("insert into piped_errors values (2)")
                client.execute("insert into piped_errors values (1)")
                client.execute("insert into piped_errors values (3)")

        fails(lambda: failing(a))
        say(b.execute("select id from piped_errors order by id").fetchall())

        def aborted(client):
            with client.pipeline():
                client.execute("select 1")
                client.execute("select 1 / %s", (0,))
                client.execute("insert into piped_errors values (4)")

        # Which call says so depends on how soon the server answers.
        fails(lambda: aborted(b))
        with b.pipeline():
            say(b.execute("select 2").fetchone(), b.execute("select count(*) from piped_errors").fetchone())
        say(value(a, "select 4"), value(b, "select 5"))


@scenario()
def transactions_inside_pipelines():
    fresh("piped_work", "id int primary key")
    with clients(2) as (a, b):
        with a.pipeline():
            with a.transaction():
                a.execute("insert into piped_work values (%s)", (1,))
                with a.transaction(force_rollback=True):
                    a.execute("insert into piped_work values (%s)", (2,))
                a.execute("insert into piped_work values (%s)", (3,))
        say(b.execute("select id from piped_work order by id").fetchall())

        def failing():
            with b.pipeline(), b.transaction():
                b.execute("insert into piped_work values (4)")
                b.execute("insert into piped_work values (1)")

        fails(failing)
        say(a.execute("select id from piped_work order by id").fetchall())
    with clients(2, autocommit=False) as (a, b):
        for n, client in enumerate((a, b)):
            with client.pipeline():
                client.execute("insert into piped_work values (%s)", (10 + n,))
                client.commit()
                client.execute("insert into piped_work values (%s)", (20 + n,))
                client.rollback()
        say(a.execute("select id from piped_work order by id").fetchall())


@scenario()
def server_cursors_in_transactions():
    with clients(2, autocommit=False) as (a, b):
        for client in (a, b):
            with client.cursor("same name", scrollable=True) as cursor:
                cursor.itersize = 7
                cursor.execute("select n from generate_series(1, %s) n", (30,))
                say(cursor.fetchmany(3))
                cursor.scroll(5)
                say(cursor.fetchone())
                cursor.scroll(0, mode="absolute")
                say(sum(n for (n,) in cursor))
            client.commit()
        say(value(a, "select count(*) from pg_cursors"))
        a.rollback()
        with b.cursor("gone") as cursor:
            cursor.execute("select 1")
            b.commit()
            fails(cursor.fetchone)
            b.rollback()


@scenario(servers=2)
def server_cursors_with_hold():
    with clients(2) as (a, b):
        with a.cursor("held", withhold=True) as cursor:
            cursor.execute("select n from generate_series(1, 20) n")
            say(cursor.fetchmany(5))
            say(b.execute("select name from pg_cursors").fetchall())
            say(cursor.fetchmany(5))
            say(a.execute("select name, is_holdable from pg_cursors").fetchall())
            with b.transaction():
                say(value(b, "select 1"), cursor.fetchone())
            say(cursor.fetchall())
        say(a.execute("select name from pg_cursors").fetchall())
        # Both in turn under the same name: what is closed holds nothing back.
        for client in (a, b, a, b):
            with client.cursor("held", withhold=True) as cursor:
                cursor.execute("select %s", ("held",))
                say(cursor.fetchone())
    with clients(1, autocommit=False) as (a,):
        cursor = a.cursor("over commit", withhold=True)
        cursor.execute("select n from generate_series(1, 3) n")
        a.commit()
        say(cursor.fetchone())
        a.commit()
        say(cursor.fetchall())
        cursor.close()
        a.commit()


def until_stop(client):
    got = []
    for notice in client.notifies():
        got.append((notice.channel, notice.payload))
        if notice.payload == "stop":
            return got


@scenario()
def notifications():
    with clients(3) as (a, b, c):
        a.execute("listen one")
        b.execute("listen one")
        b.execute('listen "Two"')
        say(value(c, "select 1"))
        for n in range(5):
            c.execute("select pg_notify('one', %s)", (f"n {n}",))
        with c.transaction():
            c.execute("""notify "Two", 'committed'""")
            c.execute("notify one, 'committed'")
        with c.transaction(force_rollback=True):
            c.execute("notify one, 'rolled back'")
        c.execute("notify one, 'stop'")
        say(until_stop(a))
        say(until_stop(b))
        b.execute("unlisten one")
        c.execute("notify one, 'stop'")
        c.execute("""notify "Two", 'stop'""")
        say(until_stop(a))
        say(until_stop(b))
        say(a.execute("select pg_listening_channels()").fetchall())
        say(b.execute("select pg_listening_channels()").fetchall())
        say(c.execute("select pg_listening_channels()").fetchall())
        # One's own may come with the reply, and then only a handler hears of it.
        got = []
        a.add_notify_handler(lambda notice: got.append(notice.payload))
        a.execute("notify one, 'own'")
        heard(a, got)
        a.execute("unlisten *")
        say(a.execute("select pg_listening_channels()").fetchall())


def heard(client, got):
    deadline = time.monotonic() + 5
    while not got and time.monotonic() < deadline:
        client.execute("select 1")
    say(got)


@scenario()
def listening_begins_at_commit_only():
    with clients(2) as (a, b):
        got = []
        a.add_notify_handler(lambda notice: got.append(notice.payload))
        with a.transaction(force_rollback=True):
            a.execute("listen three")
        b.execute("notify three, 'nobody listens'")
        with a.transaction():
            a.execute("listen three")
        b.execute("notify three, 'somebody listens'")
        heard(a, got)
        with a.transaction():
            a.execute("unlisten three")
        b.execute("notify three, 'nobody listens any more'")
        time.sleep(0.1)
        a.execute("select 1")
        say(got)


@scenario()
def transactions_and_savepoints():
    fresh("account", "id int primary key, amount int")
    with clients(2) as (a, b):
        a.execute("insert into account select n, 100 from generate_series(1, 3) n")
        for client in (a, b):
            with client.transaction():
                client.execute("update account set amount = amount - %s where id = %s", (1, 1))
                with contextlib.suppress(psycopg.Error), client.transaction():
                    client.execute("update account set amount = 0")
                    client.execute("select 1 / %s", (0,))
                with client.transaction("named") as inner:
                    client.execute("set local work_mem = '5MB'")
                    client.execute("set statement_timeout = '9s'")
                    say(value(client, "show work_mem"), value(client, "show statement_timeout"))
                    raise psycopg.Rollback(inner)
                say(value(client, "show work_mem"), value(client, "show statement_timeout"))
                client.execute("update account set amount = amount + %s where id = %s", (1, 2))
            say(client.execute("select amount from account order by id").fetchall())
        with a.transaction():
            a.execute("set statement_timeout = '8s'")
        say(value(a, "show statement_timeout"), value(b, "show statement_timeout"))
        say(a.info.transaction_status.name)


@scenario()
def isolation_and_access_of_the_connection():
    with clients(2, autocommit=False) as (a, b):
        a.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        a.read_only = True
        a.deferrable = True
        for client in (a, b, a):
            say(
                value(client, "show transaction_isolation"),
                value(client, "show transaction_read_only"),
                value(client, "show transaction_deferrable"),
            )
            client.rollback()
    with clients(2) as (a, b):
        a.execute("set session characteristics as transaction isolation level repeatable read, read only")
        for client in (a, b, a):
            with client.transaction():
                say(value(client, "show transaction_isolation"), value(client, "show transaction_read_only"))
            say(value(client, "show transaction_isolation"), value(client, "show transaction_read_only"))


@scenario()
def settings_of_two_clients():
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    with clients(1, options="-c timezone=Asia/Tokyo -c search_path=pg_catalog") as (a,), clients(1) as (b,):
        b.execute("set timezone to 'America/Lima'")
        b.execute("set datestyle to 'ISO, DMY'")
        a.execute("select set_config('my.tenant', %s, false)", ("tenant a",))
        b.execute("select set_config('my.tenant', %s, false)", ("tenant b",))
        for client in (a, b, a, b):
            say(client.info.timezone.key, client.info.parameter_status("TimeZone"), value(client, "show search_path"))
            say(value(client, "show timezone"), value(client, "select current_setting('my.tenant')"))
            say(value(client, "select %s::timestamptz", (moment,)).isoformat(), value(client, "show datestyle"))
        b.execute("reset all")
        say(value(b, "show timezone") == value(b, "select reset_val from pg_settings where name = 'TimeZone'"))
        say(value(a, "show timezone"), value(b, "select current_setting('my.tenant')"))


@scenario()
def encodings_of_two_clients():
    with clients(1, client_encoding="latin1") as (a,), clients(1) as (b,):
        for _ in range(2):
            for client in (a, b):
                say(client.info.encoding, value(client, "select %s || ascii(%s)::text", ("naïve ü", "ü")))
        fails(lambda: a.execute("select %s", ("€",)))
        a.execute("set client_encoding to 'utf8'")
        say(a.info.encoding, value(a, "select %s", ("€",)), b.info.encoding, value(b, "show client_encoding"))


@scenario()
def copy_in_both_directions():
    fresh("copied", "id int, name text")
    with clients(2) as (a, b):
        for n, client in enumerate((a, b)):
            with client.cursor() as cursor, cursor.copy("copy copied from stdin") as copy:
                for i in range(1000):
                    copy.write_row((n * 1000 + i, f"row {i}"))
        for client in (b, a):
            with client.cursor() as cursor, cursor.copy("copy copied to stdout (format binary)") as copy:
                copy.set_types(["int4", "text"])
                say(sum(row[0] for row in copy.rows()))

        def failing():
            with a.cursor() as cursor, cursor.copy("copy copied from stdin") as copy:
                copy.write_row((1, "x"))
                raise ValueError("changed my mind")

        fails(failing)
        with a.cursor() as cursor, cursor.copy("copy copied to stdout") as copy:
            # Left before its end.
            say(len(next(iter(copy))) > 0)
            for _ in copy:
                pass
        say(value(b, "select count(*) from copied"))


@scenario()
def two_phase_commit_begun_by_one_and_ended_by_another():
    fresh("phased", "id int")
    with clients(2, autocommit=False) as (a, b):
        for n, verb in enumerate(("tpc_commit", "tpc_rollback")):
            xid = a.xid(1, f"transaction {n}", "branch")
            a.tpc_begin(xid)
            a.execute("insert into phased values (%s)", (n,))
            a.tpc_prepare()
            a.close()
            say([str(one) for one in b.tpc_recover()])
            b.rollback()
            getattr(b, verb)(xid)
            say(b.execute("select id from phased").fetchall())
            b.rollback()
            a = psycopg.connect(url())
        a.close()


@scenario()
def own_types():
    with clients(2) as (a, b):
        a.execute("drop type if exists point3, mood cascade")
        a.execute("create type mood as enum ('sad', 'happy')")
        a.execute("create type point3 as (x int, y int, label text)")
        for client in (a, b):
            mood = EnumInfo.fetch(client, "mood")
            register_enum(mood, client)
            register_composite(CompositeInfo.fetch(client, "point3"), client)
            say([one.name for one in mood.enum])
        for client in (a, b):
            say(value(client, "select %s::mood", ("happy",)), value(client, "select row(1, 2, 'x')::point3"))
            with client.cursor(row_factory=dict_row, binary=True) as cursor:
                say(cursor.execute("select array['sad', 'happy']::mood[] as moods, 1.5::numeric as n").fetchall())


@scenario()
def cancelling_only_the_own_query():
    with clients(2) as (a, b):
        timer = threading.Timer(0.3, a.cancel)
        timer.start()
        fails(lambda: a.execute("select pg_sleep(10)"))
        timer.join()
        say(value(b, "select 1"), value(a, "select 2"))


@scenario()
def threads_that_move_money():
    fresh("money", "id int primary key, amount int")
    with clients(1) as (a,):
        a.execute("insert into money select n, 1000 from generate_series(1, 8) n")
    errors = []

    def work(n):
        try:
            with clients(1, threshold=n % 3) as (client,):
                client.execute("select set_config('my.worker', %s, false)", (str(n),))
                for i in range(30):
                    with client.transaction(force_rollback=i % 5 == 0):
                        client.execute("update money set amount = amount - %s where id = %s", (i, 1))
                        client.execute("update money set amount = amount + %s where id = %s", (i, n))
                    seen = value(client, "select current_setting('my.worker')")
                    if seen != str(n):
                        errors.append((n, seen))
        except Exception as error:
            errors.append((n, str(error)))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    say(errors)
    with clients(1) as (a,):
        say(a.execute("select id, amount from money order by id").fetchall())


@scenario()
def asynchronous_clients():
    async def work(n):
        async with await psycopg.AsyncConnection.connect(url(), autocommit=True) as client:
            client.prepare_threshold = 0
            got = []
            for i in range(20):
                cursor = await client.execute("select %s::int * %s", (n, i))
                got.append((await cursor.fetchone())[0])
            async with client.pipeline():
                cursors = [await client.execute("select %s::int", (i,)) for i in range(5)]
            got += [(await cursor.fetchone())[0] for cursor in cursors]
            return sum(got)

    async def together():
        return await asyncio.gather(*(work(n) for n in range(5)))

    say(asyncio.run(together()))


@scenario(servers=2)
def session_advisory_locks():
    with clients(2) as (a, b):
        say(value(a, "select pg_try_advisory_lock(%s)", (5,)), value(b, "select pg_try_advisory_lock(%s)", (5,)))
        say(value(a, "select pg_try_advisory_lock(%s)", (5,)))
        say(value(a, "select pg_advisory_unlock(%s)", (5,)), value(b, "select pg_try_advisory_lock(%s)", (5,)))
        say(value(a, "select pg_advisory_unlock(%s)", (5,)), value(b, "select pg_try_advisory_lock(%s)", (5,)))
        a.execute("select pg_advisory_unlock_all()")
        say(value(a, "select pg_try_advisory_lock(%s)", (5,)))
        b.execute("select pg_advisory_unlock_all()")
        say(value(a, "select pg_try_advisory_lock(%s)", (5,)))
        a.execute("select pg_advisory_unlock_all()")


@scenario(servers=2)
def temporary_tables():
    with clients(2) as (a, b):
        for n, client in enumerate((a, b)):
            client.execute("create temp table scratch (n int)")
            client.execute("insert into scratch values (%s)", (n,))
            say(client.execute("select * from scratch").fetchall())
            client.execute("drop table scratch")
        a.execute("create temp table scratch (n int)")
        fails(lambda: b.execute("select * from scratch"))
        a.execute("drop table scratch")
        with b.transaction():
            b.execute("create temp table brief on commit drop as select 1 as n")
            say(b.execute("select * from brief").fetchall())
        fails(lambda: b.execute("select * from brief"))


main()
