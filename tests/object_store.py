"""An object store that speaks S3, as a server in a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import httpx
from botocore.config import Config

from tests.plain_http import get
from tests.waiting import wait_until

__all__ = ["ObjectStore", "object_store"]

WITHIN_SECONDS = 120
SECRET_KEY = "secret-of-the-object-store"


@dataclass(frozen=True)
class ObjectStore:
    port: int

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def url(self, bucket: str, folder: str) -> str:
        """Return the target of a report, with what the store needs in its query."""
        return (
            f"s3://{bucket}/{folder}?endpoint={self.endpoint}&region=us-east-1&access_key_id=reports"
            f"&secret_access_key={SECRET_KEY}"
        )

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="reports",
            aws_secret_access_key=SECRET_KEY,
            config=Config(retries={"max_attempts": 1}),
        )

    def objects(self, bucket: str) -> dict[str, bytes]:
        client = self.client()
        found = client.list_objects_v2(Bucket=bucket).get("Contents", [])
        return {each["Key"]: client.get_object(Bucket=bucket, Key=each["Key"])["Body"].read() for each in found}


@contextmanager
def object_store(*buckets: str) -> Iterator[ObjectStore]:
    """Yield a running store with *buckets*."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    store = ObjectStore(port)
    try:
        _wait_until_it_answers(store, process)
        for bucket in buckets:
            store.client().create_bucket(Bucket=bucket)
        yield store
    finally:
        process.terminate()
        process.wait(WITHIN_SECONDS)


def _wait_until_it_answers(store: ObjectStore, process: subprocess.Popen[bytes]) -> None:
    def answers() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"the object store ended with {process.returncode}")
        try:
            get(store.endpoint)
        except httpx.TransportError:
            return False
        return True

    wait_until(answers, "an answer of the object store")
