"""A shop's background jobs: an import that may be interrupted, a report that may not, and mails by the thousand.

A worker runs them with `jobworker run shop:app`; `python -m shop` enqueues some.
"""

from shop.application import app
from shop.imports import ImportCities
from shop.ledger import ExportLedger, ImportLedger
from shop.mails import send_mail
from shop.reports import long_report

__all__ = ["ExportLedger", "ImportCities", "ImportLedger", "app", "long_report", "send_mail"]
