"""Reads an embedded store as other people's tools do. Called by tests/boto3.rs: python read_with_boto3.py ENDPOINT"""

import json
import sys

import boto3
from botocore import UNSIGNED
from botocore.client import Config
from botocore.exceptions import ClientError

endpoint = sys.argv[1]


def client(**settings):
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **settings)


signed = client(aws_access_key_id="waybill", aws_secret_access_key="waybill")
unsigned = client(config=Config(signature_version=UNSIGNED))
wrong = client(aws_access_key_id="waybill", aws_secret_access_key="wrong")


def refusal(call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return None


seen = {}
for name, s3 in [("signed", signed), ("unsigned", unsigned)]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="bucket", PaginationConfig={"PageSize": 3})
    old_pages = s3.get_paginator("list_objects").paginate(Bucket="bucket", Delimiter="/", PaginationConfig={"PageSize": 1})
    old_pages = list(old_pages)
    objects = [o for page in pages for o in page.get("Contents", [])]
    seen[name] = {
        "buckets": [b["Name"] for b in s3.list_buckets()["Buckets"]],
        "location": s3.get_bucket_location(Bucket="bucket")["LocationConstraint"],
        "sizes": {o["Key"]: o["Size"] for o in objects},
        "order": [o["Key"] for o in objects],
        "folders": [p["Prefix"] for page in old_pages for p in page.get("CommonPrefixes", [])],
        "top": [o["Key"] for page in old_pages for o in page.get("Contents", [])],
        "bodies": {o["Key"]: s3.get_object(Bucket="bucket", Key=o["Key"])["Body"].read().decode() for o in objects},
        "metadata": {o["Key"]: s3.head_object(Bucket="bucket", Key=o["Key"])["Metadata"] for o in objects},
        "etags_match": all(s3.head_object(Bucket="bucket", Key=o["Key"])["ETag"] == o["ETag"] for o in objects),
        "put": refusal(s3.put_object, Bucket="bucket", Key="x", Body=b"x"),
        "delete": refusal(s3.delete_object, Bucket="bucket", Key="plain"),
        "delete_many": refusal(s3.delete_objects, Bucket="bucket", Delete={"Objects": [{"Key": "plain"}]}),
        "create_bucket": refusal(s3.create_bucket, Bucket="other"),
        "begin_upload": refusal(s3.create_multipart_upload, Bucket="bucket", Key="x"),
        "missing": refusal(s3.get_object, Bucket="bucket", Key="missing"),
        "no_bucket": refusal(s3.list_objects_v2, Bucket="no-bucket"),
    }
assert seen["signed"] == seen["unsigned"], seen
seen["signed"]["wrong"] = refusal(wrong.list_buckets)
json.dump(seen["signed"], sys.stdout)
