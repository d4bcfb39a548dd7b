#!/usr/bin/env python3
"""Reads a page of numbers with the parsers of Prometheus' own client library.

    read_numbers.py http://127.0.0.1:9177/metrics        prints {"type": {family: type}, "value": {sample: value}}

The strict parser of OpenMetrics ends it with an error for whatever the format does not allow: families that come
twice or mixed, samples without their family, suffixes, labels and numbers that cannot be.
"""

import json
import sys
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as classic

with urllib.request.urlopen(sys.argv[1], timeout=60) as answer:
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0"), answer.headers
    page = answer.read().decode()
types, values = {}, {}
for family in openmetrics(page):
    assert family.documentation, f"{family.name} is not described"
    types[family.name] = family.type
    for sample in family.samples:
        labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
        values[f"{sample.name}{{{labels}}}"] = sample.value
# Those who know the older format alone read the same numbers.
older = {sample.name for family in classic(page) for sample in family.samples}
assert older == {name.split("{")[0] for name in values}, older
print(json.dumps({"type": types, "value": values}))
