"""Publishes a Celery task for each city, waits until the worker's log says that all are done, and prints seconds and totals.

Nothing is asked of S3 meanwhile; the totals are read from the objects' metadata after the clock has stopped.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import boto3
from botocore.config import Config
from peer_celery import fetch

upstream, date, timeout, log = sys.argv[1], sys.argv[2], float(sys.argv[3]), Path(sys.argv[4])
bucket = os.environ["BENCH_BUCKET"]
s3 = boto3.client("s3", config=Config(s3={"addressing_style": "path"}, max_pool_connections=8))
cities = json.load(sys.stdin)
prefix = f"data/date={date}/"
begun = time.monotonic()
for city in cities:
    fetch.delay(f"{upstream}/cities/{city['id']}/stats?date={date}", f"{prefix}{city['id']}.json")
while (done := log.read_text(errors="replace").count(" succeeded in ")) < len(cities):
    if time.monotonic() - begun > timeout:
        sys.exit(f"{done} of {len(cities)} tasks after {timeout} s")
    time.sleep(0.05)
seconds = time.monotonic() - begun
pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
if len(keys) != len(cities):
    sys.exit(f"{len(keys)} objects of {len(cities)} tasks")
with ThreadPoolExecutor(8) as pool:
    found = list(pool.map(lambda key: s3.head_object(Bucket=bucket, Key=key)["Metadata"], keys))
total = [
    sum(int(entry["count"]) for entry in found),
    sum(int(entry["passengers"]) for entry in found),
    any(entry["accident"] == "True" for entry in found),
    str(sum((Fraction(entry["delay"]) for entry in found), Fraction(0))),
]
print(json.dumps({"seconds": seconds, "total": total}))
