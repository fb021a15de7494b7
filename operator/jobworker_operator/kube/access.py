"""Where the API server is and how it knows us: in-cluster, or by KUBECONFIG.

The official client's loaders do the reading (contexts, exec plugins, certificates, rotating service account
tokens); what they found is handed out as one value that our client and kopf share.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import dataclass, field
from typing import Any

from kubernetes.aio import config as loaders
from kubernetes.aio.client import Configuration

_REFRESH_SECONDS = 60.0


class NoAccess(Exception):
    """Neither a service account nor a usable kubeconfig was found. The message says what was looked for."""


@dataclass(slots=True)
class Access:
    """A server and the credentials for it."""

    server: str
    ca_file: str | None
    cert_file: str | None
    key_file: str | None
    verify: bool
    configuration: Any
    loader: Any = None
    _refresher: asyncio.Task[None] | None = field(default=None, repr=False)

    async def authorization(self) -> str | None:
        """The Authorization header as it is now; a service account's token is read anew each minute."""
        header: str | None = await self.configuration.get_api_key_with_prefix("BearerToken")
        # Service account tokens come with the scheme in small letters and the file's own line end.
        return header.strip() if header else None

    def ssl_context(self) -> ssl.SSLContext | bool:
        """TLS as the configuration asks for it; True where the server speaks plain HTTP."""
        if not self.server.startswith("https"):
            return True
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.cert_file:
            context.load_cert_chain(self.cert_file, keyfile=self.key_file)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        # Kubernetes' own CA and many home-made ones lack an authority key identifier, which Python 3.13 insists on.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context

    def keep_fresh(self) -> None:
        """Run an exec plugin again before its token ends. Call it once, inside the event loop."""
        if self.loader is not None and self._refresher is None:
            refreshing = loaders.refresh_token(self.loader, self.configuration, interval=_REFRESH_SECONDS)  # type: ignore[no-untyped-call]
            self._refresher = asyncio.create_task(refreshing, name="token refresh")

    async def close(self) -> None:
        """Stop what `keep_fresh` began."""
        if self._refresher is not None:
            self._refresher.cancel()
            await asyncio.gather(self._refresher, return_exceptions=True)


async def load_access() -> Access:
    """Find the API server: KUBECONFIG if it is set, else the pod's service account, else ~/.kube/config.

    Raises:
        NoAccess: nothing usable was found.
    """
    configuration = Configuration()
    loader = None
    try:
        if "KUBECONFIG" not in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ:
            # Our own configuration object, so that no process-wide default is written.
            loaders.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            loader = await loaders.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=os.environ.get("KUBECONFIG"), client_configuration=configuration, persist_config=False
            )
    except (loaders.ConfigException, OSError) as error:
        raise NoAccess(
            f"no way to reach a Kubernetes API server: {error}; run in a pod with a service account, or set KUBECONFIG"
        ) from error
    return Access(
        server=str(configuration.host).rstrip("/"),
        ca_file=configuration.ssl_ca_cert,
        cert_file=configuration.cert_file,
        key_file=configuration.key_file,
        verify=bool(configuration.verify_ssl),
        configuration=configuration,
        loader=loader,
    )
