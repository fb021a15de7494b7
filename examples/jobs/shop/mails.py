"""The short job that comes by the thousand: what a burst is made of."""

from __future__ import annotations

import asyncio

from shop import effects
from shop.application import app


@app.job(queue="mails", name="SendMail")
async def send_mail(mail: int, seconds: float = 0.2) -> None:
    """Sends one mail, which takes ``seconds``."""
    await asyncio.sleep(seconds)
    await effects.async_redis().hincrby(effects.MAILS, str(mail), 1)
