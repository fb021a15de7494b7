"""Dramatiq on Redis, acknowledged after the job."""

from __future__ import annotations

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from effects import plain_work
from producing import URL, produce

broker = RedisBroker(url=URL)
dramatiq.set_broker(broker)
work = dramatiq.actor(plain_work, actor_name="work")

if __name__ == "__main__":
    produce(work.send)
