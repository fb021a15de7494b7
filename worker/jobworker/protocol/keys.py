"""Names of the keys and channels in Redis, all behind one prefix.

Two vocabularies share a Redis: Sidekiq's own keys, so that Ruby can enqueue for us and Sidekiq's tools can read
us, and ours, which begin with ``jw:``. With a hash tag as prefix (``{shop}:``) all keys of an application lie in
one slot of a Redis Cluster.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of all keys behind ``prefix``, which may be empty."""

    prefix: str = ""

    # ── Sidekiq's ──────────────────────────────────────────────────────────────
    @property
    def queues(self) -> str:
        """SET of the names of all queues that ever had a job."""
        return f"{self.prefix}queues"

    def queue(self, name: str) -> str:
        """LIST of payloads: producers push at the head, workers pop at the tail."""
        return f"{self.prefix}queue:{name}"

    @property
    def paused(self) -> str:
        """SET of the names of paused queues."""
        return f"{self.prefix}paused"

    @property
    def paused_until(self) -> str:
        """Ours: ZSET queue → time by Redis' clock in ms at which its pause ends by itself."""
        return f"{self.prefix}jw:paused-until"

    @property
    def schedule(self) -> str:
        """ZSET payload → due time in epoch seconds."""
        return f"{self.prefix}schedule"

    @property
    def retry(self) -> str:
        """ZSET payload → time of the next try in epoch seconds."""
        return f"{self.prefix}retry"

    @property
    def dead(self) -> str:
        """ZSET payload → time of death in epoch seconds."""
        return f"{self.prefix}dead"

    def stat(self, name: str, day: str = "") -> str:
        """Counter ``processed`` or ``failed``: of all time, or of a UTC day written YYYY-MM-DD."""
        return f"{self.prefix}stat:{name}:{day}" if day else f"{self.prefix}stat:{name}"

    def iteration(self, jid: str) -> str:
        """HASH with Sidekiq's iteration state: ``ex``, ``c``, ``rt``, ``cancelled``; ``paused`` and ``tries``."""
        return f"{self.prefix}it-{jid}"

    @property
    def processes(self) -> str:
        """SET of the identities (``hostname:pid:nonce``) of Sidekiq's processes and of our workers'."""
        return f"{self.prefix}processes"

    def process(self, identity: str) -> str:
        """HASH with the record of a process: ``info``, ``busy``, ``beat``, ``quiet``, ``rss``, ``rtt_us``."""
        return f"{self.prefix}{identity}"

    def process_work(self, identity: str) -> tuple[str, str]:
        """Two HASHes, thread → JSON of what it runs: the name since Sidekiq 6.4.2, and the one up to 6.4.1."""
        return f"{self.prefix}{identity}:work", f"{self.prefix}{identity}:workers"

    def process_signals(self, identity: str) -> str:
        """LIST of names of signals that the process shall send itself; Sidekiq's senders let it live for 60 s."""
        return f"{self.prefix}{identity}-signals"

    @property
    def process_cleanup(self) -> str:
        """STRING with a TTL: one process at a time clears `processes` of the dead."""
        return f"{self.prefix}process_cleanup"

    # ── ours: workers ──────────────────────────────────────────────────────────
    @property
    def workers(self) -> str:
        """SET of the identities of all registered workers."""
        return f"{self.prefix}jw:workers"

    def working(self, worker: str) -> str:
        """HASH number → entry: **the truth about what the worker holds**."""
        return f"{self.prefix}jw:working:{worker}"

    def checkpoints(self, worker: str) -> str:
        """HASH number → server time in ms of the last checkpoint of the entry with that number."""
        return f"{self.prefix}jw:checkpoints:{worker}"

    def quiet(self, worker: str) -> str:
        """STRING reason, without a TTL: as long as it exists, no job starts on the worker."""
        return f"{self.prefix}jw:quiet:{worker}"

    def record(self, worker: str) -> str:
        """HASH that describes one life of a worker; its ``epoch`` fences the lives before."""
        return f"{self.prefix}jw:worker:{worker}"

    def alive(self, worker: str) -> str:
        """STRING epoch with a TTL of a few beats."""
        return f"{self.prefix}jw:alive:{worker}"

    def rescued(self, worker: str) -> str:
        """STRING epoch with a TTL: this life of the worker was ended by a rescue, its jobs are somebody else's."""
        return f"{self.prefix}jw:rescued:{worker}"

    def fleet(self, name: str) -> str:
        """HASH worker → epoch of all workers of a JobWorker, ``name`` being ``namespace/name``."""
        return f"{self.prefix}jw:fleet:{name}"

    @property
    def scheduler(self) -> str:
        """STRING worker with a TTL: the one worker that looks after due jobs and dead workers."""
        return f"{self.prefix}jw:scheduler"

    @property
    def limits(self) -> str:
        """HASH queue → ``<cluster>|<worker>|<blocking>``: how many of its jobs may be held, see ``lua/_take.lua``."""
        return f"{self.prefix}jw:limits"

    @property
    def inflight(self) -> str:
        """HASH queue → how many of its jobs all workers together hold; no field for none."""
        return f"{self.prefix}jw:inflight"

    # ── ours: queues and jobs ──────────────────────────────────────────────────
    def wake(self, queue: str) -> str:
        """LIST of tokens: each wakes one worker that waits for the queue."""
        return f"{self.prefix}jw:wake:{queue}"

    def pushed(self, guard: str) -> str:
        """STRING with a TTL of a day: the first jid of the last push that a producer carried out with this guard."""
        return f"{self.prefix}jw:pushed:{guard}"

    def progress(self, jid: str) -> str:
        """HASH with the counts and times of an iterating job, see `jobworker.protocol.progress`.

        Its rows are done up to ``processed``.
        """
        return f"{self.prefix}jw:progress:{jid}"

    def failed_rows(self, jid: str) -> str:
        """HASH chunk → bits of the numbers of rows with errors, see `jobworker.protocol.number_sets`."""
        return f"{self.prefix}jw:failed-rows:{jid}"

    def done(self, jid: str, kind: str) -> tuple[str, str]:
        """The ids of one kind that a job has done: a HASH chunk → bits for numbers, and a SET of texts."""
        return f"{self.prefix}jw:done:{jid}:{kind}", f"{self.prefix}jw:done-texts:{jid}:{kind}"

    def errors(self, jid: str) -> str:
        """HASH row number → JSON array of messages."""
        return f"{self.prefix}jw:errors:{jid}"

    def slices(self, jid: str) -> str:
        """HASH of a job that was split: how many slices there are and are ``left``, and of each how it ended."""
        return f"{self.prefix}jw:slices:{jid}"

    @property
    def parked(self) -> str:
        """HASH jid → entry, written as in a working set: paused jobs, which nobody holds until they are resumed."""
        return f"{self.prefix}jw:paused-jobs"

    @property
    def deaths(self) -> str:
        """ZSET payload of a job that failed for good → epoch seconds from which on its death handlers may be called."""
        return f"{self.prefix}jw:deaths"

    # ── channels ───────────────────────────────────────────────────────────────
    def signal(self, worker: str) -> str:
        """Channel on which a busy worker hears ``quiet`` and ``unquiet``."""
        return f"{self.prefix}jw:signal:{worker}"

    @property
    def events(self) -> str:
        """Channel on which the operator hears ``registered``, ``drained`` and ``gone``, followed by a worker."""
        return f"{self.prefix}jw:events"

    @property
    def due(self) -> str:
        """Channel on which the worker that looks after due jobs hears that one is due sooner than it knows."""
        return f"{self.prefix}jw:due"
