"""What an OpenAPI description cannot say of /api/v1: how the values of two parameters, or the two ends of one value, relate.
Requests that are meant to be right are made so; those that are meant to be wrong stay as they are."""

import json
import os
import re
import urllib.request
import zlib

import schemathesis

UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
RANGE = re.compile(r"([0-9]+)([kKmMgG]?)-([0-9]+)([kKmMgG]?)")


def seen():
    """Digests of contents that are in the store, so that not every one that is asked for is unknown."""
    with urllib.request.urlopen(os.environ["STREAMDB_URL"] + "/api/v1/objects?limit=1000") as answer:
        rows = json.load(answer)["rows"]
    return sorted({row["sha256"] for row in rows if "sha256" in row})


SEEN = seen()


@schemathesis.deserializer("application/x-ndjson")
def lines(context, response):
    """Line by line: each is JSON, and all but the last are rows."""
    text = response.content.decode()
    rows = [json.loads(line) for line in text.splitlines()]
    assert text.endswith("\n") and ["oid" in row for row in rows] == [True] * (len(rows) - 1) + [False], text[-200:]
    return text


@schemathesis.hook
def map_case(context, case):
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return case
    query = case.query or {}
    # As all have to hold, hardly anything is found when all are given: what is made up by chance keeps a few of them.
    if case.meta.phase.name.value in ("fuzzing", "stateful"):
        drawn = repr(sorted(query.items()))
        for name in list(query):
            if name != "after" and zlib.crc32(f"{name} {drawn}".encode(errors="replace")) % 8:
                del query[name]
    # The start must not be after the end; a second that is named is meant whole, so it may be the same.
    if "start" in query and "end" in query:
        query["start"] = query["end"]
    for name in ("size", "length"):
        bounds = RANGE.fullmatch(str(query.get(name, "")))
        if bounds:
            low, low_unit, high, high_unit = bounds.groups()
            if int(low) * UNITS[low_unit.lower()] > int(high) * UNITS[high_unit.lower()]:
                query[name] = f"{high}{high_unit}-{low}{low_unit}"
    # Only line by line there may be any number of rows.
    if query.get("format") != "ndjson" and int(query.get("limit", 0)) > 10_000:
        query["limit"] = int(query["limit"]) % 10_001
    path = case.path_parameters or {}
    digest = str(path.get("sha256", ""))
    if SEEN and re.fullmatch("[0-9a-fA-F]{64}", digest) and int(digest[:2], 16) % 2:
        path["sha256"] = SEEN[int(digest, 16) % len(SEEN)]
    return case
