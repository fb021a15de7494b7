"""huey on a Redis list, popped by BLPOP: what a worker that dies has taken is gone."""

from __future__ import annotations

from effects import plain_work
from huey import RedisHuey
from producing import URL, produce

huey = RedisHuey("bench", url=URL, results=False)
work = huey.task(name="work")(plain_work)

if __name__ == "__main__":
    produce(work)
