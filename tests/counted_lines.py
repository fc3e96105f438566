"""Count which lines and branches of our packages run in the tests, with SlipCover.

It writes probes into the code when a module is imported, where a tracer doubles the time of each test. `scripts/test`
sets a folder that each process writes its counts to, and runs this module at the end for the report.
"""

from __future__ import annotations

import ast
import atexit
import importlib.util
import json
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from slipcover import Slipcover

__all__ = ["INHERITED", "VARIABLE", "probe_imports", "write_lines", "write_lines_at_exit"]

VARIABLE = "COUNTED_LINES"
# Of this process, from its start: a test may take it from the environment of its processes.
FOLDER = os.environ.get(VARIABLE)
INHERITED = {} if FOLDER is None else {VARIABLE: FOLDER}
PACKAGES = ("agent", "connectors", "sandbox")
REPOSITORY = Path(__file__).parent.parent
MIGRATIONS = REPOSITORY / "agent" / "store" / "migrations"
LEAST_PERCENT = 95
# SlipCover can replace code whose probes have run often; to search all functions for it costs more than the probes do.
NEVER = 1 << 30
# Newer releases of Python count by events instead.
HAS_PROBES = sys.version_info < (3, 12)
PROBE, SIGNAL = "tests.counted_lines: a probe", "tests.counted_lines: its function"
CONTENTS = "tests.counted_lines: lines and branches"
EXCLUDED = [r"assert_never\(", r"^\s*\.\.\.$"]


@cache
def _counter() -> Slipcover:
    # Of the environments that have the tests' libraries, only those of a whole run need it.
    from slipcover import Slipcover

    sources = [str(REPOSITORY / package) for package in PACKAGES]
    return Slipcover(branch=True, d_miss_threshold=NEVER, source=sources, exclude_also=EXCLUDED)


_PROBED: dict[str, CodeType] = {}


class _Loader(SourceFileLoader):
    """Keeps code with its probes in a cache of its own: to write them into all modules takes some seconds."""

    def get_data(self, path: str) -> bytes:
        return super().get_data(_own(path))

    def set_data(self, path: str, data: ReadableBuffer, *, _mode: int = 0o666) -> None:
        super().set_data(_own(path), data, _mode=_mode)

    def source_to_code(self, data: bytes, path: str, *, _optimization: int = -1) -> CodeType:  # type: ignore[override]  # the base takes more kinds of data
        from slipcover.branch import preinstrument

        code = compile(preinstrument(ast.parse(data)), path, "exec", dont_inherit=True, optimize=_optimization)
        assert isinstance(code, CodeType)
        if not HAS_PROBES:
            return code
        counter = _counter()
        marked = _without_probes(counter.instrument(code))
        lines, branches = counter.code_lines[code.co_filename], counter.code_branches[code.co_filename]
        return marked.replace(co_consts=(*marked.co_consts, (CONTENTS, tuple(lines), tuple(branches))))

    def add_contents(self) -> None:
        """Have the counter know which lines and branches the module has, from the cache where it is there."""
        match super().get_code(self.name):
            case CodeType(co_filename=file, co_consts=(*_, (str(name), lines, branches))) if name == CONTENTS:
                _counter().code_lines[file].update(lines)
                _counter().code_branches[file].update(branches)

    def get_code(self, fullname: str) -> CodeType | None:
        # Alembic loads each migration again for each state.
        probed = _PROBED.get(self.path)
        if probed is None and (code := super().get_code(fullname)) is not None:
            probed = _PROBED[self.path] = _with_probes(code) if HAS_PROBES else _counter().instrument(code)
        return probed


def _own(path: str) -> str:
    from slipcover import __version__

    return path.removesuffix(".pyc") + f"-slipcover-{__version__}-contents.pyc" if path.endswith(".pyc") else path


def _without_probes(code: CodeType) -> CodeType:
    """Return *code* with a name in place of each probe, which can't be kept in a file."""
    from slipcover import probe
    from slipcover.bytecode import Editor

    def named(constant: object) -> object:
        if isinstance(constant, CodeType):
            return _without_probes(constant)
        return SIGNAL if constant is probe.signal else constant

    constants = list(map(named, code.co_consts))
    inserted = Editor(code)
    for offset, line_or_branch in _counter().code2index[code]:
        call = inserted.get_inserted_function(offset)
        assert call is not None, f"{code.co_filename}: no probe for {line_or_branch}"
        constants[call[1]] = (PROBE, line_or_branch)
    return code.replace(co_consts=tuple(constants))


def _with_probes(code: CodeType) -> CodeType:
    from slipcover import probe

    def restored(constant: object) -> object:
        match constant:
            case CodeType():
                return _with_probes(constant)
            case (str(name), line_or_branch) if name == PROBE:
                return probe.new(_counter(), code.co_filename, line_or_branch, NEVER)
            case str() if constant == SIGNAL:
                return probe.signal
        return constant

    return code.replace(co_consts=tuple(map(restored, code.co_consts)))


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in PACKAGES:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def probe_imports() -> None:
    """Count in what this process imports from now on, if lines are counted."""
    if FOLDER is None:
        return
    sys.meta_path.insert(0, _Finder())
    find = importlib.util.spec_from_file_location

    def find_migration(name: str, location: str | Path | None = None, **more: Any) -> ModuleSpec | None:
        if location is not None and Path(location).is_relative_to(MIGRATIONS):
            more["loader"] = _Loader(name, str(location))
        return find(name, location, **more)

    # Alembic imports the migrations so.
    importlib.util.spec_from_file_location = find_migration  # type: ignore[assignment]  # it hands on what it is given


def write_lines() -> None:
    """Write what has run in this process since `write_lines_at_exit` or the last call."""
    if FOLDER is None:
        return
    counter = _counter()
    counter.newly_seen, found = defaultdict(set), counter.newly_seen
    # Copies, for threads may still add to them.
    seen = {file: list(lines.copy()) for file, lines in found.copy().items()}
    with NamedTemporaryFile("w", encoding="utf-8", dir=FOLDER, delete=False) as file:
        # As one text: `dump` would make its parts in Python.
        file.write(json.dumps(seen))
    # A process that is killed while it writes leaves nothing that is read.
    Path(file.name).rename(f"{file.name}.json")


def write_lines_at_exit() -> None:
    _counter().newly_seen.clear()
    atexit.register(write_lines)


def _report(folder: Path) -> int:
    """Print what no test ran, and return an exit code."""
    from slipcover import print_coverage

    counter = _counter()
    for path in (each for package in PACKAGES for each in (REPOSITORY / package).rglob("*.py")):
        _Loader(path.stem, str(path)).add_contents()
    for path in folder.glob("*.json"):
        for file, lines in json.loads(path.read_text("utf-8")).items():
            counter.all_seen[file].update(tuple(each) if isinstance(each, list) else each for each in lines)
    counts = counter.get_coverage()
    print_coverage(counts, skip_covered=True, missing_width=80)
    percent = counts["summary"]["percent_covered"]
    sys.stdout.write(f"coverage: {percent:.1f} % of lines and branches; {LEAST_PERCENT} % are required\n")
    return 0 if percent >= LEAST_PERCENT else 1


if __name__ == "__main__":
    sys.exit(_report(Path(sys.argv[1])))
