"""Scrapes a bank as Prometheus does, and reads what it gets with the library's parsers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import aiohttp
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_plain

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
"""What Prometheus 2.42 accepts."""


class Answered(NamedTuple):
    status: int
    content_type: str
    text: str


async def get(address: str, path: str, accept: str = PROMETHEUS) -> Answered:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{address}{path}", headers={"accept": accept}) as response,
    ):
        return Answered(response.status, response.headers.get("content-type", ""), await response.text())


async def families(address: str, accept: str = PROMETHEUS) -> Sequence[Metric]:
    answered = await get(address, "/metrics", accept)
    assert answered.status == 200, answered.text
    parse = parse_openmetrics if "openmetrics" in answered.content_type else parse_plain
    return list(parse(answered.text))


async def samples(address: str, name: str) -> Mapping[tuple[str, ...], float]:
    """The samples of this name, by the values of their labels in the order of the labels' names."""
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in await families(address)
        for sample in family.samples
        if sample.name == name
    }


async def value(address: str, name: str, *labels: str) -> float:
    return (await samples(address, name))[labels]
