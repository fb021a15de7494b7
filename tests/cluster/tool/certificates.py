"""The certificates and kubeconfigs of one cluster: one authority, and a client certificate for each component."""

from __future__ import annotations

import base64
import datetime as dt
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.cluster.tool.layout import Layout, NodeLayout

VALID_DAYS = 365


@dataclass(frozen=True, slots=True)
class Pair:
    """The files of a certificate and its private key."""

    certificate: Path
    key: Path


class Authority:
    """Signs what a cluster needs; keeps everything in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.pair = self.pair_named("ca")
        if not self.pair.certificate.exists():
            self._make_authority()
        self._key = serialization.load_pem_private_key(self.pair.key.read_bytes(), password=None)
        self._certificate = x509.load_pem_x509_certificate(self.pair.certificate.read_bytes())

    def pair_named(self, name: str) -> Pair:
        """Where a pair is, or will be."""
        return Pair(self._folder / f"{name}.crt", self._folder / f"{name}.key")

    def _make_authority(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _subject("jobworker-test-cluster", ())
        builder = _builder(subject, subject, key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        _write_pair(self.pair, builder.sign(key, hashes.SHA256()), key)

    def issue(
        self,
        name: str,
        common_name: str,
        *,
        groups: Sequence[str] = (),
        addresses: Sequence[IPv4Address] = (),
        dns_names: Sequence[str] = (),
    ) -> Pair:
        """Make a pair that serves as client (common name and groups are its identity) and as server (its addresses)."""
        if not isinstance(self._key, ec.EllipticCurvePrivateKey):
            raise TypeError("the authority's key is made above, on an elliptic curve")
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_subject(common_name, groups), self._certificate.subject, key.public_key())
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        if addresses or dns_names:
            names: list[x509.GeneralName] = [x509.IPAddress(address) for address in addresses]
            names += [x509.DNSName(dns_name) for dns_name in dns_names]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        pair = self.pair_named(name)
        _write_pair(pair, builder.sign(self._key, hashes.SHA256()), key)
        return pair

    def issue_kubeconfig(self, file: Path, url: str, common_name: str, *, groups: Sequence[str] = ()) -> Path:
        """Make a kubeconfig that holds its certificate: one file to hand to a component or a person."""
        pair = self.issue(file.stem, common_name, groups=groups)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "cluster", "cluster": {"server": url, **_data(ca=self.pair.certificate)}}],
            "users": [{"name": common_name, "user": _data(certificate=pair.certificate, key=pair.key)}],
            "contexts": [{"name": "cluster", "context": {"cluster": "cluster", "user": common_name}}],
            "current-context": "cluster",
        }
        _write_private(file, yaml.safe_dump(config).encode())
        return file

    def make_service_account_key(self) -> Path:
        """The RSA key which signs the tokens of service accounts."""
        file = self._folder / "service-accounts.key"
        _write_private(file, _pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)))
        return file


def issue_control_plane(layout: Layout) -> Authority:
    """Everything that the control plane and its clients need, in the layout's folder."""
    authority = Authority(layout.certificates)
    services = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    authority.issue(
        "apiserver",
        "kube-apiserver",
        addresses=[layout.address, layout.services[1], IPv4Address("127.0.0.1")],
        dns_names=[*services, "localhost"],
    )
    authority.issue("apiserver-kubelet-client", "kube-apiserver-kubelet-client", groups=["system:masters"])
    authority.issue("front-proxy-client", "front-proxy-client")
    authority.issue("etcd", "etcd", addresses=[layout.address])
    authority.make_service_account_key()
    for name, identity in {
        "controller-manager": "system:kube-controller-manager",
        "scheduler": "system:kube-scheduler",
        "proxy": "system:kube-proxy",
    }.items():
        authority.issue_kubeconfig(layout.certificates / f"{name}.kubeconfig", layout.api_url, identity)
    # CoreDNS reads Services everywhere and no bootstrap role is made for it, so it is an administrator here.
    for file, identity in ((layout.certificates / "dns.kubeconfig", "dns"), (layout.kubeconfig, "admin")):
        authority.issue_kubeconfig(file, layout.api_url, identity, groups=["system:masters"])
    return authority


def issue_node(layout: Layout, node: NodeLayout) -> None:
    """The identity of a kubelet, which is its node's, and the certificate that its own server shows."""
    authority = Authority(layout.certificates)
    identity = f"system:node:{node.name}"
    authority.issue_kubeconfig(
        layout.certificates / f"{node.name}.kubeconfig", layout.api_url, identity, groups=["system:nodes"]
    )
    authority.issue(f"{node.name}-server", identity, addresses=[node.address], dns_names=[node.name])


def _subject(common_name: str, groups: Sequence[str]) -> x509.Name:
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # An hour back: virtual machines wake up with clocks that step.
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=VALID_DAYS))
    )


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _write_pair(pair: Pair, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    _write_private(pair.key, _pem(key))


def _write_private(file: Path, content: bytes) -> None:
    file.touch(mode=0o600)
    file.write_bytes(content)


def _data(**files: Path) -> dict[str, str]:
    fields = {"ca": "certificate-authority-data", "certificate": "client-certificate-data", "key": "client-key-data"}
    return {fields[what]: base64.b64encode(file.read_bytes()).decode() for what, file in files.items()}
