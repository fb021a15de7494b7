"""Enqueues the shop's jobs: `python -m shop imports`, `python -m shop reports 3 60`, `python -m shop mails 1000`."""

from __future__ import annotations

import argparse
import secrets

from shop import ImportCities, app, long_report, send_mail
from shop.cities import count, shares


def main() -> None:
    """Parse the command line, enqueue, tell what was enqueued."""
    parser = argparse.ArgumentParser(prog="python -m shop", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    imports = kinds.add_parser("imports", help="import all cities")
    imports.add_argument("jobs", type=int, nargs="?", default=9, help="jobs that share the rows (9)")
    imports.add_argument("row_ms", type=float, nargs="?", default=5.0, help="milliseconds of work for a row (5)")
    reports = kinds.add_parser("reports", help="write reports, which nobody can interrupt")
    reports.add_argument("number", type=int, nargs="?", default=1, help="how many (1)")
    reports.add_argument("seconds", type=float, nargs="?", default=30.0, help="how long each takes (30)")
    mails = kinds.add_parser("mails", help="send a burst of mails")
    mails.add_argument("number", type=int, nargs="?", default=200, help="how many (200)")
    arguments = parser.parse_args()
    match arguments.kind:
        case "imports":
            parts = [(first, last, arguments.row_ms) for first, last in shares(count(), arguments.jobs)]
            jids = ImportCities.enqueue_many_sync(parts)
        case "reports":
            jids = long_report.enqueue_many_sync(
                (f"report-{secrets.token_hex(3)}", arguments.seconds) for _ in range(arguments.number)
            )
        case _:
            jids = send_mail.enqueue_many_sync((mail,) for mail in range(1, arguments.number + 1))
    app.close_sync()
    print(f"enqueued {len(jids)} jobs for {arguments.kind}")


if __name__ == "__main__":
    main()
