"""Break the agent by hand, one promise at a time: the simulation must notice (`python -m tests.simulation.mutants`).

With `--record` it writes into `seeds.json` which history finds each broken agent first.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, ModuleType

__all__ = ["MUTANTS", "SEARCHED", "Mutant", "findings", "misplaced_edits", "recorded"]

REPOSITORY = Path(__file__).parent.parent.parent
SEEDS = Path(__file__).with_name("seeds.json")
RUNS = 1000
SEARCHED = range(1, RUNS + 1)
"""Among these histories must be one that finds a broken agent."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A broken agent. *edits* are (file, text, text in its place); *caught* is the finding of the simulation.

    *has_feed*: it is broken in what it does with a change feed, and searched in the histories that have one. It sends
    *in_flight* changes of a workspace at once.
    """

    name: str
    edits: tuple[tuple[str, str, str], ...]
    caught: str
    has_feed: bool = False
    in_flight: int = 1


CHANGES, SURVEY, WRITE = "agent/apply/changes.py", "agent/engine/planner.py", "agent/scim/writer.py"
IN_FLIGHT = "agent/apply/in_flight.py"
PERMIT, CONFIRM, TARGET = "connectors/http/permit.py", "agent/engine/confirm.py", "agent/guard/target.py"
MATCH, ENTITLED, LEAVER = "agent/diff/match.py", "agent/diff/entitled.py", "agent/diff/leavers.py"
FEED_PLAN, FEED_POLL, NAMED = "agent/engine/feed_plan.py", "agent/engine/feed_poll.py", "agent/engine/named_people.py"
IS_LEFT = "is_left = look.standing is Standing.LEFT"
MUTANTS_WITHOUT_FEED = (
    Mutant(
        "writes without an intent",
        ((CHANGES, "pause = await intending", "pause = intending.close()"),),
        "a write was sent before it was in the journal",
    ),
    Mutant(
        "forgets to write the outcome",
        (
            (
                CHANGES,
                "await self._record_answer(record, _link_for(change",
                "(lambda record, link: None)(record, _link_for(change",
            ),
        ),
        "the journal differs from the run",
    ),
    Mutant(
        "forgets the link of a new member",
        ((CHANGES, "_link_for(change, scim_id) if created and scim_id else None", "None"),),
        "is not linked",
    ),
    Mutant(
        "PATCHes the email",
        (
            ("agent/apply/send.py", "if change.changes_email:", "if False:"),
            (WRITE, "wanted.email is not None or has_unseen_name", "has_unseen_name"),
            (
                WRITE,
                "return patch_payload(member, display_name=wanted.display_name, active=wanted.active)",
                "body = patch_payload(member, display_name=wanted.display_name, active=wanted.active)\n"
                "        email = {'op': 'replace', 'path': 'userName', 'value': wanted.email}\n"
                "        body['Operations'] += [email] if wanted.email else []\n"
                "        return body",
            ),
        ),
        "PATCHed",
    ),
    Mutant(
        "ignores the guards",
        ((SURVEY, "with_state_note(apply_guards(unguarded, policy, history), inputs)", "unguarded"),),
        "more deactivations than the guard allows",
    ),
    Mutant(
        "guards each run by itself, not an hour",
        (
            (
                SURVEY,
                "            recent_changes=recent,\n",
                "            recent_changes=dict.fromkeys(recent, frozenset()),\n",
            ),
        ),
        "more deactivations than the guard allows",
    ),
    Mutant(
        "takes a failed read for an empty one",
        (
            (
                SURVEY,
                "snapshots = tuple(source.result() for source in sources)",
                "from connectors.base import Snapshot\n"
                "            snapshots = tuple(Snapshot(where, 'x', (), ()) if source.exception() else source.result() "
                "for where, source in zip(policy.sources, sources))",
            ),
        ),
        "an incomplete read led to a write",
    ),
    Mutant(
        "POSTs again without looking",
        ((WRITE, "if member := await self._find_created(wanted, lost):", "if False:"),),
        "a create was sent twice without a look",
    ),
    Mutant(
        "believes an answer of 200",
        (
            (
                WRITE,
                "        if member is not None and is_persisted(member, sent, formatted):\n            return member\n",
                "        if member is not None:\n            return member\n",
            ),
        ),
        "is called done and is not",
    ),
    Mutant(
        "deactivates unmanaged members",
        (("agent/diff/unlinked.py", "builder.policy.unmanaged is UnmanagedAction.REPORT", "False"),),
        "an unlinked member was touched unasked",
    ),
    Mutant(
        "gives a leaver's account to the next with the address",
        (
            (ENTITLED, "elif key.connector == assigned.key.connector:", "elif False:"),
            (
                ENTITLED,
                "elif key.connector in builder.connectors and _is_no_longer_entitled(builder, key, other):",
                "elif True:",
            ),
        ),
        "was given to",
    ),
    Mutant(
        "gives the account to the person that a create met",
        (("agent/model/match.py", "    if member.scim_id in taken:\n", "    if False:\n"),),
        "is not linked",
    ),
    Mutant(
        "forgets creates without an answer",
        (("agent/diff/plan.py", "    resolve_unconfirmed_creates(builder)\n", ""),),
        "got 2 members",
    ),
    Mutant(
        "changes protected members",
        (
            (
                "agent/diff/builder.py",
                "return self.protected_pattern.match(normalize(member.email)) is not None",
                "return False",
            ),
        ),
        "to the protected",
    ),
    Mutant(
        "deactivates who is assigned individually",
        (
            (
                LEAVER,
                "            _hold_individual_assignment(builder, assigned, member)",
                "            builder.changes.append(deactivate_change(member, assigned.key, ChangeCode.SUSPENDED, ''))",
            ),
        ),
        "is deactivated and should not be",
    ),
    Mutant(
        "makes room too late",
        (("agent/diff/plan.py", "Kind.CREATE: 5", "Kind.CREATE: 0"),),
        "the changes were made in the order",
    ),
    Mutant(
        "applies another plan than the approved one",
        (
            ("agent/engine/approval.py", "    if unknown:\n", "    if False:\n"),
            (
                "agent/engine/approval.py",
                "    digests = {found[0] for found in fits.values()}\n",
                "    digests = {each.digest for each in fresh} if fits else set()\n",
            ),
        ),
        "another plan than the approved one was applied",
    ),
    Mutant(
        "writes in a dry run",
        (
            (
                "agent/engine/dryrun.py",
                "    results = []\n",
                "    results = []\n    from agent.apply.send import send\n"
                "    class Always:\n"
                "        def remaining_seconds(self): return 9.0\n"
                "        async def wait_until_ended(self): await __import__('asyncio').sleep(9)\n"
                "    for each, site in zip(decisions, selected.values()):\n"
                "        writer = site.reader.writer_for(Always())\n"
                "        for change in (each.plan.changes if each.plan else ()):\n"
                "            if change.kind == 'create':\n"
                "                await send(writer, change, None, set(), __import__('re').compile('(?!)'))\n",
            ),
        ),
        "a process without its lease wrote",
    ),
    Mutant(
        "sends after its lease ended",
        (
            (PERMIT, "    if left <= 0:\n        raise PermitExpired\n    return left", "    return max(left, 30.0)"),
            (PERMIT, "        if not wait.done():\n            raise PermitExpired\n", "        await wait\n"),
        ),
        "a process without its lease wrote",
    ),
    Mutant(
        "stops renewing its lease when the database is away for a moment",
        (
            (
                "agent/engine/lease.py",
                "while not await self._try_renew():\n                    await self.sleep(RETRY_SECONDS)",
                "if not await self._try_renew():\n                    return",
            ),
        ),
        "a run ended for a database that was away shortly",
    ),
    Mutant(
        "takes one empty answer for an empty group",
        (
            ("agent/guard/source_guards.py", "    yield from _group_emptied_guard(changes, history)\n", ""),
            (
                CONFIRM,
                "emptied = {connector for connector, _ in newly_empty_groups(inputs.snapshots, sightings, now)}",
                "emptied = set[str]()",
            ),
        ),
        "is deactivated and should not be",
    ),
    Mutant(
        "takes a known workspace under another key for a new one",
        (
            (
                TARGET,
                '    if other:\n        cause = f"The state knows {now}',
                '    if False:\n        cause = f"The state knows {now}',
            ),
        ),
        "under a key that is not known to be its own",
    ),
    Mutant(
        "takes another scim_url for the same workspace",
        (
            (TARGET, "    if own is not None and own.fingerprint != now:", "    if False:"),
            (
                TARGET,
                '    if other:\n        cause = f"The state knows {now}',
                '    if False:\n        cause = f"The state knows {now}',
            ),
        ),
        "under a key that is not known to be its own",
    ),
    Mutant(
        "takes another tenant for the same",
        ((TARGET, "    for each in found.moved_tenants:\n", "    for each in ():\n"),),
        "is deactivated and should not be",
    ),
    Mutant(
        "deactivates a human who got another id",
        ((LEAVER, "    if newcomer is None:\n", "    if True:\n"),),
        "is deactivated and should not be",
    ),
    Mutant(
        "forgets what an undo put back",
        (
            (
                "agent/guard/guards.py",
                "found = repeats_of_undone(plan, changes) if plan.undone_changes else {}",
                "found = {}",
            ),
        ),
        "an undone change was made again",
    ),
    Mutant(
        "forgets what an undo put back at the first of two approvals",
        (
            (
                "agent/engine/sync.py",
                'log.info("approval.recorded", workspace=plan.workspace, missing=approval.missing_guards)',
                "await self.planner.state.update_memory(each.lease, (), plan.possible_renames, {}, ())",
            ),
        ),
        "an undone change was made again",
    ),
    Mutant(
        "does not see a pause while it writes",
        ((CHANGES, "respects_pause=self.respects_pause", "respects_pause=False"),),
        "a paused workspace was written to",
    ),
    Mutant(
        "applies a plan however old it is",
        (
            (
                "agent/engine/freshness.py",
                "applied = await self._apply_once(decision, self.is_outdated, is_same_listing=True)",
                "applied = await self._apply_once(decision, lambda _: False, is_same_listing=True)",
            ),
        ),
        "a plan was applied that is too old",
    ),
    Mutant(
        "fights another tool over a member",
        (
            (
                "agent/guard/guards.py",
                "(*_undone_guard(plan, changes), *_contested_guard(changes, history))",
                "_undone_guard(plan, changes)",
            ),
        ),
        "was deactivated a third time",
    ),
    Mutant(
        "forgets what it wrote when another writer undoes it",
        (
            (
                "agent/model/run.py",
                "if record.change.kind is not Kind.ADOPT and record.outcome in MAY_BE_MADE",
                "if record.outcome is Outcome.FAILED",
            ),
        ),
        "another writer's change was not named",
    ),
    Mutant(
        "takes what another agent did for an edit by hand",
        (
            (
                "agent/diff/drift.py",
                "is_called_for = expected.call_for(Difference.CREATED, member)",
                "is_called_for = False",
            ),
        ),
        "another writer's change was not named",
    ),
    Mutant(
        "guards each workspace by itself",
        ((SURVEY, "await asyncio.to_thread(apply_fleet_guard, plans, fleet)", "()"),),
        "more deactivations than the guard of all workspaces allows",
    ),
    Mutant(
        "deactivates those it can't find any more at once, however long the grace",
        ((LEAVER, "elif link.missed_reads + 1 < builder.policy.grace_reads:", "elif False:"),),
        "is deactivated within the grace",
    ),
    Mutant(
        "believes a list that leaves people out",
        (
            (
                "connectors/base.py",
                "return bool(self.groups) and self.status in {Status.ACTIVE, Status.UNKNOWN}",
                "return False",
            ),
        ),
        "is deactivated and should not be",
    ),
    Mutant(
        "changes a member in sync again",
        (
            (
                ENTITLED,
                "elif is_spelled_alike(assigned.person, member):",
                "elif is_spelled_alike(assigned.person, member) and builder.is_protected(member):",
            ),
            (
                MATCH,
                "if same_email and named_alike and member.active:",
                "if same_email and named_alike and member.active and builder.is_protected(member):",
            ),
        ),
        "there is still to do",
    ),
)
FEED_MUTANTS = (
    Mutant(
        "trusts the event",
        ((FEED_PLAN, IS_LEFT, "is_left = True"),),
        "is deactivated and should not be",
        has_feed=True,
    ),
    Mutant(
        "believes one look where replicas lag",
        ((FEED_PLAN, "        if not doubted:\n", "        if True:\n"),),
        "is deactivated and should not be",
        has_feed=True,
    ),
    Mutant(
        "believes an absence without a witness",
        ((FEED_PLAN, IS_LEFT, "is_left = look.standing is not Standing.ENTITLED"),),
        "is deactivated and should not be",
        has_feed=True,
    ),
    Mutant(
        "believes the feed of another tenant",
        ((FEED_PLAN, "return connector in self.feeds and is_same_tenant", "return connector in self.feeds"),),
        "is deactivated and should not be",
        has_feed=True,
    ),
    Mutant(
        "lets a feed decide during a grace and over several sources",
        (
            (
                FEED_PLAN,
                "if policy.grace_reads > 1 or {source.connector for source in policy.sources} != {connector}:",
                "if False:",
            ),
        ),
        "a feed decided what is left to a run over everyone",
        has_feed=True,
    ),
    Mutant(
        "keeps the cursor before the people whom it passed",
        (
            (
                FEED_POLL,
                "        await self.state.record_poll(lease, following,",
                "        await self.state.record_poll(lease, following, [], [])\n"
                "        await self.state.record_poll(lease, following,",
            ),
        ),
        "a cursor was kept before the people whom it passed",
        has_feed=True,
    ),
    Mutant(
        "starts no run over everyone when the feed lost its place",
        ((FEED_POLL, "        if lost:\n", "        if False:\n"),),
        "neither out nor held by name",
        has_feed=True,
    ),
    Mutant(
        "forgets people whom it leaves to a run over everyone",
        ((NAMED, "            left.append(named)\n", "            ended.append(named)\n"),),
        "neither out nor held by name",
        has_feed=True,
    ),
    Mutant(
        "does not take up named people before the writes",
        (
            (
                "agent/engine/sync.py",
                "            decision = await taken_up.before_writes(decision)\n",
                "            pass\n",
            ),
        ),
        "a leaver was brought back",
        has_feed=True,
    ),
    Mutant(
        "goes on with the changes of who left since the read",
        ((NAMED, "dropped = done.union(overtaken, doubtful, blocked)", "dropped = done"),),
        "a leaver was brought back",
        has_feed=True,
    ),
    Mutant(
        "does not guard what a feed asks for",
        ((FEED_PLAN, "plan = apply_guards(unguarded, policy, history)", "plan = unguarded"),),
        "more deactivations than the guard allows",
        has_feed=True,
    ),
    Mutant(
        "counts no deactivation before a feed's",
        (
            (
                FEED_PLAN,
                "recent[GuardCode.MAX_DEACTIVATIONS] |= going",
                "recent[GuardCode.MAX_DEACTIVATIONS] = going",
            ),
        ),
        "more deactivations than the guard allows",
        has_feed=True,
    ),
    Mutant(
        "counts the feed's deactivations of each workspace by itself",
        ((FEED_PLAN, "pending = {**self.pending.members, name: going}", "pending = {name: going}"),),
        "more deactivations than the guard of all workspaces allows",
        has_feed=True,
    ),
    Mutant(
        "reactivates by a feed",
        (
            (
                "agent/diff/feed_plan.py",
                "            in_sync += 1\n",
                "            import dataclasses\n"
                "            from agent.model import Fields, Kind\n"
                "            made = deactivate_change(member, person, ChangeCode.SUSPENDED, '')\n"
                "            back = {'before': Fields(active=False), 'after': Fields(active=True)}\n"
                "            changes.append(dataclasses.replace(made, kind=Kind.REACTIVATE, **back))\n",
            ),
        ),
        "a feed run did something else than deactivate",
        has_feed=True,
    ),
)
IN_FLIGHT_MUTANTS = (
    Mutant(
        "sends changes of one address at once",
        ((IN_FLIGHT, "return all(keys.isdisjoint(each) for each in self._keys.values())", "return True"),),
        "two changes of one address were under way at once",
        in_flight=8,
    ),
    Mutant(
        "begins a phase before the one before it has ended",
        ((CHANGES, "await in_flight.wait_until_empty()", "pass"),),
        "a phase began before the one before it had ended",
        in_flight=4,
    ),
    Mutant(
        "loses the outcome of the second in flight",
        (
            (
                CHANGES,
                "        in_flight.release()\n",
                "        if len(in_flight._sending) == 2:\n            return record\n        in_flight.release()\n",
            ),
        ),
        "the journal differs from the run",
        in_flight=4,
    ),
    Mutant(
        "leaves changes in flight behind",
        (
            (
                IN_FLIGHT,
                "    async def _wait_until_ended(self) -> None:\n",
                "    async def _wait_until_ended(self) -> None:\n        return\n",
            ),
        ),
        "the journal differs from the run",
        in_flight=8,
    ),
    Mutant(
        "sends before its intents are on record",
        (
            (
                CHANGES,
                "            pause = await intending\n",
                "            pause = None\n            __import__('asyncio').ensure_future(intending)\n"
                "            await __import__('asyncio').sleep(0)\n            await __import__('asyncio').sleep(0)\n",
            ),
        ),
        "a write was sent before it was in the journal",
        in_flight=8,
    ),
)
MUTANTS = (*MUTANTS_WITHOUT_FEED, *IN_FLIGHT_MUTANTS, *FEED_MUTANTS)


def misplaced_edits() -> list[str]:
    """Return the edits whose text does not stand exactly once in its file, so that their agent can't be broken."""
    return [
        f"{mutant.name}: {file} does not hold once: {old}"
        for mutant in MUTANTS
        for file, old, _ in mutant.edits
        if (REPOSITORY / file).read_text("utf-8").count(old) != 1
    ]


class _Edited(SourceFileLoader):
    """Loads a module of ours with the edits of a mutant, and leaves no bytecode of it."""

    def __init__(self, name: str, path: str, mutant: Mutant) -> None:
        super().__init__(name, path)
        self._mutant = mutant

    def get_code(self, fullname: str) -> CodeType | None:  # noqa: ARG002  (what is loaded is in the path)
        text = Path(self.path).read_text("utf-8")
        for file, old, new in self._mutant.edits:
            if self.path == str(REPOSITORY / file):
                assert text.count(old) == 1, f"{self._mutant.name}: {file} does not hold once: {old}"
                text = text.replace(old, new)
        code = compile(text, self.path, "exec", dont_inherit=True)
        assert isinstance(code, CodeType)
        return code


class _Finder(MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self._files = {str(REPOSITORY / file) for file, _, _ in mutant.edits}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin not in self._files:
            return None
        spec.loader = _Edited(fullname, spec.origin, self._mutant)
        self._files.remove(spec.origin)
        return spec

    def is_edited(self, module: ModuleType) -> bool:
        return getattr(module, "__file__", None) in self._files

    def check_loaded(self) -> None:
        """Raise if an edit is in a file that no history uses, or that was imported before it could be edited."""
        assert not self._files, f"{self._mutant.name}: not loaded: {sorted(self._files)}"


def findings(mutant: Mutant, seeds: Sequence[int], until: str | None = None) -> Counter[str]:
    """Live through histories of *mutant*; return what they found, without names, and how often.

    The first that finds *until* is the last.
    """
    return Counter(found for _, found in _found(mutant, seeds, until))


def _found(mutant: Mutant, seeds: Sequence[int], until: str | None = None) -> list[tuple[int, str]]:
    """Return the seeds of histories that break, each with what broke."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.simulation.libraries"])
    results, result = context.Pipe(duplex=False)
    process = context.Process(target=_search, args=(mutant, seeds, until, result))
    process.start()
    result.close()
    try:
        found: list[tuple[int, str]] = results.recv()
    finally:
        process.join()
    return found


def _search(mutant: Mutant, seeds: Sequence[int], until: str | None, result: Connection) -> None:
    """Break the agent in this process, and send what the histories of *seeds* find."""
    finder = _Finder(mutant)
    ours = [name for name in sys.modules if name.partition(".")[0] in {"agent", "connectors", "sandbox"}]
    if any(finder.is_edited(sys.modules[name]) for name in ours):
        for name in ours:
            del sys.modules[name]
    sys.meta_path.insert(0, finder)
    import structlog

    from tests.simulation.run import survive

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    found = []
    for seed in seeds:
        found += [
            (seed, _finding(line)) for line in survive((seed,), has_feed=mutant.has_feed, in_flight=mutant.in_flight)[1]
        ]
        if until is not None and any(until in words for _, words in found):
            break
    # Only now: what writes is imported by the first run that does.
    finder.check_loaded()
    result.send(found)


def recorded() -> dict[str, int]:
    """Return, by the mutant's name, the seed of a history that found it when `--record` was last run."""
    seeds: dict[str, int] = json.loads(SEEDS.read_text("utf-8"))
    return seeds


def _record() -> Iterator[str]:
    """Look for each mutant from seed 1, and keep where it was found."""
    seeds = {}
    for mutant in MUTANTS:
        found = [seed for seed, words in _found(mutant, SEARCHED, mutant.caught) if mutant.caught in words]
        if found:
            seeds[mutant.name] = found[0]
        yield f"{mutant.name}: {found[0] if found else f'not found in {RUNS:,} histories'}"
    SEEDS.write_text(f"{json.dumps(seeds, indent=2)}\n", "utf-8")


def _finding(line: str) -> str:
    found = line.partition(": ")[2].removeprefix("Broken: ")
    return re.sub(r"PersonKey\(.*?\)", "a person", re.sub(r"Change\(.*\)", "a change", found))


def main(arguments: list[str]) -> Iterator[str]:
    if arguments == ["--record"]:
        yield from _record()
        return
    for mutant in MUTANTS:
        if not arguments or any(word in mutant.name for word in arguments):
            found = findings(mutant, range(1, 401))
            yield f"{mutant.name}: {sum(found.values())} of 400; {found.most_common(4)}"


if __name__ == "__main__":
    for line in main(sys.argv[1:]):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
