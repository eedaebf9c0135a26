"""Clients of the standard library, several processes of them; addresses come as JSON on stdin.

`files FOLDER`: gets each address, adds up, and stores the file durably (write, fsync, rename).
`puts BYTES`: sends a PUT of so many bytes to each address.
Prints seconds and, of files, the totals.
"""

import http.client
import json
import os
import sys
import time
import urllib.parse
from concurrent.futures import ProcessPoolExecutor

from peer_city import Totals, add_up

PROCESSES = 4


def connect(url: str) -> tuple[http.client.HTTPConnection, int]:
    parts = urllib.parse.urlsplit(url)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=60), len(f"{parts.scheme}://{parts.netloc}")


def files(urls: list[str], folder: str) -> Totals:
    total = (0, 0, False, 0)
    connection, skip = connect(urls[0])
    for url in urls:
        connection.request("GET", url[skip:])
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{url}: {answer.status}")
        one = add_up(body)
        total = (total[0] + one[0], total[1] + one[1], total[2] or one[2], total[3] + one[3])
        path = os.path.join(folder, urllib.parse.quote(url[skip:], safe=""))
        with open(f"{path}.tmp", "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.rename(f"{path}.tmp", path)
    return total


def puts(urls: list[str], size: str) -> Totals:
    connection, skip = connect(urls[0])
    body = os.urandom(int(size))
    for url in urls:
        connection.request("PUT", url[skip:], body)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{url}: {answer.status}")
    return (len(urls), 0, False, 0)


def main() -> None:
    kind, argument = sys.argv[1:]
    urls = json.load(sys.stdin)
    with ProcessPoolExecutor(PROCESSES) as pool:
        begun = time.monotonic()
        work = {"files": files, "puts": puts}[kind]
        parts = [pool.submit(work, urls[at::PROCESSES], argument) for at in range(PROCESSES)]
        totals = [part.result() for part in parts]
        seconds = time.monotonic() - begun
    total = [sum(t[0] for t in totals), sum(t[1] for t in totals), any(t[2] for t in totals), str(sum(t[3] for t in totals))]
    print(json.dumps({"seconds": seconds, "total": total}))


if __name__ == "__main__":
    main()
