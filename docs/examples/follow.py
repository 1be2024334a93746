#!/usr/bin/env python3
"""Follows a session of MGX and prints the number and the type of every event, each once and in order.

    pip install httpx
    MGX_TOKEN=$(cat data/admin.token) python3 follow.py http://127.0.0.1:8765 bakery

The stream is resumed where it broke, with `Last-Event-ID`: however often the connection is lost or the server is
started again, no event is missed and none comes twice.
"""

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator

import httpx

# The server pings every 15 seconds: a longer silence is a dead connection.
SILENCE = 60.0
# How long to wait before the next try: at first, and at the most.
PAUSE, LONGEST_PAUSE = 0.1, 2.0


def frames(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The id and the data of each whole frame that has both (WHATWG HTML, section 9.2)."""
    event_id, data = None, []
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            if event_id is not None and data:
                yield event_id, "\n".join(data)
            event_id, data = None, []
        elif name == "id":
            event_id = value
        elif name == "data":
            data.append(value)
    # what has no empty line after it was cut, and comes again


def lines(response: httpx.Response) -> Iterator[str]:
    """The lines of a stream as they come, without their ends; of a line that was cut, nothing."""
    rest = b""
    for chunk in response.iter_raw():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode()


def follow(base: str, session: str, token: str) -> Iterator[dict]:
    """Every event of a session, until all its jobs have ended."""
    headers = {"authorization": f"Bearer {token}", "accept": "text/event-stream"}
    timeout = httpx.Timeout(10.0, read=SILENCE)
    last, pause = None, PAUSE
    with httpx.Client(base_url=base, headers=headers, timeout=timeout, trust_env=False) as client:
        while True:
            resume = {} if last is None else {"last-event-id": last}
            try:
                with client.stream("GET", f"/api/sessions/{session}/events", headers=resume) as response:
                    if response.status_code == 204:
                        return
                    if response.status_code == 200:
                        pause = PAUSE
                        for last, data in frames(lines(response)):
                            yield json.loads(data)
                        continue
                    problem = json.loads(response.read())
                    if response.status_code == 410:
                        # what came next is kept no longer: go on with the oldest that is
                        print(f"events before {problem['oldest']} are gone", file=sys.stderr)
                        last = str(problem["oldest"] - 1)
                        continue
                    if not problem.get("retryable"):
                        raise SystemExit(f"{problem['title']}: {problem['detail']}")
            except (httpx.TransportError, json.JSONDecodeError) as error:
                if pause == PAUSE:
                    print(f"no connection: {error or type(error).__name__}; trying again", file=sys.stderr)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def main() -> None:
    base, session = sys.argv[1:3]
    for event in follow(base, session, os.environ["MGX_TOKEN"]):
        print(event["seq"], event["event_type"], flush=True)


if __name__ == "__main__":
    main()
