"""psycopg2 as applications use it: text queries, named cursors, set_session, reset, notifications, large objects, COPY, pools."""

import contextlib
import io
import select
import threading
import time

import psycopg2
import psycopg2.extensions
import psycopg2.extras
import psycopg2.pool

from habits import fails, main, say, scenario, url


@contextlib.contextmanager
def clients(count, autocommit=True, **more):
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(count):
            client = stack.enter_context(contextlib.closing(psycopg2.connect(url(), **more)))
            client.autocommit = autocommit
            made.append(client)
        yield made


def rows(client, query, parameters=None):
    with client.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchall() if cursor.description else cursor.rowcount


def fresh(name, columns):
    with clients(1) as (client,):
        rows(client, f"drop table if exists {name} cascade")
        rows(client, f"create table {name} ({columns})")


@scenario()
def transactions_of_two_clients():
    fresh("ledger", "id int primary key, amount int")
    with clients(2, autocommit=False) as (a, b):
        for n, client in enumerate((a, b)):
            with client:
                rows(client, "insert into ledger values (%s, %s)", (n, 100))
        fails(lambda: rows(a, "insert into ledger values (1, 1)"))
        fails(lambda: rows(a, "select 1"))
        say(a.get_transaction_status() == psycopg2.extensions.TRANSACTION_STATUS_INERROR)
        a.rollback()
        say(rows(b, "select * from ledger order by id"))
        b.commit()
        with contextlib.suppress(ZeroDivisionError), a:
            rows(a, "delete from ledger")
            1 / 0
        say(rows(a, "select count(*) from ledger"))
        a.rollback()


@scenario()
def set_session_with_and_without_autocommit():
    def shown(client):
        return [
            rows(client, f"show {name}")[0][0]
            for name in ("transaction_isolation", "transaction_read_only", "default_transaction_isolation")
        ]

    with clients(2, autocommit=False) as (a, b):
        a.set_session(isolation_level="serializable", readonly=True, deferrable=True)
        for client in (a, b, a):
            say(shown(client))
            client.rollback()
        # With autocommit it is said once, for the session.
        a.set_session(isolation_level="repeatable read", readonly=True, deferrable=None, autocommit=True)
        b.autocommit = True
        for client in (a, b, a, b):
            say(shown(client))
        a.set_session(isolation_level="default", readonly="default", autocommit=True)
        for client in (a, b):
            say(shown(client))


@scenario()
def resetting_a_connection():
    with clients(2) as (a, b):
        for n, client in enumerate((a, b)):
            rows(client, "set work_mem to %s", (f"{n + 5}MB",))
            rows(client, "prepare mine as select %s", (n,))
        say(rows(a, "show work_mem"), rows(b, "show work_mem"))
        say(rows(a, "execute mine"), rows(b, "execute mine"))
        # ABORT and DISCARD ALL.
        a.reset()
        a.autocommit = True
        say(rows(a, "show work_mem"), rows(b, "show work_mem"))
        fails(lambda: rows(a, "execute mine"))
        say(rows(b, "execute mine"), rows(b, "show work_mem"))
        rows(b, "reset all; deallocate mine")
        say(rows(b, "show work_mem"), rows(b, "select name from pg_prepared_statements"))


@scenario()
def encodings_and_parameters():
    with clients(2) as (a, b):
        a.set_client_encoding("LATIN1")
        for client in (a, b, a, b):
            say(client.encoding, client.get_parameter_status("client_encoding"), rows(client, "select %s", ("ü",)))
        a.reset()
        say(a.encoding, a.get_parameter_status("client_encoding"))
        a.rollback()
        say(rows(b, "show client_encoding"), b.get_parameter_status("DateStyle"))


@scenario()
def named_cursors():
    with clients(2, autocommit=False) as (a, b):
        for client in (a, b):
            with client.cursor("same name", scrollable=True) as cursor:
                cursor.itersize = 10
                cursor.execute("select n from generate_series(1, %s) n", (35,))
                say(sum(n for (n,) in cursor))
                cursor.scroll(2, mode="absolute")
                say(cursor.fetchone())
            client.commit()
        fails(lambda: fetch_after_commit(a))
        a.rollback()


def fetch_after_commit(client):
    cursor = client.cursor("gone")
    cursor.execute("select 1")
    client.commit()
    cursor.fetchone()


@scenario(servers=2)
def named_cursors_with_hold():
    with clients(2, autocommit=False) as (a, b):
        held = a.cursor("held", withhold=True)
        held.execute("select n from generate_series(1, 9) n")
        a.commit()
        say(held.fetchmany(3))
        a.commit()
        say(rows(b, "select name from pg_cursors"))
        b.commit()
        say(held.fetchmany(3))
        a.commit()
        held.close()
        a.commit()
        other = b.cursor("held", withhold=True)
        other.execute("select 'other'")
        b.commit()
        say(other.fetchall())
        other.close()
        b.commit()
        say(rows(a, "select name from pg_cursors"))
        a.rollback()


def notifications_of(client, count):
    deadline = time.monotonic() + 5
    while len(client.notifies) < count and time.monotonic() < deadline:
        select.select([client], [], [], 0.1)
        client.poll()
    got = [(one.channel, one.payload) for one in client.notifies]
    client.notifies.clear()
    return got


@scenario()
def polling_for_notifications():
    with clients(3) as (a, b, c):
        rows(a, "listen news")
        rows(b, "listen news; listen weather")
        for n in range(4):
            rows(c, "notify news, %s", (f"n {n}",))
        rows(c, "notify weather, 'rain'; notify news, 'last'")
        say(notifications_of(a, 5))
        say(sorted(notifications_of(b, 6)))
        rows(a, "unlisten *")
        rows(c, "notify news, 'only b'")
        say(notifications_of(b, 1), notifications_of(a, 0))


@scenario()
def large_objects():
    with clients(2, autocommit=False) as (a, b):
        oids = []
        for n, client in enumerate((a, b)):
            # By the function call protocol.
            large = client.lobject(0, "wb")
            oids.append(large.oid)
            large.write(bytes([n]) * 100_000)
            large.seek(10)
            large.write(b"here")
            large.close()
            client.commit()
        for client, oid in ((b, oids[0]), (a, oids[1])):
            large = client.lobject(oid, "rb")
            content = large.read()
            say(len(content), content[8:16], large.seek(0, 2))
            large.close()
            large.unlink()
            client.commit()
        try:
            a.lobject(oids[0], "rb")
        except psycopg2.OperationalError as error:
            say("does not exist" in str(error))
        a.rollback()


@scenario()
def copies_and_batches():
    fresh("bulk", "id int, name text")
    with clients(2) as (a, b):
        for n, client in enumerate((a, b)):
            with client.cursor() as cursor:
                cursor.copy_expert("copy bulk from stdin csv", io.StringIO("".join(f'{i},"{n}"\n' for i in range(500))))
                psycopg2.extras.execute_values(cursor, "insert into bulk values %s", [(i, "v") for i in range(300)])
                psycopg2.extras.execute_batch(cursor, "insert into bulk values (%s, 'b')", [(i,) for i in range(300)])
        out = io.StringIO()
        with b.cursor() as cursor:
            cursor.copy_expert("copy (select name, count(*) from bulk group by 1 order by 1) to stdout", out)
        say(out.getvalue())
        with a.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute("select count(*) as n from bulk")
            say([dict(row) for row in cursor])


@scenario()
def prepared_by_hand():
    with clients(2) as (a, b):
        rows(a, "prepare find (int) as select 'a' || $1")
        rows(b, "prepare find (text) as select 'b' || $1")
        for _ in range(2):
            say(rows(a, "execute find(%s)", (1,)), rows(b, "execute find(%s)", ("x",)))
        say(rows(a, "select name from pg_prepared_statements"))
        rows(a, "deallocate find")
        fails(lambda: rows(a, "execute find(1)"))
        say(rows(b, "execute find(%s)", ("y",)))
        rows(b, "deallocate all")
        fails(lambda: rows(b, "execute find('z')"))


@scenario()
def a_pool_of_threads():
    fresh("counter", "id int primary key, n int")
    pool = psycopg2.pool.ThreadedConnectionPool(1, 6, url())
    first = pool.getconn()
    with first:
        rows(first, "insert into counter values (1, 0)")
    pool.putconn(first)
    errors = []

    def work(n):
        try:
            for i in range(20):
                client = pool.getconn()
                with client:
                    rows(client, "set local application_name = %s", (f"worker {n}",))
                    rows(client, "update counter set n = n + 1")
                    if rows(client, "show application_name") != [(f"worker {n}",)]:
                        errors.append(n)
                pool.putconn(client)
        except Exception as error:
            errors.append(str(error))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    say(errors)
    with clients(1) as (client,):
        say(rows(client, "select n from counter"))
    pool.closeall()


@scenario()
def last_values_of_sequences():
    fresh("numbered", "id serial primary key, name text")
    with clients(2, autocommit=False) as (a, b):
        for n, client in enumerate((a, b)):
            with client:
                rows(client, "insert into numbered (name) values (%s)", (f"row {n}",))
                say(rows(client, "select currval('numbered_id_seq'), lastval()"))


main()
