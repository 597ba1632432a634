"""Addresses of object stores: `s3://bucket/prefix`, `gs://bucket/prefix`, `file:///folder`.

In: what a user typed. Out: the file system behind it, and a text that may be shown to anybody.
Credentials come from the environment that the AWS and Google tools use; an address that contains
some is refused, because commands end up in reports. Another S3 server than Amazon's is named by
`?endpoint_override=HOST:PORT&scheme=http` or by AWS_ENDPOINT_URL.
"""

import os
from dataclasses import dataclass, replace
from datetime import timedelta
from urllib.parse import parse_qsl, unquote, urlsplit

import pyarrow.fs as pafs

from daep_ray.errors import ConfigError

SCHEMES = ("s3", "gs", "file")
_OPTIONS = ("endpoint_override", "scheme", "region")
_CONNECT_SECONDS = 3.0
_REQUEST_SECONDS = 30.0
_ATTEMPTS = 3
_HASTY_SECONDS = 5.0  # of the one attempt that a first look takes
_AWS_REGION = "us-east-1"  # what every S3 server other than Amazon's takes


@dataclass(frozen=True)
class Address:
    """Where a store is; holds no credentials, so it may travel to workers and be shown."""

    scheme: str
    path: str  # "bucket/prefix", or an absolute folder
    endpoint: str = ""  # HOST:PORT of an S3 server; empty: Amazon's
    transport: str = "https"
    region: str = ""

    @property
    def bucket(self) -> str:
        return self.path.partition("/")[0]

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}"

    def filesystem(self, is_hasty: bool = False) -> pafs.FileSystem:
        """The file system of `path`; connects to nothing yet. A hasty one gives up soon.

        Raises:
            OSError: the region of an Amazon bucket cannot be found.
        """
        if self.scheme == "file":
            return pafs.LocalFileSystem()
        patience = _HASTY_SECONDS if is_hasty else _REQUEST_SECONDS
        if self.scheme == "gs":
            return pafs.GcsFileSystem(retry_time_limit=timedelta(seconds=patience))
        region = self.region
        if not region:
            region = _AWS_REGION if self.endpoint else pafs.resolve_s3_region(self.bucket)
        return pafs.S3FileSystem(
            region=region,
            endpoint_override=self.endpoint or None,
            scheme=self.transport,
            connect_timeout=_CONNECT_SECONDS,
            request_timeout=patience,
            retry_strategy=pafs.AwsStandardS3RetryStrategy(1 if is_hasty else _ATTEMPTS),
            allow_delayed_open=True,  # a small object is one request, and atomic
        )


def is_address(text: str) -> bool:
    """Whether a storage option names an object store rather than a folder."""
    return "://" in text


def parse(text: str) -> Address:
    """Read an address; the environment's S3 server where the address names none.

    Raises:
        ConfigError: in one sentence, which never repeats credentials.
    """
    parts = urlsplit(text)
    scheme = parts.scheme.lower()
    if scheme not in SCHEMES:
        raise ConfigError(
            f"unknown kind of storage {scheme + '://'!r}: give a folder, or an address that begins "
            f"with one of {', '.join(s + '://' for s in SCHEMES)}"
        )
    place = unquote(parts.netloc.rpartition("@")[2])
    path = (place + unquote(parts.path)).rstrip("/")
    if "@" in parts.netloc:
        raise ConfigError(
            f"the address {scheme}://{path} has credentials in it, and commands are shown in "
            "reports: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead"
        )
    found = Address(scheme, path)
    if scheme == "file" and (place or not path):
        raise ConfigError(f"{found}/ is no folder of this machine: write file:///folder")
    if scheme != "file" and not place:
        raise ConfigError(f"{found} names no bucket: write {scheme}://bucket/prefix")
    if any(part in (".", "..") for part in path.split("/")) or "//" in path:
        raise ConfigError(f"{found} has an empty, '.' or '..' part: write {scheme}://bucket/prefix")
    return _with_server(found, parts.query) if scheme == "s3" else _plain(found, parts.query)


def _plain(found: Address, query: str) -> Address:
    if query:
        raise ConfigError(f"{found} takes no options after '?': leave them out")
    return found


def _with_server(found: Address, query: str) -> Address:
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(options.keys() - set(_OPTIONS))
    if unknown:
        raise ConfigError(
            f"{found} takes {', '.join(_OPTIONS)} after '?', not {', '.join(unknown)}; credentials "
            "belong into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    named = options.get("endpoint_override") or ""
    endpoint = named or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    transport, colon, server = (endpoint or "").rpartition("://")
    transport = options.get("scheme") or (transport if colon else "https")
    if transport not in ("http", "https") or "@" in server:
        raise ConfigError(f"the S3 server of {found} must be HOST:PORT, its scheme http or https")
    region = options.get("region") or os.environ.get("AWS_REGION")
    return replace(
        found,
        endpoint=server.rstrip("/"),
        transport=transport,
        region=region or os.environ.get("AWS_DEFAULT_REGION") or "",
    )
