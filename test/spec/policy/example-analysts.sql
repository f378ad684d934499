-- The database of example-analysts.toml.
CREATE SCHEMA auth;
CREATE TABLE orders (id int);
CREATE TABLE customers (id int, first_name text, last_name text, email text, phone varchar(30), birthday date);
CREATE TABLE people (id int, work_email text);
CREATE TABLE auth.users (id int, word text);
CREATE TABLE api_keys (id int, word text);
