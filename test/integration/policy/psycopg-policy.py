"""What each statement of the standard input comes to by psycopg 3: one line of how it was sent, what it is, and what came."""

import sys

import psycopg


def outcome(client, sql, value, **how):
    try:
        row = client.execute(sql.replace("{}", "%s::int"), (value,), **how).fetchone()
        return str(row[0])
    except psycopg.Error as error:
        return error.sqlstate or repr(error)


def main():
    cases = [line.rstrip("\n").split("\t") for line in sys.stdin]
    url = sys.argv[1]
    with psycopg.connect(url, autocommit=True) as client:
        for how in ({"prepare": False}, {"prepare": True}, {"binary": True}):
            for what, sql, value in cases:
                print(f"psycopg, {how}", what, outcome(client, sql, int(value), **how), sep="\t")
    with psycopg.connect(url) as client:
        for what, sql, value in cases:
            print("psycopg, in a transaction", what, outcome(client, sql, int(value)), sep="\t")
            client.rollback()
    with psycopg.connect(url, autocommit=True) as client:
        for what, sql, value in cases:
            found = ""
            try:
                with client.pipeline():
                    before = client.execute("select 1")
                    cursor = client.execute(sql.replace("{}", "%s::int"), (int(value),))
                found = str(cursor.fetchone()[0])
                assert before.fetchone() == (1,)
            except psycopg.Error as error:
                found = error.sqlstate or repr(error)
            print("psycopg, in a pipeline", what, found, sep="\t")


main()
