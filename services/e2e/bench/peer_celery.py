"""The peer with RabbitMQ: what a Python team would write. A task is acknowledged after it is done, as in Waybill.

Keep-alive connections to the upstream and to S3, one of each for a process; statistics as the object's metadata.
"""

import os

import boto3
import requests
from botocore.config import Config
from celery import Celery
from kombu import Queue
from peer_city import add_up

app = Celery("bench", broker=os.environ["BENCH_BROKER"])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=4,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"confirm_publish": True},
    task_queues=[Queue("celery", durable=True)],
)
session = requests.Session()
s3 = None


@app.task
def fetch(url: str, key: str) -> None:
    global s3
    if s3 is None:
        # After the fork: a client is not to be shared between processes.
        s3 = boto3.client("s3", config=Config(s3={"addressing_style": "path"}))
    answer = session.get(url, timeout=60)
    answer.raise_for_status()
    count, passengers, accident, delay = add_up(answer.content)
    totals = {"count": str(count), "passengers": str(passengers), "accident": str(accident), "delay": str(delay)}
    s3.put_object(Bucket=os.environ["BENCH_BUCKET"], Key=key, Body=answer.content, Metadata=totals)
