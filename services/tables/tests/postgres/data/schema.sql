-- The tables of data/*.csv, as PostgreSQL has them.
set time zone 'UTC';
create table movie (title text primary key, duration_mins bigint, original_language text, size_mb bigint);
create table "user" (email text primary key, first_name text, last_name text);
create table author (name text primary key, birth_date date, died_at date, nationality text);
create table book (title text primary key, pages bigint, author text, publisher text);
create table review (id text primary key, text text, rating bigint, movie_title text, book_title text);
create table stream (id text primary key, movie_title text, user_email text, size_mb double precision,
                     start_at timestamptz, end_at timestamptz);
