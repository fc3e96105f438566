"""The places of a report: whole files only, none overwritten, and errors that name the next step and no secret."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from agent.delivery.targets import Parcel, TargetError, _write_in_file_system, deliver_parcel
from tests.object_store import SECRET_KEY, ObjectStore, object_store

FILES = {"weekly-1.html": b"<p>one</p>", "weekly-1.csv": b"a\n"}
PARCEL = Parcel("title", "body", FILES)
OTHER = Parcel("title", "body", {"weekly-1.html": b"other"})


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with object_store("reports") as served:
        yield served


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def refusal(url: str, parcel: Parcel) -> TargetError:
    with pytest.raises(TargetError) as refused:
        await deliver_parcel(url, parcel, None)
    return refused.value


async def test_folder_keeps_the_file_that_it_has(tmp_path: Path) -> None:
    url = tmp_path.as_uri()
    await deliver_parcel(url, PARCEL, None)
    await deliver_parcel(url, PARCEL, None)
    error = await refusal(url, OTHER)

    assert error.is_final
    assert "weekly-1.html exists there with other content" in error.message
    assert contents(tmp_path) == FILES


async def test_folder_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    missing = await refusal((tmp_path / "missing").as_uri(), PARCEL)
    file = tmp_path / "file"
    file.write_bytes(b"")
    not_a_folder = await refusal(file.as_uri(), PARCEL)

    assert not missing.is_final
    assert "does not exist. Create it, or mount it." in missing.message
    assert not not_a_folder.is_final
    assert f"The folder {file} can't be written" in not_a_folder.message


async def test_object_store_keeps_the_object_that_it_has(store: ObjectStore) -> None:
    url = store.url("reports", "a/b")
    await deliver_parcel(url, PARCEL, None)
    await deliver_parcel(url, PARCEL, None)
    error = await refusal(url, OTHER)

    assert error.is_final
    assert store.objects("reports") == {f"a/b/{name}": content for name, content in FILES.items()}


async def test_object_store_that_refuses_is_named_without_its_secret(store: ObjectStore) -> None:
    error = await refusal(store.url("no-such-bucket", "x"), PARCEL)
    unknown = await refusal(f"{store.url('reports', 'x')}&frobnicate=1", PARCEL)

    assert "The bucket does not exist." in error.message
    assert "An option in the query of its URL is not known." in unknown.message
    assert SECRET_KEY not in f"{error.message}{unknown.message}"


async def test_target_of_an_unknown_scheme_is_not_tried_again() -> None:
    error = await refusal("nothing://s3cret@host", PARCEL)

    assert error.is_final
    assert "s3cret" not in error.message


def test_other_file_system_keeps_the_file_that_it_has() -> None:
    url = "memory://reports/x"
    _write_in_file_system(url, FILES)
    _write_in_file_system(url, FILES)
    with pytest.raises(TargetError, match="other content"):
        _write_in_file_system(url, OTHER.files)
    system = fsspec.filesystem("memory")

    assert {Path(path).name: system.cat_file(path) for path in system.ls("/reports/x", detail=False)} == FILES
