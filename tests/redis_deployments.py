"""A Sentinel deployment and a Redis Cluster of the tests' own: real processes on loopback."""

from __future__ import annotations

import re
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.crc import key_slot

from tests.redis_server import RedisServer, free_port
from tests.waiting import wait_until_sync

SERVICE = "shop"


class SentinelDeployment:
    """A primary, a replica of it and three Sentinels, two of which must agree that the primary is gone."""

    def __init__(self, folder: Path) -> None:
        self._servers = [RedisServer(folder / "first"), RedisServer(folder / "second")]
        self._sentinels: list[RedisServer] = []
        self._folder = folder
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self._sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    @property
    def primary(self) -> RedisServer:
        """Whom the Sentinels take for the primary now."""
        _, port = command(self._sentinels[0], "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(server for server in self._servers if server.port == int(port))

    def replicated(self) -> bool:
        """Has the replica all that the primary has now?"""
        primary = self.primary
        (replica,) = (server for server in self._servers if server is not primary)
        wanted = _offset(primary, "master_repl_offset")
        return _offset(replica, "slave_repl_offset") >= wanted > 0

    def __enter__(self) -> Self:
        first, second = self._servers
        with self._stack:
            self._stack.enter_context(first)
            second.flags = ("--replicaof", "127.0.0.1", str(first.port))
            self._stack.enter_context(second)
            wait_until_sync(lambda: b"master_link_status:up" in command(second, "INFO"), 30, "the replica")
            for number in range(3):
                self._sentinels.append(self._stack.enter_context(self._sentinel(self._folder / f"sentinel{number}")))
            for sentinel in self._sentinels:
                wait_until_sync(partial(self._knows_all, sentinel), 40, "the Sentinels' acquaintance")
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _sentinel(self, folder: Path) -> RedisServer:
        server = RedisServer(folder)
        folder.mkdir(parents=True)
        config = folder / "sentinel.conf"
        config.write_text(
            f"sentinel monitor {SERVICE} 127.0.0.1 {self._servers[0].port} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} 2000\n"
            f"sentinel failover-timeout {SERVICE} 5000\n"
        )
        server.config, server.flags = config, ("--sentinel",)
        return server

    @staticmethod
    def _knows_all(sentinel: RedisServer) -> bool:
        known = command(sentinel, "SENTINEL", "MASTER", SERVICE)
        return bool(known[b"num-slaves"] == b"1" and known[b"num-other-sentinels"] == b"2")


class RedisCluster:
    """Three nodes that share the slots."""

    def __init__(self, folder: Path) -> None:
        self.nodes = [RedisServer(folder / f"node{number}") for number in range(3)]
        self._bus_ports: dict[int, int] = {}
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def __enter__(self) -> Self:
        with self._stack:
            for node in self.nodes:
                bus = self._bus_ports[node.port] = free_port()
                node.flags = ("--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", "5000")
                self._stack.enter_context(node)
            self._join()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def primary_of(self, key: str) -> RedisServer:
        """The node on which a key lies."""
        slot = key_slot(key.encode())
        for node in self.nodes:
            if any(first <= slot <= last for first, last in _own_slots(node)):
                return node
        raise AssertionError(f"slot {slot} of {key} is nobody's")

    def move(self, key: str, to: RedisServer) -> None:
        """Move the slot of a key with all keys in it, as an operator of the cluster would."""
        slot, source = key_slot(key.encode()), self.primary_of(key)
        names = {node.port: command(node, "CLUSTER", "MYID").decode() for node in self.nodes}
        command(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", names[source.port])
        command(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", names[to.port])
        while keys := command(source, "CLUSTER", "GETKEYSINSLOT", slot, 100):
            command(source, "MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS", *keys)
        for node in (to, source, *self.nodes):
            command(node, "CLUSTER", "SETSLOT", slot, "NODE", names[to.port])

    def _join(self) -> None:
        shares = [(0, 5460), (5461, 10922), (10923, 16383)]
        for node, (first, last) in zip(self.nodes, shares, strict=True):
            command(node, "CLUSTER", "ADDSLOTSRANGE", first, last)
            command(node, "CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port, self._bus_ports[self.nodes[0].port])
        for node in self.nodes:
            wait_until_sync(partial(self._whole, node), 30, "the cluster")

    @staticmethod
    def _whole(node: RedisServer) -> bool:
        known = command(node, "CLUSTER", "INFO").decode()
        return "cluster_state:ok" in known and "cluster_known_nodes:3" in known and "cluster_size:3" in known


def command(server: RedisServer, *parts: object) -> Any:
    """What a server answers to one command."""
    with redis.Redis(port=server.port, protocol=3, socket_timeout=10) as client:
        client.response_callbacks.clear()
        return client.execute_command(*parts)


def _own_slots(node: RedisServer) -> list[tuple[int, int]]:
    me = command(node, "CLUSTER", "MYID")
    return [(first, last) for first, last, primary, *_ in command(node, "CLUSTER", "SLOTS") if primary[2] == me]


def _offset(server: RedisServer, name: str) -> int:
    found = re.search(rf"^{name}:(\d+)", command(server, "INFO", "replication").decode(), re.MULTILINE)
    return -1 if found is None else int(found[1])  # it has the other role
