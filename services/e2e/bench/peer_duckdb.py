"""DuckDB with the same checks of types and the same statistics: `FILES json|ndjson|csv RUNS THREADS [country]`.

Prints one JSON object a run. DuckDB has no ISO 8601 durations: seconds alone are cast, which is quick, and others are
taken apart with a regular expression.
"""

import json
import sys
import time

import duckdb

COLUMNS = "{'departure-time': 'TIMESTAMP', 'bus-type': 'VARCHAR', 'passengers': 'BIGINT', 'delay': 'VARCHAR', 'accident': 'BOOLEAN'}"
PARTS = "regexp_extract(delay, '^(-?)P(?:(\\d+)D)?(?:T(?:(\\d+)H)?(?:(\\d+)M)?(?:([\\d.]+)S)?)?$', ['sign', 'd', 'h', 'm', 's'])"
UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
SECONDS = " + ".join(f"coalesce(try_cast(p.{name} AS DECIMAL(18, 3)), 0) * {unit}" for name, unit in UNITS.items())
DELAY = f"(SELECT CASE WHEN p.sign = '-' THEN -1 ELSE 1 END * ({SECONDS}) FROM (SELECT {PARTS} AS p))"

files, form, runs, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
grouped = sys.argv[5:] == ["country"]
shape = {"json": "format='array'", "ndjson": "format='newline_delimited'", "csv": "header=true"}[form]
reader = "read_csv" if form == "csv" else "read_json"
source = f"{reader}('{files}', columns={COLUMNS}, {shape}{', hive_partitioning=true' if grouped else ''})"
keys = "country, date::VARCHAR AS date, " if grouped else ""
query = f"""
    SELECT {keys}count(*), sum(passengers)::BIGINT, bool_or(accident), round(avg(seconds))::BIGINT,
           max("departure-time"), max(length("bus-type"))
    FROM (SELECT *, coalesce(CASE WHEN starts_with(delay, 'PT') AND ends_with(delay, 'S')
                                  THEN try_cast(substring(delay, 3, length(delay) - 3) AS DECIMAL(18, 3)) END, {DELAY}) AS seconds
          FROM {source})
    {"GROUP BY ALL" if grouped else ""}"""
database = duckdb.connect(config={"threads": threads})
for _ in range(runs):
    begun = time.monotonic()
    rows = database.sql(query).fetchall()
    seconds = time.monotonic() - begun
    print(json.dumps({"seconds": seconds, "rows": [row[:-2] for row in rows]}))
