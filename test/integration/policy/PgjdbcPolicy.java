// What each statement of the standard input comes to by pgjdbc: one line of how it was sent, what it is, and what came.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;

final class PgjdbcPolicy {
    public static void main(String[] args) throws Exception {
        List<String[]> cases = new ArrayList<>();
        try (var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
            for (String line = in.readLine(); line != null; line = in.readLine()) cases.add(line.split("\t"));
        }
        for (String threshold : List.of("5", "1")) {
            for (boolean autoCommit : new boolean[] {true, false}) {
                Properties properties = new Properties();
                properties.setProperty("user", "postgres");
                properties.setProperty("password", args[1]);
                properties.setProperty("prepareThreshold", threshold);
                try (Connection connection = DriverManager.getConnection(args[0], properties)) {
                    connection.setAutoCommit(autoCommit);
                    for (String[] each : cases) {
                        String how = "pgjdbc, prepareThreshold " + threshold + ", autoCommit " + autoCommit;
                        System.out.println(how + "\t" + each[0] + "\t" + outcome(connection, each[1], each[2]));
                        if (!autoCommit) connection.rollback();
                    }
                }
            }
        }
    }

    private static String outcome(Connection connection, String sql, String value) {
        try (var statement = connection.prepareStatement(sql.replace("{}", "?::int"))) {
            statement.setInt(1, Integer.parseInt(value));
            try (ResultSet rows = statement.executeQuery()) {
                return rows.next() ? rows.getString(1) : "";
            }
        } catch (SQLException error) {
            return error.getSQLState();
        }
    }
}
