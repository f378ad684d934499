// pgjdbc as applications use it: server-prepared statements, settings by its own calls, batches, fetch sizes, notifications, metadata.
// Run from source: java -cp postgresql.jar PgjdbcHabits.java JDBC-URL SERVERS

import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Array;
import java.sql.BatchUpdateException;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.PGStatement;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;

public class PgjdbcHabits {
  interface Scenario {
    void run() throws Exception;
  }

  static String url;

  public static void main(String[] arguments) throws Exception {
    url = arguments[0];
    int have = Integer.parseInt(arguments[1]);
    scenario("server-prepared statements of two clients", PgjdbcHabits::prepared);
    scenario("the same statement with other types", PgjdbcHabits::retyped);
    scenario("statements after another client changed the table", PgjdbcHabits::changedTable);
    scenario("autosave in transactions", PgjdbcHabits::autosave);
    scenario("schema, read only and isolation", PgjdbcHabits::sessionCalls);
    scenario("read only always", PgjdbcHabits::readOnlyAlways);
    scenario("search path and discard", PgjdbcHabits::searchPathAndDiscard);
    scenario("client info and time zones", PgjdbcHabits::clientInfo);
    scenario("batches", PgjdbcHabits::batches);
    scenario("fetch size", PgjdbcHabits::fetchSize);
    scenario("savepoints", PgjdbcHabits::savepoints);
    scenario("notifications", PgjdbcHabits::notifications);
    scenario("copy and large objects", PgjdbcHabits::copyAndLargeObjects);
    scenario("calls and cursors returned", PgjdbcHabits::calls);
    scenario("metadata", PgjdbcHabits::metadata);
    scenario("query timeout", PgjdbcHabits::queryTimeout);
    if (have >= 2) scenario("result sets held over commit", PgjdbcHabits::heldOverCommit);
  }

  static void scenario(String name, Scenario scenario) {
    System.out.println("## " + name);
    try {
      scenario.run();
    } catch (Exception error) {
      System.out.println("raised " + error.toString().replaceAll("\\s+", " "));
    }
    System.out.flush();
  }

  static Connection connect(String... properties) throws SQLException {
    Properties all = new Properties();
    all.setProperty("user", "app");
    all.setProperty("password", System.getenv("PGPASSWORD"));
    all.setProperty("prepareThreshold", "1");
    // What never comes must not hang the test.
    all.setProperty("socketTimeout", "8");
    for (int n = 0; n < properties.length; n += 2) all.setProperty(properties[n], properties[n + 1]);
    return DriverManager.getConnection(url, all);
  }

  static void say(Object... values) {
    System.out.println(Arrays.deepToString(values));
  }

  static void fails(Scenario scenario) throws Exception {
    try {
      scenario.run();
      say("no error");
    } catch (SQLException error) {
      say(error.getSQLState(), error.getMessage().split("\n")[0]);
    }
  }

  static String rows(ResultSet set) throws SQLException {
    List<String> all = new ArrayList<>();
    int columns = set.getMetaData().getColumnCount();
    while (set.next()) {
      List<String> row = new ArrayList<>();
      for (int n = 1; n <= columns; n++) row.add(set.getMetaData().getColumnLabel(n) + "=" + set.getString(n));
      all.add(row.toString());
    }
    return all.toString();
  }

  static String query(Connection client, String sql, Object... parameters) throws SQLException {
    try (PreparedStatement statement = client.prepareStatement(sql)) {
      for (int n = 0; n < parameters.length; n++) statement.setObject(n + 1, parameters[n]);
      if (!statement.execute()) return String.valueOf(statement.getUpdateCount());
      return rows(statement.getResultSet());
    }
  }

  static void simply(Connection client, String sql) throws SQLException {
    try (Statement statement = client.createStatement()) {
      statement.execute(sql);
    }
  }

  static void prepared() throws Exception {
    try (Connection a = connect(); Connection b = connect(); Connection c = connect("preparedStatementCacheQueries", "2")) {
      Connection[] clients = {a, b, c};
      for (int turn = 0; turn < 4; turn++) {
        for (int n = 0; n < clients.length; n++) {
          for (int i = 0; i < 4; i++) say(query(clients[n], "select ?::int + " + i + " as n, 'client " + n + "' as t", turn));
        }
      }
      try (PreparedStatement kept = a.prepareStatement("select ? || 'x' as t")) {
        for (int turn = 0; turn < 3; turn++) {
          kept.setString(1, "turn " + turn);
          say(rows(kept.executeQuery()), kept.unwrap(PGStatement.class).isUseServerPrepare());
          say(query(b, "select count(*) from pg_cursors"));
        }
      }
    }
  }

  static void retyped() throws Exception {
    try (Connection a = connect(); Connection b = connect()) {
      for (Connection client : new Connection[] {a, b}) {
        try (PreparedStatement statement = client.prepareStatement("select pg_typeof(?)::text as t")) {
          statement.setInt(1, 1);
          say(rows(statement.executeQuery()));
          statement.setLong(1, 1);
          say(rows(statement.executeQuery()));
          statement.setString(1, "one");
          say(rows(statement.executeQuery()));
          statement.setInt(1, 1);
          say(rows(statement.executeQuery()));
        }
      }
    }
  }

  static void changedTable() throws Exception {
    try (Connection a = connect(); Connection b = connect()) {
      simply(b, "create table changing (id int, name text)");
      simply(b, "insert into changing values (1, 'one')");
      for (int n = 0; n < 3; n++) say(query(a, "select * from changing where id = ?", 1));
      simply(b, "alter table changing add column more int default 5");
      say(query(a, "select * from changing where id = ?", 1));
      simply(b, "alter table changing alter column more type text using 'text ' || more");
      say(query(a, "select * from changing where id = ?", 1));
      simply(b, "alter table changing drop column name");
      say(query(a, "select * from changing where id = ?", 1));
      simply(b, "drop table changing");
      simply(b, "create table changing (name text, id int)");
      simply(b, "insert into changing values ('again', 1)");
      say(query(a, "select * from changing where id = ?", 1));
      fails(() -> query(a, "select more from changing"));
      // In a transaction nothing can heal it, but with autosave the driver does.
      try (Connection saver = connect("autosave", "conservative")) {
        for (int n = 0; n < 2; n++) say(query(saver, "select * from changing"));
        simply(b, "alter table changing add column late int");
        saver.setAutoCommit(false);
        say(query(saver, "select 1 as begun"));
        say(query(saver, "select * from changing"));
        saver.commit();
      }
    }
  }

  static void autosave() throws Exception {
    try (Connection a = connect("autosave", "always"); Connection b = connect()) {
      simply(b, "create table saved (id int primary key)");
      a.setAutoCommit(false);
      say(query(a, "insert into saved values (?)", 1));
      fails(() -> query(a, "insert into saved values (?)", 1));
      say(query(a, "insert into saved values (?)", 2));
      a.commit();
      say(query(b, "select id from saved order by id"));
      b.setAutoCommit(false);
      say(query(b, "insert into saved values (?)", 3));
      fails(() -> query(b, "insert into saved values (?)", 3));
      fails(() -> query(b, "select 1"));
      b.rollback();
      say(query(a, "select count(*) from saved"));
      a.commit();
    }
  }

  static void sessionCalls() throws Exception {
    try (Connection a = connect(); Connection b = connect("currentSchema", "pg_catalog,public")) {
      simply(a, "create schema tenant");
      simply(a, "create table tenant.thing as select 'of the tenant' as t");
      a.setSchema("tenant");
      a.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
      for (int turn = 0; turn < 2; turn++) {
        for (Connection client : new Connection[] {a, b}) {
          say(client.getSchema(), client.getTransactionIsolation(), client.isReadOnly());
          say(query(client, "show transaction_isolation"), query(client, "show search_path"));
        }
      }
      say(query(a, "select * from thing"));
      fails(() -> query(b, "select * from thing"));
      a.setReadOnly(true);
      a.setAutoCommit(false);
      say(query(a, "show transaction_read_only"));
      fails(() -> query(a, "create table tenant.never (id int)"));
      a.rollback();
      a.setReadOnly(false);
      say(query(a, "show transaction_read_only"));
      a.rollback();
      a.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
      a.setSchema("public");
      a.commit();
      say(query(a, "show search_path"), query(a, "show transaction_isolation"));
      a.rollback();
      say(query(b, "show search_path"), query(b, "show transaction_isolation"));
    }
  }

  static void readOnlyAlways() throws Exception {
    try (Connection a = connect("readOnlyMode", "always"); Connection b = connect("readOnlyMode", "always")) {
      a.setReadOnly(true);
      say(query(a, "show default_transaction_read_only"), query(b, "show default_transaction_read_only"));
      fails(() -> simply(a, "create table readonly_never (id int)"));
      simply(b, "create table readonly_made (id int)");
      a.setReadOnly(false);
      simply(a, "drop table readonly_made");
      say(query(a, "show default_transaction_read_only"), query(b, "show default_transaction_read_only"));
    }
  }

  static void searchPathAndDiscard() throws Exception {
    try (Connection a = connect(); Connection b = connect()) {
      for (String schema : new String[] {"s1", "s2"}) {
        simply(a, "create schema " + schema);
        simply(a, "create table " + schema + ".t as select '" + schema + "' as v");
      }
      simply(a, "set search_path to s1");
      simply(b, "set search_path to s2");
      for (int turn = 0; turn < 3; turn++) say(query(a, "select v from t"), query(b, "select v from t"));
      simply(a, "set search_path to s2");
      simply(b, "set search_path to s1");
      for (int turn = 0; turn < 3; turn++) say(query(a, "select v from t"), query(b, "select v from t"));
      simply(a, "deallocate all");
      say(query(a, "select v from t"), query(b, "select v from t"));
      simply(a, "discard all");
      fails(() -> query(a, "select v from t"));
      say(query(a, "show search_path"), query(b, "select v from t"));
    }
  }

  static void clientInfo() throws Exception {
    try (Connection a = connect("ApplicationName", "first", "options", "-c statement_timeout=7s"); Connection b = connect()) {
      for (int turn = 0; turn < 2; turn++) {
        say(query(a, "show application_name"), query(b, "show application_name"), query(a, "show statement_timeout"));
        say(a.getClientInfo("ApplicationName"), query(a, "show timezone").equals(query(b, "show timezone")));
        a.setClientInfo("ApplicationName", "it's renamed");
        b.setClientInfo("ApplicationName", "other");
      }
      simply(b, "set timezone to 'Asia/Tokyo'");
      say(query(b, "select '2026-01-02 03:04:05+00'::timestamptz::text as t"), query(b, "show extra_float_digits"));
      say(b.unwrap(PGConnection.class).getParameterStatus("TimeZone"), a.isValid(5), b.isValid(5));
    }
  }

  static void batches() throws Exception {
    try (Connection a = connect(); Connection b = connect("reWriteBatchedInserts", "true")) {
      simply(a, "create table batched (id serial primary key, n int unique, t text)");
      int base = 0;
      for (Connection client : new Connection[] {a, b}) {
        try (PreparedStatement insert = client.prepareStatement("insert into batched (n, t) values (?, ?)", Statement.RETURN_GENERATED_KEYS)) {
          for (int n = 0; n < 300; n++) {
            insert.setInt(1, base + n);
            insert.setString(2, "row " + n);
            insert.addBatch();
          }
          say(insert.executeBatch().length);
          say(rows(insert.getGeneratedKeys()).length() > 0);
        }
        base += 1000;
        try (PreparedStatement insert = client.prepareStatement("insert into batched (n) values (?)")) {
          for (int n : new int[] {base - 1, base - 2, 0, base - 3}) {
            insert.setInt(1, n);
            insert.addBatch();
          }
          insert.executeBatch();
        } catch (BatchUpdateException error) {
          say(error.getSQLState(), error.getUpdateCounts().length);
        }
        try (Statement mixed = client.createStatement()) {
          mixed.addBatch("update batched set t = 'x' where n < 3");
          mixed.addBatch("delete from batched where n = " + (base - 1000 + 5));
          say(mixed.executeBatch());
        }
      }
      say(query(b, "select count(*), sum(n) from batched"));
      try (PreparedStatement insert = a.prepareStatement("insert into batched (n) values (?) returning n")) {
        insert.setInt(1, 9999);
        say(rows(insert.executeQuery()));
      }
    }
  }

  static void fetchSize() throws Exception {
    try (Connection a = connect(); Connection b = connect("defaultRowFetchSize", "13")) {
      for (Connection client : new Connection[] {a, b, a}) {
        client.setAutoCommit(false);
        try (PreparedStatement statement = client.prepareStatement("select n from generate_series(1, ?) n")) {
          if (client == a) statement.setFetchSize(7);
          statement.setInt(1, 100);
          long sum = 0;
          try (ResultSet set = statement.executeQuery()) {
            while (set.next()) sum += set.getInt(1);
          }
          say(sum);
          // Left before its end.
          try (ResultSet set = statement.executeQuery()) {
            set.next();
            say(set.getInt(1), query(client, "select 1 as between"));
          }
        }
        client.commit();
      }
    }
  }

  static void savepoints() throws Exception {
    try (Connection a = connect(); Connection b = connect()) {
      simply(a, "create table points (id int primary key)");
      for (Connection client : new Connection[] {a, b}) {
        client.setAutoCommit(false);
        int base = client == a ? 0 : 10;
        say(query(client, "insert into points values (?)", base + 1));
        Savepoint point = client.setSavepoint("here it's \"odd\"");
        fails(() -> query(client, "insert into points values (?)", base + 1));
        client.rollback(point);
        Savepoint unnamed = client.setSavepoint();
        say(query(client, "insert into points values (?)", base + 2));
        client.releaseSavepoint(unnamed);
        client.commit();
        client.setAutoCommit(true);
      }
      say(query(b, "select id from points order by id"));
    }
  }

  static List<String> heard(Connection client, int count) throws SQLException {
    List<String> all = new ArrayList<>();
    long deadline = System.nanoTime() + 5_000_000_000L;
    while (all.size() < count && System.nanoTime() < deadline) {
      PGNotification[] some = client.unwrap(PGConnection.class).getNotifications(100);
      if (some != null) for (PGNotification one : some) all.add(one.getName() + ": " + one.getParameter());
    }
    return all;
  }

  static void notifications() throws Exception {
    try (Connection a = connect(); Connection b = connect(); Connection c = connect()) {
      simply(a, "listen news");
      simply(b, "listen news");
      simply(b, "listen \"Other\"");
      for (int n = 0; n < 4; n++) say(query(c, "select 1 as n from pg_notify('news', ?)", "n " + n));
      simply(c, "notify \"Other\", 'x'");
      say(heard(a, 4));
      say(heard(b, 5));
      say(query(a, "select pg_listening_channels() as c"), query(c, "select pg_listening_channels() as c"));
      simply(a, "unlisten *");
      simply(c, "notify news, 'last'");
      say(heard(b, 1));
      PGNotification[] none = a.unwrap(PGConnection.class).getNotifications(50);
      say(none == null ? 0 : none.length);
    }
  }

  static void copyAndLargeObjects() throws Exception {
    try (Connection a = connect(); Connection b = connect()) {
      simply(a, "create table copied (n int, t text)");
      for (Connection client : new Connection[] {a, b}) {
        StringBuilder lines = new StringBuilder();
        for (int n = 0; n < 1000; n++) lines.append(n).append("\trow\n");
        say(client.unwrap(PGConnection.class).getCopyAPI().copyIn("copy copied from stdin", new StringReader(lines.toString())));
      }
      StringWriter out = new StringWriter();
      say(b.unwrap(PGConnection.class).getCopyAPI().copyOut("copy (select sum(n), count(*) from copied) to stdout", out), out);
      fails(() -> a.unwrap(PGConnection.class).getCopyAPI().copyIn("copy copied from stdin", new StringReader("no number\tx\n")));
      a.setAutoCommit(false);
      b.setAutoCommit(false);
      LargeObjectManager manager = a.unwrap(PGConnection.class).getLargeObjectAPI();
      long oid = manager.createLO();
      try (LargeObject object = manager.open(oid)) {
        object.write(new byte[50_000]);
        object.seek(10);
        object.write("here".getBytes());
      }
      a.commit();
      try (LargeObject object = b.unwrap(PGConnection.class).getLargeObjectAPI().open(oid)) {
        byte[] content = object.read(60_000);
        say(content.length, new String(content, 10, 4));
      }
      b.unwrap(PGConnection.class).getLargeObjectAPI().delete(oid);
      b.commit();
    }
  }

  static void calls() throws Exception {
    try (Connection a = connect(); Connection b = connect()) {
      simply(a, "create function twice(n int) returns int language sql as 'select n * 2'");
      simply(a, "create procedure remember(inout n int) language plpgsql as 'begin n := n + 1; commit; end'");
      simply(a, "create function some_rows() returns refcursor language plpgsql as "
          + "$$ declare c refcursor := 'some rows'; begin open c for select generate_series(1, 5) as n; return c; end $$");
      for (Connection client : new Connection[] {a, b}) {
        try (CallableStatement call = client.prepareCall("{? = call twice(?)}")) {
          call.registerOutParameter(1, Types.INTEGER);
          call.setInt(2, 21);
          call.execute();
          say(call.getInt(1));
        }
        try (PreparedStatement call = client.prepareStatement("call remember(?)")) {
          call.setInt(1, 1);
          say(rows(call.executeQuery()));
        }
        client.setAutoCommit(false);
        try (CallableStatement call = client.prepareCall("{? = call some_rows()}")) {
          call.registerOutParameter(1, Types.REF_CURSOR);
          call.execute();
          say(rows((ResultSet) call.getObject(1)));
        }
        client.commit();
        client.setAutoCommit(true);
        Array array = client.createArrayOf("int4", new Integer[] {1, 2, 3});
        say(query(client, "select ?::int[] as list", array));
      }
    }
  }

  static void metadata() throws Exception {
    try (Connection a = connect(); Connection b = connect()) {
      simply(a, "create table described (id int primary key, name varchar(20) not null default 'x', at timestamptz)");
      simply(a, "create index on described (name)");
      for (Connection client : new Connection[] {a, b}) {
        try (ResultSet columns = client.getMetaData().getColumns(null, "public", "described", null)) {
          while (columns.next()) say(columns.getString("COLUMN_NAME"), columns.getString("TYPE_NAME"), columns.getString("COLUMN_DEF"));
        }
        say(rows(client.getMetaData().getPrimaryKeys(null, "public", "described")));
        say(rows(client.getMetaData().getTables(null, "public", "descr%", new String[] {"TABLE"})));
        say(client.getMetaData().getDatabaseProductName(), client.getMetaData().getUserName());
        say(rows(client.getMetaData().getIndexInfo(null, "public", "described", false, true)).length() > 0);
        try (PreparedStatement statement = client.prepareStatement("select id, name from described where id = ?")) {
          say(statement.getMetaData().getColumnTypeName(2), statement.getParameterMetaData().getParameterTypeName(1));
        }
      }
    }
  }

  static void queryTimeout() throws Exception {
    try (Connection a = connect(); Connection b = connect()) {
      fails(() -> {
        try (Statement statement = a.createStatement()) {
          statement.setQueryTimeout(1);
          statement.execute("select pg_sleep(6)");
        }
      });
      say(query(b, "select 1 as n"), query(a, "select 2 as n"));
    }
  }

  static void heldOverCommit() throws Exception {
    try (Connection a = connect(); Connection b = connect()) {
      a.setAutoCommit(false);
      simply(a, "declare kept cursor with hold for select generate_series(1, 5) as n");
      a.commit();
      say(query(b, "select name from pg_cursors where name <> ''"));
      say(query(a, "fetch 2 from kept"));
      a.commit();
      say(query(b, "select 1 as n"), query(a, "fetch all from kept"));
      simply(a, "close kept");
      a.commit();
      say(query(a, "select name from pg_cursors where name = 'kept'"));
      a.rollback();
    }
  }
}
