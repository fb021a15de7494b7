from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from jobworker import App, ArgumentsNotJSON, ConfigurationError, IteratingJob, UnknownJob, context, list_items
from jobworker.client import push
from jobworker.client.connection import connect, without_password
from jobworker.jobs import arguments
from jobworker.testing import capture


@pytest.fixture
def app() -> App:
    return App("redis://127.0.0.1:1/0")


def test_decorated_function_stays_callable(app: App) -> None:
    @app.job
    def double(number: int) -> int:
        return 2 * number

    assert double(4) == 8
    assert double.name == "double"


def test_second_job_of_a_name_is_refused_and_both_places_are_named(app: App) -> None:
    def define() -> Callable[[], None]:
        @app.job(name="Mail")
        def send() -> None:
            return None

        return send

    define()
    with pytest.raises(ConfigurationError, match=r"two jobs are named Mail: .*send and .*send"):
        define()


def test_unknown_job_is_told_with_the_known_ones(app: App) -> None:
    @app.job
    def mail() -> None: ...

    with pytest.raises(UnknownJob, match="no job is named report; this application defines mail"):
        app.jobs.get("report")


def keyword_only(*, name: str) -> None: ...


async def async_rule(*_: object) -> int:
    return 1


def generator() -> Any:
    yield 1


class NoCursor(IteratingJob):
    def build_enumerator(self, number: int) -> list_items[int]:
        return list_items(range(number), None)

    def each_iteration(self, item: int, number: int) -> None: ...


class OtherArguments(IteratingJob):
    def build_enumerator(self, path: str, *, cursor: int | None) -> list_items[int]:
        return list_items(range(len(path)), cursor)

    def each_iteration(self, item: int) -> None: ...


class NoEach(IteratingJob):
    def build_enumerator(self, *, cursor: int | None) -> list_items[int]:
        return list_items([], cursor)


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        pytest.param(keyword_only, {}, "only be given by keyword", id="keyword only"),
        pytest.param(generator, {}, "use IteratingJob", id="generator"),
        pytest.param(lambda: None, {"queue": "a b"}, "no queue name", id="queue"),
        pytest.param(lambda: None, {"retry": -1}, "retry is -1", id="retry"),
        pytest.param(lambda: None, {"retry": 3, "retry_for": 60}, "both given", id="two kinds of retry"),
        pytest.param(lambda: None, {"retry_for": 0}, "retry_for is 0", id="retry_for"),
        pytest.param(lambda: None, {"retry_queue": "a,b"}, "no queue name", id="retry_queue"),
        pytest.param(lambda: None, {"retry_in": async_rule}, "retry_in is async", id="async retry_in"),
        pytest.param(lambda: None, {"discard_on": "ValueError"}, "discard_on is 'ValueError'", id="discard_on"),
        pytest.param(lambda: None, {"kill_on": (ValueError, 3)}, "a class of errors", id="kill_on"),
        pytest.param(lambda: None, {"poison_after": -1}, "poison_after is -1", id="poison_after"),
        pytest.param(lambda: None, {"backtrace": -1}, "backtrace is -1", id="backtrace"),
        pytest.param(lambda: None, {"timout": 3}, "no option timout; did you mean timeout?", id="misspelt"),
        pytest.param(lambda: None, {"unique": True}, "no option unique: no job is made unique here", id="unique"),
        pytest.param(lambda: None, {"color": 3}, "no option color; it has backtrace, dead, ", id="unknown option"),
        pytest.param(lambda: None, {"retry": "5"}, "retry is '5'; it is True, False or a number", id="retry as text"),
        pytest.param(lambda: None, {"timeout": "5s"}, "timeout is '5s'; it is a number of seconds", id="timeout"),
        pytest.param(lambda: None, {"retry_for": "1h"}, "retry_for is '1h'; it is a number", id="retry_for as text"),
        pytest.param(lambda: None, {"backtrace": "all"}, "backtrace is 'all'; it is", id="backtrace as text"),
        pytest.param(lambda: None, {"dead": "no"}, "dead is 'no'; it is True or False", id="dead as text"),
        pytest.param(lambda: None, {"queue": 7}, "the queue 7 must be a name", id="queue as number"),
        pytest.param(dict, {}, "no IteratingJob", id="other class"),
        pytest.param(NoCursor, {}, "must take `cursor`", id="no cursor"),
        pytest.param(OtherArguments, {}, r"takes the arguments \(path: .*each_iteration takes \(\)", id="arguments"),
        pytest.param(NoEach, {}, "does not define each_iteration", id="no each_iteration"),
    ],
)
def test_job_that_could_not_run_is_refused_at_its_definition(
    app: App, target: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        app.job(**options)(target)


def test_keywords_become_the_list_that_travels(app: App) -> None:
    @app.job
    def mail(to: str, copies: int = 1, subject: str = "hi") -> None: ...

    assert mail.definition.bind(("a",), {"subject": "b"}) == ["a", 1, "b"]
    assert mail.definition.bind(("a",), {}) == ["a"]
    with pytest.raises(TypeError, match="mail"):
        mail.definition.bind((), {"nobody": 1})


class AnyArguments(IteratingJob):
    def build_enumerator(self, *args: int, cursor: int | None) -> list_items[int]:
        return list_items(range(sum(args)), cursor)

    def each_iteration(self, item: int, first: int, second: int = 1) -> None: ...


class IgnoresArguments(IteratingJob):
    def build_enumerator(self, path: str, cursor: int | None, most: int = 3) -> list_items[str]:
        return list_items([path] * most, cursor)

    def each_iteration(self, item: str, *_: Any) -> None: ...


@pytest.mark.parametrize("target", [AnyArguments, IgnoresArguments])
def test_two_methods_that_can_take_the_same_arguments_are_no_mistake(app: App, target: type[IteratingJob]) -> None:
    assert app.job(target) is target


def test_wrong_arguments_are_told_with_the_method_that_says_which(app: App) -> None:
    @app.job
    class Two(AnyArguments): ...

    with pytest.raises(TypeError, match=r"Two\(.*\).*, as each_iteration takes behind the item: too many"):
        Two.enqueue_sync(1, 2, 3)  # type: ignore[call-arg]  # the type checker knows, too


@pytest.mark.parametrize("each", [1, None])
def test_many_jobs_need_a_tuple_for_each(app: App, each: Any) -> None:
    @app.job
    def mail(to: int) -> None: ...

    with (
        capture(app),
        pytest.raises(ArgumentsNotJSON, match=r"mail: enqueue_many takes a tuple .* as in \[\(1,\), \(2,\)\]"),
    ):
        mail.enqueue_many_sync([each])


def test_transaction_without_checkpoints_is_told_with_what_is_missing() -> None:
    with pytest.raises(ConfigurationError, match=r"AnyArguments has no self.transaction: set checkpoints = "):
        assert AnyArguments().transaction is None


def test_arguments_of_an_iterating_job_are_what_follows_the_item(app: App) -> None:
    class Walk(IteratingJob):
        def build_enumerator(self, number: int, *, cursor: int | None) -> list_items[int]:
            return list_items(range(number), cursor)

        def each_iteration(self, item: int, number: int) -> None: ...

    assert app.job(Walk) is Walk
    assert app.jobs.get("Walk").bind((3,), {}) == [3]
    # The ignores are part of the test: without an error to ignore, mypy complains of them.
    with pytest.raises(TypeError, match="number"):
        Walk.enqueue_sync()  # type: ignore[call-arg]  # the type checker knows, too
    with pytest.raises(ArgumentsNotJSON, match="number is a tuple"):
        Walk.schedule_sync(5, (1, 2))  # type: ignore[arg-type]  # the same


def test_class_that_was_not_registered_cannot_be_enqueued_though_its_parent_can(app: App) -> None:
    @app.job
    class Parent(IteratingJob):
        def build_enumerator(self, *, cursor: int | None) -> list_items[int]:
            return list_items([1], cursor)

        def each_iteration(self, item: int) -> None: ...

    class Child(Parent): ...

    with pytest.raises(ConfigurationError, match=r"Child is not registered; decorate it with @app\.job"):
        Child.enqueue_sync()
    with pytest.raises(ConfigurationError, match="Parent is registered already, as Parent"):
        app.job(name="Again")(Parent)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        pytest.param(dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "is a datetime.datetime", id="datetime"),
        pytest.param((1, 2), "is a tuple", id="a tuple would come back as a list"),
        pytest.param(uuid.UUID(int=1), "is a uuid.UUID", id="a UUID would come back as a string"),
        pytest.param(float("nan"), "is nan", id="nan would come back as null"),
        pytest.param(2**64, "more than 64 bits", id="integer"),
        pytest.param({1: 2}, "the key 1, which is no string", id="key"),
        pytest.param({"a": [0, {"b": b""}]}, r"\['a'\]\[1\]\['b'\] is a bytes", id="deep inside"),
    ],
)
def test_argument_that_cannot_travel_is_named(app: App, value: object, found: str) -> None:
    @app.job
    def mail(to: str, what: object) -> None: ...

    with pytest.raises(ArgumentsNotJSON, match=f"mail: argument what.*{found}"):
        arguments.check("mail", ["x", value], mail.definition.signature)


def test_what_json_has_may_travel() -> None:
    arguments.check("mail", [1, 1.5, "a", None, True, [1, {"a": []}]])


def test_context_outside_a_job_is_refused() -> None:
    with pytest.raises(LookupError, match="no job runs here"):
        context()


def test_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        push.due(0, dt.datetime(2026, 1, 1))  # noqa: DTZ001  # that is what is refused


def test_due_times() -> None:
    assert push.due(100, 5) == 105
    assert push.due(100, dt.timedelta(minutes=1)) == 160
    assert push.due(100, dt.datetime(1970, 1, 1, 0, 5, tzinfo=dt.UTC)) == 300


def test_password_is_hidden() -> None:
    assert without_password("rediss://me:secret@h:1/0") == "rediss://me:***@h:1/0"
    assert without_password("redis://h:1/0") == "redis://h:1/0"


def test_address_that_is_no_redis_is_refused_without_its_password() -> None:
    with pytest.raises(ConfigurationError, match=r"http://a:\*\*\*@h cannot be used"):
        assert connect("http://a:secret@h") is None


def test_payload_carries_the_options_that_differ_from_the_defaults(app: App) -> None:
    @app.job
    def plain() -> None: ...

    @app.job(retry_for=dt.timedelta(hours=1), retry_queue="slow", dead=False, backtrace=20, retry_in=lambda *_: 1)
    def rich() -> None: ...

    assert plain.definition.options.fields == {}
    assert rich.definition.options.fields == {
        "retry_for": 3600,
        "retry_queue": "slow",
        "dead": False,
        "backtrace": 20,
    }


def test_poison_limit_is_the_jobs_else_the_apps() -> None:
    app = App(poison_after=5)

    @app.job
    def usual() -> None: ...

    @app.job(poison_after=0)
    def never() -> None: ...

    assert usual.definition.options.fields == {"jw_poison_after": 5}
    assert never.definition.options.fields == {"jw_poison_after": 0}
