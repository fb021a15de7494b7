"""etcd, API server, controller manager, scheduler, kube-proxy and DNS of one cluster.

All of them listen on the bridge's first address, inside the cluster's network namespace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from tests.cluster.tool import cgroups, processes
from tests.cluster.tool.waiting import answers, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.tool.layout import Layout
    from tests.cluster.tool.network import Namespaces

START_SECONDS = 60

API_SERVER = "kube-apiserver"
ETCD_PORT = 2379
DNS_READY_PORT = 8181


def start_component(
    layout: Layout,
    namespaces: Namespaces,
    component: str,
    command: list[str],
    *,
    environment: dict[str, str] | None = None,
) -> processes.ProcessRecord:
    """Start one component in the cluster's namespaces and cgroup, with a log of its name."""
    return processes.start(
        component,
        namespaces.inside(command),
        log=layout.logs / f"{component}.log",
        records=layout.processes,
        procs_files=cgroups.procs_files(layout.daemons_cgroup),
        environment=environment,
    )


def start_api_server(layout: Layout, namespaces: Namespaces, programs: Path) -> None:
    """Start etcd and the API server together; the API server waits for etcd by itself."""
    start_component(layout, namespaces, "etcd", [str(programs / "etcd"), *etcd_flags(layout)])
    start_component(layout, namespaces, API_SERVER, [str(programs / API_SERVER), *api_server_flags(layout)])


def wait_for_api_server(layout: Layout) -> None:
    """Wait until the API server has made its bootstrap roles: who comes earlier is refused and backs off for long."""
    records = processes.read_records(layout.processes)
    wait_until(
        lambda: answers(f"{layout.api_url}/readyz", layout),
        API_SERVER,
        "was not ready",
        log=layout.logs / f"{API_SERVER}.log",
        seconds=START_SECONDS,
        alive=lambda: records[API_SERVER].alive and records["etcd"].alive,
    )


def start_controllers(layout: Layout, namespaces: Namespaces, programs: Path) -> None:
    """Start what works on the API: controller manager, scheduler, kube-proxy and DNS."""
    proxy = layout.folder / "kube-proxy.yaml"
    proxy.write_text(yaml.safe_dump(proxy_configuration(layout)))
    corefile = layout.folder / "Corefile"
    corefile.write_text(dns_configuration(layout))
    controllers = "kube-controller-manager"
    start_component(layout, namespaces, controllers, [str(programs / controllers), *controller_manager_flags(layout)])
    start_component(layout, namespaces, "kube-scheduler", [str(programs / "kube-scheduler"), *scheduler_flags(layout)])
    start_component(layout, namespaces, "kube-proxy", [str(programs / "kube-proxy"), f"--config={proxy}"])
    start_component(layout, namespaces, "coredns", [str(programs / "coredns"), f"-conf={corefile}"])


def wait_for_dns(layout: Layout) -> None:
    """Wait until DNS has seen the Services."""
    records = processes.read_records(layout.processes)
    wait_until(
        lambda: answers(f"http://{layout.address}:{DNS_READY_PORT}/ready"),
        "coredns",
        "was not ready",
        log=layout.logs / "coredns.log",
        seconds=START_SECONDS,
        alive=lambda: records["coredns"].alive,
    )


def etcd_flags(layout: Layout) -> list[str]:
    """Flags of etcd. Its data need not survive the machine, so it does not wait for the disk."""
    url = f"https://{layout.address}:{ETCD_PORT}"
    files = layout.certificates
    return [
        f"--data-dir={layout.folder / 'etcd'}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        f"--cert-file={files / 'etcd.crt'}",
        f"--key-file={files / 'etcd.key'}",
        f"--trusted-ca-file={files / 'ca.crt'}",
        "--client-cert-auth",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def api_server_flags(layout: Layout) -> list[str]:
    """Flags of the API server: Node and RBAC authorization, aggregation, service account tokens."""
    files = layout.certificates
    return [
        f"--advertise-address={layout.address}",
        "--bind-address=0.0.0.0",
        "--secure-port=6443",
        f"--etcd-servers=https://{layout.address}:{ETCD_PORT}",
        f"--etcd-cafile={files / 'ca.crt'}",
        f"--etcd-certfile={files / 'etcd.crt'}",
        f"--etcd-keyfile={files / 'etcd.key'}",
        f"--tls-cert-file={files / 'apiserver.crt'}",
        f"--tls-private-key-file={files / 'apiserver.key'}",
        f"--client-ca-file={files / 'ca.crt'}",
        f"--kubelet-certificate-authority={files / 'ca.crt'}",
        f"--kubelet-client-certificate={files / 'apiserver-kubelet-client.crt'}",
        f"--kubelet-client-key={files / 'apiserver-kubelet-client.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--service-cluster-ip-range={layout.services}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={files / 'service-accounts.key'}",
        f"--service-account-signing-key-file={files / 'service-accounts.key'}",
        # The aggregation layer: metrics adapters and the like are reached at their pods' addresses.
        f"--requestheader-client-ca-file={files / 'ca.crt'}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={files / 'front-proxy-client.crt'}",
        f"--proxy-client-key-file={files / 'front-proxy-client.key'}",
        "--enable-aggregator-routing=true",
    ]


def controller_manager_flags(layout: Layout) -> list[str]:
    """Flags of the controller manager. A lost node is noticed after 15 s, not 50."""
    files = layout.certificates
    return [
        f"--kubeconfig={files / 'controller-manager.kubeconfig'}",
        f"--bind-address={layout.address}",
        f"--root-ca-file={files / 'ca.crt'}",
        f"--service-account-private-key-file={files / 'service-accounts.key'}",
        f"--cluster-signing-cert-file={files / 'ca.crt'}",
        f"--cluster-signing-key-file={files / 'ca.key'}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--node-monitor-period=2s",
        "--node-monitor-grace-period=15s",
    ]


def scheduler_flags(layout: Layout) -> list[str]:
    """Flags of the scheduler."""
    kubeconfig = layout.certificates / "scheduler.kubeconfig"
    return [f"--kubeconfig={kubeconfig}", f"--bind-address={layout.address}", "--leader-elect=false"]


def proxy_configuration(layout: Layout) -> dict[str, object]:
    """Configuration of kube-proxy: iptables, in the cluster's network namespace, for all of its nodes."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "hostnameOverride": layout.node(1).name,
        "clusterCIDR": str(layout.pods),
        "clientConnection": {"kubeconfig": str(layout.certificates / "proxy.kubeconfig")},
        "bindAddress": str(layout.address),
        "healthzBindAddress": f"{layout.address}:10256",
        "metricsBindAddress": f"{layout.address}:10249",
        # Limits of the machine's connection table are not a test cluster's to set.
        "conntrack": {"maxPerCore": 0, "min": 0},
        "oomScoreAdj": 0,
    }


def dns_configuration(layout: Layout) -> str:
    """CoreDNS: names of the cluster only. Everything else is refused, for there is no way out."""
    return f"""\
.:53 {{
    bind {layout.address}
    errors
    ready {layout.address}:{DNS_READY_PORT}
    cache 5
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {layout.certificates / "dns.kubeconfig"}
        pods insecure
    }}
}}
"""
