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

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def read(accept, content_type):
    """The page, as it is for whoever asks so."""
    request = urllib.request.Request(sys.argv[1], headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith(content_type), answer.headers
        return answer.read().decode()


page = read(OPENMETRICS + ",text/plain;q=0.5", OPENMETRICS)
types, values = {}, {}
for family in openmetrics(page):
    assert family.documentation, f"{family.name} is not described"
    types[family.name] = family.type
    for sample in family.samples:
        labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
        values[f"{sample.name}{{{labels}}}"] = sample.value
# Those who know the older format alone read the same numbers, and what they are.
older = list(classic(read("text/plain", "text/plain; version=0.0.4")))
samples = {sample.name for family in older for sample in family.samples}
assert samples == {name.split("{")[0] for name in values}, samples
assert {family.name: family.type for family in older} == types, older
print(json.dumps({"type": types, "value": values}))
