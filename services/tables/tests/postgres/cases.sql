-- Queries of one line each. scripts/record-postgres writes down what PostgreSQL answers; postgres.rs compares.
-- Text to timestamp
select '2021-12-25T07:00:00.000+0100'::timestamp
select '2021-12-25T07:00:00+01:00'::timestamp
select '2021-12-25T07:00:00+01'::timestamp
select '2021-12-25 07:00:00-0530'::timestamp
select '2021-12-25T07:00:00Z'::timestamp
select '2021-12-25T07:00:00.123456Z'::timestamp
select '2021-12-25 07:00:00'::timestamp
select '2021-12-25 07:00'::timestamp
select '2021-12-25'::timestamp
select ' 2021-12-25 07:00:00 '::timestamp
select '3000-01-01'::timestamp
select '0001-01-01 00:00:00'::timestamp
select timestamp '2021-12-25T07:00:00+0100'
select cast('2021-12-25T07:00:00+0100' as timestamp)
select cast('2021-12-25T07:00:00+0100' as timestamp without time zone)
select '2021-12-25T07:00:00+0100'::timestamptz
select '2021-12-25T07:00:00Z'::timestamptz
select '2021-12-25 07:00:00'::timestamptz
select timestamptz '2021-12-25T07:00:00-08:00'
select cast('2021-12-25T07:00:00+0100' as timestamp with time zone)
select '2021-12-25T07:00:00+0100'::timestamptz::timestamp
select '2021-12-25 07:00:00'::timestamp::timestamptz
select '2021-12-25T23:30:00-0500'::timestamptz::date
select '2021-12-25T23:30:00-0500'::timestamp::date
select null::timestamp
select 'yesterday at noon'::timestamp
select '2021-13-01'::timestamp
select '2021-12-25T07:00:00+0100'::timestamp = '2021-12-25T07:00:00Z'::timestamp
select '2021-12-25T07:00:00+0100'::timestamptz = '2021-12-25T06:00:00Z'::timestamptz
select '2021-12-25 07:00:00'::timestamp = '2021-12-25T08:00:00+0100'::timestamptz
select '2021-12-25 07:00:00.5'::timestamp::text
select '2021-12-25 07:00:00'::timestamptz::text
select '2021-12-25 07:00:00.123456'::timestamp::text
select ('2021-12-25'::date)::text
select '2021-12-25'::date::timestamp
select '20211225'::date
select '2021-12-25'::date + 7
select '2021-12-25'::date - 7
select '2021-12-25'::date - '2021-12-01'::date
select date '2021-12-25' + interval '1 day'
select '2021-12-25'::date < '2021-12-26'::date
select '2021-12-25'::date = '2021-12-25 00:00:00'::timestamp
select '07:30:00'::time
select '2021-12-25 07:30:15'::timestamp::time
select null::date is null
-- Numbers to integer
select 0.5::float8::int
select 1.5::float8::int
select 2.5::float8::int
select 3.5::float8::int
select (-0.5)::float8::int
select (-1.5)::float8::int
select (-2.5)::float8::int
select 2.4::float8::int
select 2.6::float8::int
select 0.5::numeric::int
select 1.5::numeric::int
select 2.5::numeric::int
select (-2.5)::numeric::int
select (-1.5)::numeric::int
select 2.49::numeric::int
select 2.5::int
select (-2.5)::int
select -2.5::int
select 43335.6::float8::bigint
select 43335.5::float8::bigint
select 43336.5::float8::bigint
select cast(2.5 as integer)
select cast(2.5::float4 as smallint)
select 3000000000::bigint::int
select 3e9::float8::int
select 'NaN'::float8::int
select '12'::int
select ' 12 '::int
select '-12'::bigint
select '1.5'::int
select 'twelve'::int
select ''::int
select true::int
select 1::boolean
select 0::boolean
select 'true'::boolean
select 'f'::boolean
select 'yes'::boolean
select 'maybe'::boolean
select true::text
select 12::text
select 1.5::float8::text
select 1::float8::text
select 1e20::float8::text
select 1e15::float8::text
select 1e14::float8::text
select 0.0001::float8::text
select 0.00001::float8::text
select (-1234.5)::float8::text
select (0.1::float8 + 0.2::float8)::text
select 0.1::float4::text
select 'Infinity'::float8::text
select '-Infinity'::float8
select 'NaN'::float8
select '1e3'::float8
select '1.50'::numeric
select '12.345'::numeric(10,2)
select '12.345'::numeric(10,1)
select 12.345::numeric(10,2)
select 12.355::numeric(10,2)
select 12.345::float8::numeric(10,2)
select (-12.345)::numeric(10,2)
select 123456.7::numeric(5,2)
select 'abc'::numeric
select 1.5::numeric::text
select 0.1::float8::numeric
select 1::numeric / 3::numeric
-- Rounding
select round(0.5::float8)
select round(1.5::float8)
select round(2.5::float8)
select round((-2.5)::float8)
select round(2.6::float8)
select round(0.5)
select round(1.5)
select round(2.5)
select round(-2.5)
select round(2.5::numeric)
select round(2.675, 2)
select round(2.665, 2)
select round(-2.675, 2)
select round(2.675::numeric, 2)
select round(1234.567, -2)
select round(1250::numeric, -2)
select round(10::numeric / 3::numeric, 2)
select round(14::numeric / 15::numeric, 2)
select round(2::numeric / 3::numeric, 4)
select round(5)
select round(null::float8)
select trunc(2.7::float8)
select trunc(-2.7::float8)
select trunc(2.7)
select trunc(2.777, 2)
select ceil(2.1::float8)
select ceil(-2.1)
select ceiling(2.1)
select floor(-2.1::float8)
select floor(2.9)
select abs(-5)
select abs(-5.5)
select sign(-5.5)
select mod(7, 3)
select mod(-7, 3)
select 7 % 3
select -7 % 3
select power(2, 10)
select 2 ^ 10
select sqrt(16)
select exp(0)
select ln(1)
select log(100)
select log(2, 64)
select pi()
select degrees(pi())
select radians(180.0::float8)
select gcd(12, 18)
select lcm(4, 6)
select greatest(1, 2.5, 2)
select least(1, 2.5, 2)
select greatest(1, null, 3)
-- Arithmetic
select 7 / 2
select -7 / 2
select 7 / 2.0
select 7 / 2::float8
select 7::numeric / 2
select 1 / 0
select 1.0 / 0
select 1::float8 / 0
select 0.1 + 0.2
select 0.1::float8 + 0.2::float8
select 0.1 + 0.2 = 0.3
select 0.1::float8 + 0.2::float8 = 0.3::float8
select 1.10 * 1.10
select 100 * 1.5
select 2147483647::int + 1::int
select 9223372036854775807 + 1
select 5 - 7
select - - 5
select 10 - 3 * 2
select 1 + null
select 9007199254740993::bigint::numeric
select 12345678901234567890::numeric
select 1e3
select 1.5e-3
select 5 & 3
select 5 | 3
select 5 # 3
select 1 << 4
select @ -5
-- Comparisons
select '10' < '9'
select 10 < 9.5
select 1 = 1.0
select '1' = 1
select 'a' < 'B'
select 'a' = 'A'
select 'é' > 'z'
select null = null
select null is null
select null is distinct from null
select 1 is distinct from null
select 1 is not distinct from 1
select not null::boolean
select true and null
select false and null
select true or null
select 2 between 1 and 3
select 2 not between 1 and 3
select 2 between symmetric 3 and 1
select 1 in (1, 2, null)
select 3 in (1, 2, null)
select 3 not in (1, 2)
select coalesce(null, null, 3)
select nullif(1, 1)
select nullif(1, 2)
select case when 1 = 1 then 'yes' else 'no' end
select case 2 when 1 then 'one' when 2 then 'two' end
select case when false then 1 end
select (1, 2) = (1, 2)
select '2021-12-25' > '2021-12-24'
select '2021-12-25'::date between '2021-12-01' and '2021-12-31'
select '2021-12-25 10:00:00'::timestamp between '2021-12-25' and '2021-12-26'
-- Parts of times
select extract(year from '2021-12-25 07:30:15.5'::timestamp)
select extract(month from '2021-12-25'::date)
select extract(day from '2021-12-25'::date)
select extract(hour from '2021-12-25 07:30:15.5'::timestamp)
select extract(minute from '2021-12-25 07:30:15.5'::timestamp)
select extract(second from '2021-12-25 07:30:15.5'::timestamp)
select extract(millisecond from '2021-12-25 07:30:15.5'::timestamp)
select extract(microsecond from '2021-12-25 07:30:15.5'::timestamp)
select extract(dow from '2021-12-25'::date)
select extract(dow from '2021-12-26'::date)
select extract(isodow from '2021-12-26'::date)
select extract(doy from '2021-12-25'::date)
select extract(week from '2021-01-03'::date)
select extract(quarter from '2021-12-25'::date)
select extract(isoyear from '2021-01-03'::date)
select extract(century from '2021-12-25'::date)
select extract(epoch from '2021-12-25 07:30:15.5'::timestamp)
select extract(epoch from '2021-12-25 07:30:15.5+01'::timestamptz)
select extract(epoch from '2021-12-25'::date)
select extract(epoch from '2021-12-26 00:00:00'::timestamp - '2021-12-25 12:00:00.25'::timestamp)
select extract(epoch from ('2021-12-27T00:00:00Z'::timestamptz - '2021-12-25T12:00:00Z'::timestamptz)) / 60
select extract(epoch from interval '1 hour 30 minutes')
select extract(epoch from interval '2 days')
select extract(day from interval '40 days 5 hours')
select extract(hour from interval '40 days 5 hours')
select extract(day from '2021-12-27'::timestamp - '2021-12-25'::timestamp)
select extract(hour from '2021-12-27 05:00'::timestamp - '2021-12-25'::timestamp)
select extract(year from '2021-12-25'::date) / 2
select date_part('year', '2021-12-25'::date)
select date_part('hour', '2021-12-25 07:30:15.5'::timestamp)
select date_part('epoch', '2021-12-25 07:30:15'::timestamp)
select date_trunc('day', '2021-12-25 07:30:15.5'::timestamp)
select date_trunc('hour', '2021-12-25 07:30:15.5'::timestamp)
select date_trunc('month', '2021-12-25 07:30:15.5'::timestamp)
select date_trunc('week', '2021-12-25 07:30:15.5'::timestamp)
select date_trunc('quarter', '2021-12-25 07:30:15.5'::timestamp)
select date_trunc('year', '2021-12-25'::date)
select date_trunc('day', '2021-12-25T23:30:00-0500'::timestamptz)
select '2021-12-25 07:00'::timestamp + interval '1 day'
select '2021-12-25 07:00'::timestamp - interval '2 hours'
select '2021-01-31'::timestamp + interval '1 month'
select '2020-02-29'::timestamp + interval '1 year'
select '2021-12-25 07:00'::timestamp + interval '1 day 2 hours 30 minutes'
select '2021-12-25 07:00'::timestamp + 2 * interval '1 day'
select '2021-12-25 07:00'::timestamp + interval '1.5 hours'
select '2021-12-25 07:00'::timestamp + '1 hour'::interval
select interval '1 day' = interval '24 hours'
select interval '90 minutes' > interval '1 hour'
select interval '1 day'
select interval '1 hour 30 minutes'
select '2021-12-27 01:00'::timestamp - '2021-12-25'::timestamp
select ('2021-12-27 01:00'::timestamp - '2021-12-25'::timestamp) > interval '1 day'
select ('2021-12-27 01:00'::timestamp - '2021-12-25'::timestamp) between interval '1 day' and interval '49 hours'
select interval '25 hours' between interval '2 hours' and interval '1 day'
select '2021-12-25'::date + interval '90 minutes'
select '2021-12-25'::date - interval '1 hour'
select '2021-12-25 07:00:00'::timestamp at time zone 'UTC'
select '2021-12-25T07:00:00+0100'::timestamptz at time zone 'UTC'
select '2021-12-25T07:00:00Z'::timestamptz at time zone 'Europe/Berlin'
select now() > '2021-12-25'::timestamptz
select current_date > '2021-12-25'::date
select current_timestamp is not null
select now()::date = current_date
select make_date(2021, 12, 25)
select to_timestamp(1640415600)
select to_timestamp(1640415600.5)
select to_date('25.12.2021', 'DD.MM.YYYY')
select to_char('2021-12-25 07:30:15'::timestamp, 'YYYY-MM-DD')
select to_char('2021-12-25 07:30:15'::timestamp, 'YYYY-MM-DD HH24:MI:SS')
select to_char('2021-12-25 07:30:15'::timestamp, 'YYYY-MM')
select to_char('2021-12-25 07:30:15'::timestamp, 'Mon DD')
select to_char('2021-12-25 07:30:15'::timestamp, 'Day')
select to_char(1234.5, '9999.99')
select date_bin('15 minutes', '2021-12-25 07:38:15'::timestamp, '2021-01-01'::timestamp)
select age('2021-12-25'::timestamp, '2020-11-24'::timestamp)
-- Text
select 'a' || 'b'
select 'a' || 1
select 'a' || null
select concat('a', null, 1)
select concat_ws(', ', 'a', null, 'b')
select lower('ÀB')
select upper('straße')
select initcap('hello world')
select length('héllo')
select char_length('héllo')
select octet_length('héllo')
select trim('  a ')
select trim(both 'x' from 'xxaxx')
select ltrim('  a ')
select rtrim('xxa', 'a')
select btrim('xxaxx', 'x')
select left('hello', 2)
select left('hello', -2)
select right('hello', 2)
select substring('hello' from 2 for 3)
select substring('hello', 2)
select substr('hello', 2, 3)
select substring('hello' from '^h.l')
select position('l' in 'hello')
select strpos('hello', 'l')
select replace('hello', 'l', 'L')
select reverse('hello')
select repeat('ab', 3)
select lpad('5', 3, '0')
select rpad('5', 3, '0')
select split_part('a,b,c', ',', 2)
select split_part('a,b,c', ',', -1)
select translate('12345', '143', 'ax')
select ascii('A')
select chr(65)
select md5('a')
select encode(sha256('a'), 'hex')
select to_hex(255)
select starts_with('hello', 'he')
select 'hello' like 'h%o'
select 'hello' like 'H%'
select 'hello' ilike 'H%'
select 'hello' not like '_ello'
select 'a%b' like 'a\%b'
select 'hello' ~ '^h'
select 'hello' ~* '^H'
select 'hello' !~ 'z'
select 'hello' similar to 'h%'
select regexp_replace('hello', 'l+', 'L')
select regexp_replace('hello', 'l', 'L', 'g')
select regexp_match('hello', 'l+')
select quote_literal('it''s')
select 'it''s'
select E'a\nb'
select 'a' 'b'
select overlay('hello' placing 'XX' from 2 for 2)
select format('%s has %s', 'a', 1)
select string_to_array('a,b', ',')
select array_to_string(array['a', 'b'], ',')
select 'abc'::varchar(2)
select 'abc'::char(2)
select length('')
select '' is null
select '' = ' '
-- Names and shapes of results
select 1 as "Mixed Case"
select 1 as one, 2 as two
select * from (values (1, 'a'), (2, 'b')) as t(n, s) order by n
values (1, 'a'), (2, 'b')
select 1 union select 1
select 1 union all select 1
select 1 intersect select 2
select 1 except select 2
select 1 where false
select count(*) from (values (1), (2), (null)) as t(n)
select count(n) from (values (1), (2), (null)) as t(n)
select count(distinct n) from (values (1), (1), (null)) as t(n)
select sum(n) from (values (1), (2), (null)) as t(n)
select sum(n) from (values (1)) as t(n) where n > 1
select sum(n) from (values (9223372036854775807), (9223372036854775807)) as t(n)
select sum(n::int) from (values (1), (2)) as t(n)
select sum(n) / count(*) from (values (1::bigint), (2)) as t(n)
select sum(n::int) / count(*) from (values (1), (2)) as t(n)
select sum(n) from (values (0.1), (0.2)) as t(n)
select sum(n) from (values (0.1::float8), (0.2::float8)) as t(n)
select avg(n) from (values (1), (2)) as t(n)
select avg(n) from (values (1), (2), (2)) as t(n)
select avg(n)::int from (values (2), (3)) as t(n)
select avg(n)::int from (values (2::float8), (3::float8)) as t(n)
select round(avg(n), 2) from (values (1), (2), (2)) as t(n)
select avg(n) from (values (1.5), (2.5)) as t(n)
select avg(n) from (values (1.5::float8), (2.5::float8)) as t(n)
select avg(n) from (values (1)) as t(n) where n > 1
select min(n), max(n) from (values (3), (1), (2)) as t(n)
select min(s), max(s) from (values ('b'), ('a')) as t(s)
select bool_and(b), bool_or(b) from (values (true), (false)) as t(b)
select every(b) from (values (true), (false)) as t(b)
select count(*) filter (where n > 1) from (values (1), (2), (3)) as t(n)
select sum(n) filter (where n > 1) from (values (1), (2), (3)) as t(n)
select string_agg(s, ', ' order by s) from (values ('b'), ('a')) as t(s)
select string_agg(distinct s, ',' order by s) from (values ('b'), ('a'), ('a')) as t(s)
select array_agg(n order by n desc) from (values (1), (2)) as t(n)
select stddev(n) from (values (1), (2), (3), (4)) as t(n)
select stddev_pop(n) from (values (1), (2), (3), (4)) as t(n)
select variance(n) from (values (1), (2), (3), (4)) as t(n)
select corr(a, b) from (values (1, 2), (2, 4), (3, 6)) as t(a, b)
select percentile_cont(0.5) within group (order by n) from (values (1), (2), (3), (4)) as t(n)
select percentile_cont(0.5) within group (order by n) from (values (1.5), (2.5), (4.0)) as t(n)
select percentile_cont(0.5) within group (order by n::numeric) from (values (1.5), (2.5)) as t(n)
select percentile_cont(0.25) within group (order by n) from (values (1::float8), (2), (3), (4)) as t(n)
select percentile_cont(0.9) within group (order by n desc) from (values (1), (2), (3), (4)) as t(n)
select percentile_cont(0.5) within group (order by n) from (values (1), (null), (4)) as t(n)
select round((percentile_cont(0.5) within group (order by n::numeric) / 1000)::numeric, 2) from (values (935.2), (945.7), (120.1)) as t(n)
select percentile_disc(0.5) within group (order by n) from (values (1), (2), (3), (4)) as t(n)
select mode() within group (order by n) from (values (1), (2), (2)) as t(n)
select n % 2 as odd, count(*) from (values (1), (2), (3)) as t(n) group by n % 2 order by odd
select n % 2 as odd, count(*) from (values (1), (2), (3)) as t(n) group by odd order by 1
select n, count(*) from (values (1), (2), (2)) as t(n) group by 1 having count(*) > 1
select n::int as i, count(*) from (values (0.5::float8), (1.5::float8), (2.5::float8)) as t(n) group by n::int order by i
select s, sum(n) from (values ('a', 1), ('b', 2), ('a', 3)) as t(s, n) group by rollup(s) order by s
select s, sum(n) from (values ('a', 1), ('b', 2)) as t(s, n) group by grouping sets ((s), ()) order by s nulls first
select n from (values (2), (null), (1)) as t(n) order by n
select n from (values (2), (null), (1)) as t(n) order by n desc
select n from (values (2), (null), (1)) as t(n) order by n nulls first
select n from (values (2), (null), (1)) as t(n) order by n desc nulls last
select s from (values ('b'), ('A'), ('a'), ('B')) as t(s) order by s
select n from (values (1), (2), (3)) as t(n) order by n limit 1 offset 1
select n from (values (1), (2), (3)) as t(n) order by n fetch first 2 rows only
select distinct n from (values (1), (1), (2)) as t(n) order by n
select distinct on (s) s, n from (values ('a', 2), ('a', 1), ('b', 3)) as t(s, n) order by s, n
select sum(n) from (values (1), (2)) as t(n) union all select 4 order by 1
select n from (values (1), (2), (4)) as t(n) where n > (select avg(m) from (values (1), (2)) as u(m)) order by n
select s, sum(n) as total from (values ('a', 1), ('b', 5), ('a', 3)) as t(s, n) group by s order by sum(n) desc
select s from (values ('a', 1), ('b', 5), ('a', 3)) as t(s, n) group by s having sum(n) > 4
with t as (select sum(n) as total from (values (1), (2)) as v(n)) select total / 2, total + 1 from t
select sum(n) * 1.5 from (values (1), (2)) as t(n)
select sum(distinct n), avg(distinct n) from (values (1), (1), (2)) as t(n)
select sum(-n) from (values (9223372036854775807), (9223372036854775807)) as t(n)
select avg(n)::numeric(10,2), avg(n)::float8 from (values (1), (2), (2)) as t(n)
select t.n, (select sum(m) from (values (1), (2), (3)) as u(m) where m <= t.n) from (values (2), (3)) as t(n) order by 1
select sum(case when n > 1 then 1 else 0 end) from (values (1), (2), (3)) as t(n)
select 100.0 * sum(n) / count(*) from (values (1), (2)) as t(n)
-- Windows
select n, row_number() over (order by n) from (values (3), (1), (2)) as t(n) order by n
select n, rank() over (order by n), dense_rank() over (order by n) from (values (1), (1), (2)) as t(n) order by 1, 2
select n, lag(n) over (order by n), lead(n) over (order by n) from (values (1), (2), (3)) as t(n) order by n
select n, lag(n, 1, 0) over (order by n) from (values (1), (2), (3)) as t(n) order by n
select n, sum(n) over (order by n) from (values (1), (2), (3)) as t(n) order by n
select n, sum(n) over (order by n rows between 1 preceding and current row) from (values (1), (2), (3)) as t(n) order by n
select n, avg(n) over () from (values (1), (2)) as t(n) order by n
select s, n, sum(n) over (partition by s) from (values ('a', 1), ('a', 2), ('b', 3)) as t(s, n) order by s, n
select n, ntile(2) over (order by n) from (values (1), (2), (3)) as t(n) order by n
select n, first_value(n) over (order by n), last_value(n) over (order by n) from (values (1), (2)) as t(n) order by n
select n, percent_rank() over (order by n), cume_dist() over (order by n) from (values (1), (2), (3)) as t(n) order by n
select n, count(*) over w from (values (1), (2)) as t(n) window w as (order by n) order by n
select n, nth_value(n, 2) over (order by n) from (values (1), (2)) as t(n) order by n
-- Subqueries and joins
with a as (select 1 as n), b as (select n + 1 as n from a) select * from b
with recursive r(n) as (select 1 union all select n + 1 from r where n < 5) select sum(n) from r
select (select max(n) from (values (1), (2)) as t(n))
select n from (values (1), (2)) as t(n) where exists (select 1 from (values (2)) as u(m) where m = n)
select n from (values (1), (2), (3)) as t(n) where n in (select m from (values (2), (3)) as u(m)) order by n
select n from (values (1), (2)) as t(n) where n not in (select m from (values (2), (null)) as u(m))
select n from (values (1), (2), (3)) as t(n) where n > all (select m from (values (1), (2)) as u(m))
select n from (values (1), (2), (3)) as t(n) where n = any (select m from (values (1), (2)) as u(m)) order by n
select n = any (array[1, 2]) from (values (1), (3)) as t(n) order by n
select t.n, u.m from (values (1), (2)) as t(n) left join (values (2), (3)) as u(m) on t.n = u.m order by 1
select t.n, u.m from (values (1), (2)) as t(n) full join (values (2), (3)) as u(m) on t.n = u.m order by 1, 2
select t.n, u.m from (values (1), (2)) as t(n) cross join (values (2), (3)) as u(m) order by 1, 2
select n, m from (values (1, 'a')) as t(n, s) join (values (2, 'a')) as u(m, s) using (s)
select * from (values (1, 'a')) as t(n, s) natural join (values (2, 'a')) as u(m, s)
select t.n, l.d from (values (1), (2)) as t(n), lateral (select t.n * 2 as d) as l order by 1
select n from generate_series(1, 3) as g(n)
select n from generate_series(1, 10, 4) as g(n)
select count(*) from generate_series('2021-12-01'::timestamp, '2021-12-31'::timestamp, interval '1 day') as g(d)
select generate_series(1, 3)
select unnest(array[1, 2])
select a.n from unnest(array[1, 2]) as a(n) order by 1
select array[1, 2]
select (array[1, 2])[1]
select array_length(array[1, 2], 1)
select cardinality(array[1, 2])
select array[1, 2] || 3
select 'a' = any (array['a', 'b'])
select '{"a": 1}'::json ->> 'a'
select gen_random_uuid() is not null
select random() < 1
