"""An image that was started wrongly reports in one line what to mount or fix, and ends with the promised code."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable

import pytest

from tests.image.engine import Mount, Ran, ran
from tests.image.setting import CONFIG, STATE, Setting

COMMANDS = [("serve",), ("plan",), ("check",)]


def refusal(result: Ran) -> str:
    """Check the form of the error line and of the hint that may follow it, and return them."""
    # The log of `serve` may come first, such as the warning of a new state.
    lines = [line for line in result.err.splitlines() if not line.startswith("{")]
    assert 1 <= len(lines) <= 2, result
    assert lines[0].startswith("pigment-sync: "), result
    assert all(line.startswith("  ") for line in lines[1:]), result
    assert "Traceback" not in result.err
    return " ".join(lines)


@pytest.mark.parametrize("command", COMMANDS)
def check_no_configuration(command: tuple[str, ...]) -> None:
    result = ran(*command)
    assert result.code == 8
    assert re.search(rf"There is no configuration {CONFIG}.*mount it there", refusal(result))


def check_configuration_that_is_a_folder(setting: Setting) -> None:
    # What Docker makes where the file to mount is not there.
    result = ran("serve", mounts=[Mount(setting.secrets, CONFIG)])
    assert result.code == 8
    assert re.search(rf"{CONFIG} is a folder, not a file.*[Mm]ount the file", refusal(result))


def check_configuration_that_our_user_may_not_read(setting: Setting) -> None:
    setting.config.chmod(0o600)
    result = ran("serve", mounts=[*setting.mounts, setting.state(10001, 0)])
    assert result.code == 8
    assert re.search(rf"{CONFIG} can't be read \(Permission denied\).*user", refusal(result))


def check_folder_of_the_configuration_that_our_user_may_not_enter(setting: Setting) -> None:
    folder = setting.folder / "closed"
    folder.mkdir(mode=0o700)
    setting.config.rename(folder / "config.yaml")
    result = ran("serve", mounts=[Mount(folder, "/etc/pigment-sync")])
    assert result.code == 8
    assert re.search(rf"{CONFIG} can't be read \(Permission denied\).*user", refusal(result))


def missing(setting: Setting) -> None:
    (setting.secrets / "entra").unlink()


def unreadable(setting: Setting) -> None:
    (setting.secrets / "entra").chmod(0o600)


@pytest.mark.parametrize("spoiled", [missing, unreadable])
def check_secret_that_is_not_there(spoiled: Callable[[Setting], None], setting: Setting) -> None:
    spoiled(setting)
    for command in ("check", "plan"):
        result = ran(command, mounts=[*setting.mounts, setting.state(10001, 0)])
        assert result.code == 8
        assert re.search(r"/run/secrets/entra can't be read \(.*\).*[Mm]ount", f"{result.out} {result.err}", re.DOTALL)
    result = ran("serve", mounts=[*setting.mounts, setting.state(10001, 0)])
    assert result.code == 8
    assert re.search(r"/run/secrets/entra can't be read \(.*\).*[Mm]ount", refusal(result))


def check_state_volume_that_is_read_only(setting: Setting) -> None:
    for command in COMMANDS:
        result = ran(*command, mounts=[*setting.mounts, setting.state(10001, 0, how="ro")])
        assert result.code == 1
        assert re.search(
            rf"{STATE}/state.db can't be written \(Read-only file system\).*Mount a writable", refusal(result)
        )


def check_no_state_volume_in_a_read_only_container(setting: Setting) -> None:
    result = ran("serve", mounts=setting.mounts, more=["--image-volume=ignore"])
    assert result.code == 1
    assert re.search(rf"{STATE}/state.db can't be written \(Read-only file system\).*Mount a writable", refusal(result))


def check_state_volume_of_another_user(setting: Setting) -> None:
    result = ran("serve", mounts=[*setting.mounts, setting.state(0, 0, 0o700)])
    assert result.code == 1
    assert re.search(
        rf"{STATE}/state.db can't be written \(Permission denied\).*Mount a writable .* owned by", refusal(result)
    )


def check_state_file_of_another_user(setting: Setting) -> None:
    volume = setting.state(10001, 0, 0o777)
    file = setting.folder / "state" / "state.db"
    file.touch(mode=0o600)
    result = ran("serve", mounts=[*setting.mounts, volume])
    assert result.code == 1
    assert re.search(rf"{STATE}/state.db can't be written \(Permission denied\).*owned by", refusal(result))


def check_port_that_is_taken(setting: Setting) -> None:
    with socket.create_server(("127.0.0.1", setting.port)):
        result = ran("serve", mounts=[*setting.mounts, setting.state(10001, 0)])
    assert result.code == 8
    assert re.search(rf"port {setting.port} of 127.0.0.1 is in use", refusal(result))


def check_command_that_does_not_exist() -> None:
    result = ran("run")
    assert result.code == 2
    assert "No such command 'run'" in result.err
