"""What --sink says."""

from __future__ import annotations

import pytest

from openbank.config import BadSetting, Settings, settings
from openbank.sinks.address import SinkAddress, parse


def test_a_url_alone_is_a_sink_of_that_name() -> None:
    assert parse("https://crm.example/events") == SinkAddress(
        "https://crm.example/events", "https://crm.example/events", "structured", "beginning"
    )


def test_the_secret_of_a_url_is_not_in_its_name_and_not_shown() -> None:
    sink = parse("https://me:secret@crm.example:8443/events?key=secret#mode=binary")
    assert sink.name == sink.shown == "https://crm.example:8443/events"
    assert sink.url == "https://me:secret@crm.example:8443/events?key=secret"


def test_a_name_is_before_an_equals_sign_and_options_are_behind_a_hash() -> None:
    assert parse("crm=https://crm.example/?a=b#mode=batched&start=live") == SinkAddress(
        "crm", "https://crm.example/?a=b", "batched", "live"
    )
    assert parse("bus=nats://127.0.0.1:4222/bank.events").mode == "structured"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("crm", "must be URL or NAME=URL"),
        ("ftp://crm.example", "must be URL or NAME=URL"),
        ("https://", "must have HOST or HOST:PORT"),
        ("https://:443/", "must have HOST or HOST:PORT"),
        ("https://crm.example:port", "must have HOST or HOST:PORT"),
        ("https://crm.example:0", "must have a port from 1 to 65535"),
        ("https://crm.example:65536", "must have a port from 1 to 65535"),
        ("https://crm.example:-1", "must have HOST or HOST:PORT"),
        ("https://a.example,b.example/", "must have one host"),
        (f"https://{'x' * 64}.example/", "63 characters at most"),
        (f"https://{'a.' * 127}example/", "63 characters at most"),
        ("https://crm..example/", "63 characters at most"),
        ("https://-crm.example/", "63 characters at most"),
        ("https://crm!.example/", "63 characters at most"),
        (f"https://{'ä' * 64}.example/", "international name"),
        ("https://300.1.1.1/", "a name or an IP address"),
        ("https://[::1/", "of the form SCHEME://HOST:PORT"),
        ("https://[::zz]/", "IPv6|of the form|HOST or HOST:PORT"),
        ("https://me:pa/ss@crm.example/", "written as %25, %2F"),
        ("https://me:12/ss@crm.example/", "written as %25, %2F"),
        ("https://me:12#ss=word@crm.example/", "written as %25, %2F"),
        ("https://me:12?ss@crm.example/", "written as %25, %2F"),
        ("https://me:p@ss@crm.example/", "written as %25, %2F"),
        ("https://me:%zz@crm.example/", "written as %25, %2F"),
        ("https://me:%e4@crm.example/", "a user and password in UTF-8"),
        ("https://me:a%0ab@crm.example/", "without control characters"),
        ("https://m%3Ae:secret@crm.example/", "a user without a colon"),
        ("https:/crm.example/", "must be URL or NAME=URL"),
        ("tls://bus.example/", "must be URL or NAME=URL"),
        ("nats://bus.example/.a", "what subjects begin with"),
        ("nats://bus.example/a..b", "what subjects begin with"),
        ("nats://bus.example/a.*", "what subjects begin with"),
        (f"nats://bus.example/{'x' * 300}", "what subjects begin with"),
        ("my crm=https://crm.example", "must be URL or NAME=URL"),
        ("https://crm.example#mode=fast", "must have a mode of structured, binary, batched for https://"),
        ("nats://bus.example#mode=batched", "must have a mode of structured, binary for nats://"),
        ("https://crm.example#start=middle", "must have a start of beginning or live"),
        ("https://crm.example#speed=high", "no options but mode, start and park_after behind #, such as speed"),
        ("https://crm.example#fast", "options of the form"),
        ("nats://bus.example/two words", "without spaces"),
        ("nats://bus.example/a.>", "what subjects begin with"),
        (f"https://crm.example/{'x' * 200}", "too long"),
    ],
)
def test_a_bad_url_is_explained(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(text)


def test_the_flag_may_be_given_more_than_once_and_wins_over_the_environment() -> None:
    chosen = settings({"sink": ["crm=https://a.example", "https://b.example"]}, {"OPENBANK_SINK": "https://c.example"})
    assert [sink.name for sink in chosen.sink] == ["crm", "https://b.example"]


def test_in_the_environment_there_are_spaces_between() -> None:
    chosen = settings({}, {"OPENBANK_SINK": "crm=https://a.example  https://b.example"})
    assert [sink.name for sink in chosen.sink] == ["crm", "https://b.example"]
    assert Settings().sink == ()


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(BadSetting, match=r"--sink must have a name of its own .*: crm is there twice"):
        settings({"sink": ["crm=https://a.example", "crm=https://b.example"]}, {})


def test_a_refusal_repeats_no_secret() -> None:
    for text in ("https://me:secret@crm.example#mode=fast", "https://crm.example?key=secret#mode=fast"):
        with pytest.raises(BadSetting) as refused:
            settings({"sink": [text]}, {})
        assert "secret" not in str(refused.value)


def test_a_refusal_names_the_sink() -> None:
    with pytest.raises(BadSetting, match=r"63 characters at most each \(the sink crm\), not what was given"):
        settings({"sink": [f"crm=https://{'x' * 64}.example/", "https://b.example"]}, {})


def test_a_scheme_is_read_in_any_case() -> None:
    assert parse("HTTPS://Crm.example/").url == "https://Crm.example/"


@pytest.mark.parametrize(
    "url",
    [
        "https://straße.example/",
        "https://münchen.example:8443/",
        "https://[::1]:8443/",
        "https://127.0.0.1/",
        "https://crm_1.internal./",
        "https://me:%E2%82%AC%C3%A4€ä@crm.example/",
    ],
)
def test_a_usable_url_is_accepted(url: str) -> None:
    assert parse(f"crm={url}").url == url
