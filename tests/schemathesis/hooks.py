"""What the tool does not know by itself: how a line of JSON is sent, and that a file is only bytes."""

import json

import schemathesis


@schemathesis.serializer("application/jsonl")
def jsonl(ctx, value):
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    return (value if isinstance(value, str) else json.dumps(value)).encode("utf-8", "replace")


@schemathesis.deserializer("application/octet-stream")
def bytes_(ctx, response):
    return response.content.decode("latin-1")


@schemathesis.deserializer("application/jsonl")
def lines(ctx, response):
    return response.content.decode("utf-8")
