from __future__ import annotations

import pytest
from click.testing import CliRunner

from jobworker import App, ConfigurationError
from jobworker.cli.main import cli
from jobworker.client.address import BySentinel, Credentials, InCluster, Single, parse, without_password
from jobworker.client.connection import DEFAULT_URL, connect


@pytest.mark.parametrize(
    "url",
    [
        "redis://h:1/2",
        "redis://h/?socket_timeout=1&socket_keepalive=yes",
        "rediss://:secret@h",
        "rediss://h?ssl_ca_certs=/ca.pem",
        "unix:///run/redis.sock?db=1",
    ],
)
def test_one_server_is_left_to_redis_py(url: str) -> None:
    assert parse(url, "") == Single(url)


def test_sentinels_have_a_service_and_a_database_and_credentials_of_their_own() -> None:
    assert parse("redis+sentinel://me:p%40ss@a,b:27000,[::1]:1/shop/2?sentinel_password=x", "") == BySentinel(
        (("a", 26379), ("b", 27000), ("::1", 1)), "shop", 2, Credentials("me", "p@ss"), Credentials(None, "x")
    )
    assert parse("redis+sentinel://a/shop", "") == BySentinel((("a", 26379),), "shop", 0, Credentials(), Credentials())


def test_tls_is_for_the_data_and_for_those_who_are_asked() -> None:
    secure = Credentials(tls=(("ssl_ca_certs", "/ca.pem"),))
    assert parse("rediss+sentinel://a/shop?ssl_ca_certs=/ca.pem", "") == BySentinel(
        (("a", 26379),), "shop", 0, secure, secure
    )


def test_slot_of_a_cluster_is_that_of_the_hash_tag() -> None:
    assert parse("redis+cluster://a,b:7000", "x{shop}y:") == InCluster((("a", 6379), ("b", 7000)), 3808, Credentials())


@pytest.mark.parametrize(
    ("url", "prefix", "message"),
    [
        pytest.param("http://me:secret@h", "", r"http://me:\*\*\*@h cannot be used \(the scheme", id="scheme"),
        pytest.param("", "", "the Redis address is empty: is the variable that should hold it set", id="empty"),
        pytest.param(" ", "", "the Redis address is empty", id="blank"),
        pytest.param("redis://h:1/abc", "", "'abc' is no number of a database", id="database of one"),
        pytest.param("redis://h:1/0/1", "", "'0/1' is no number of a database", id="two databases"),
        pytest.param("redis://h:1/-1", "", "'-1' is no number of a database", id="database below 0"),
        pytest.param("unix:///r.sock?db=x", "", "'x' is no number of a database", id="database of a socket"),
        pytest.param("redis://h/0?foo=1", "", "the option foo is not one of client_name, db", id="option of one"),
        pytest.param("redis://h/0?ssl_ca_certs=/c", "", "ssl_ca_certs is for TLS", id="TLS option without TLS"),
        pytest.param("redis://h/0?socket_timeout=x", "", "socket_timeout", id="option that is no number"),
        pytest.param("redis+sentinel://a:1", "", "the name of the service is missing", id="no service"),
        pytest.param("redis+sentinel://a/shop/x", "", "'x' is no number of a database", id="database"),
        pytest.param("redis+sentinel:///shop", "", "a host is missing", id="no host"),
        pytest.param("redis+cluster://a:0", "{shop}:", "0 is no port", id="port"),
        pytest.param("redis+cluster://a/1", "{shop}:", "database 0 alone", id="database of a cluster"),
        pytest.param(
            "redis+cluster://a?sentinel_password=x", "{shop}:", "sentinel_password is not one of", id="option"
        ),
        pytest.param("redis+cluster://a?ssl_keyfile=x", "{shop}:", r"begins with rediss\+", id="TLS option"),
        pytest.param("redis+cluster://a", "", "hash tag", id="no prefix"),
        pytest.param("redis+cluster://a", "{}:", "hash tag", id="empty hash tag"),
        pytest.param("redis+cluster://a", "shop}{:", "hash tag", id="braces the wrong way round"),
    ],
)
def test_address_that_cannot_work_is_refused_with_the_reason(url: str, prefix: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        assert connect(url, prefix) is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rediss://me:secret@h:1/0", "rediss://me:***@h:1/0"),
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis+sentinel://me:secret@a,b:1/shop", "redis+sentinel://me:***@a,b:1/shop"),
        ("redis+sentinel://a/shop?sentinel_password=secret", "redis+sentinel://a/shop?sentinel_password=***"),
        ("redis://h?password=secret&db=1", "redis://h?password=***&db=1"),
    ],
)
def test_passwords_are_hidden(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_application_refuses_an_empty_address_but_not_a_missing_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="the Redis address is empty"):
        App("")
    monkeypatch.setenv("JOBWORKER_REDIS_URL", "")
    assert App().redis_url == DEFAULT_URL
    monkeypatch.delenv("JOBWORKER_REDIS_URL")
    assert App().redis_url == DEFAULT_URL


@pytest.mark.parametrize(
    "command", [["queues"], ["queues", "clear", "mails", "--yes"], ["enqueue", "x"], ["run", "shop:app"]]
)
def test_command_line_refuses_an_empty_address(command: list[str]) -> None:
    done = CliRunner().invoke(cli, [*command, "--redis", ""])
    assert done.exit_code == 2
    assert "Invalid value for '--redis': the Redis address is empty" in done.output
