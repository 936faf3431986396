from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from slipway.onebox.supervisor.history import ALIVE, Phase, Record
from slipway.onebox.supervisor.plan import Action, next_wake_s, plan
from slipway.onebox.supervisor.spec import ProcessSpec
from tests.onebox_services.specs import AlwaysReady


def spec(name: str, *after: str) -> ProcessSpec:
    return ProcessSpec(name=name, argv=(name,), probe=AlwaysReady(), after=after)


SPECS = (spec("postgres"), spec("s3"), spec("mlflow", "postgres"), spec("api"), spec("mesh", "api"))
ALL = frozenset(one.name for one in SPECS)


def records(default: Phase = Phase.STOPPED, **phases: Phase) -> dict[str, Record]:
    return {
        one.name: Record(
            one.name,
            phase=phases.get(one.name, default),
            pid=1 if phases.get(one.name, default) in ALIVE else None,
            fingerprint=one.fingerprint,
        )
        for one in SPECS
    }


def lines(wanted: frozenset[str], known: dict[str, Record], *, now_s: float = 0.0) -> list[str]:
    return [str(action) for action in plan(SPECS, wanted, known, now_s=now_s)]


def test_first_round_starts_what_depends_on_nothing() -> None:
    assert lines(ALL, records()) == ["start postgres   missing", "start s3   missing", "start api   missing"]


def test_dependent_starts_once_its_dependency_is_ready() -> None:
    known = records(postgres=Phase.STARTING, s3=Phase.READY, api=Phase.READY)
    assert lines(ALL, known) == ["start mesh   missing"]


def test_finished_task_satisfies_its_dependents() -> None:
    known = records(postgres=Phase.DONE, s3=Phase.READY, api=Phase.READY, mesh=Phase.READY)
    assert lines(ALL, known) == ["start mlflow   missing"]


def test_unwanted_dependency_is_not_waited_for() -> None:
    assert lines(frozenset({"mlflow"}), records()) == ["start mlflow   missing"]


def test_nothing_to_do_when_all_are_ready() -> None:
    assert lines(ALL, records(Phase.READY)) == []


def test_stop_goes_from_dependents_to_dependencies() -> None:
    first = lines(frozenset(), records(Phase.READY))
    assert first == ["stop mesh   not wanted", "stop mlflow   not wanted", "stop s3   not wanted"]
    second = lines(frozenset(), records(Phase.READY, mesh=Phase.STOPPED, mlflow=Phase.STOPPING, s3=Phase.STOPPING))
    assert second == ["stop api   not wanted"]


def test_stop_waits_for_dependents_behind_a_finished_task() -> None:
    specs = (spec("postgres"), ProcessSpec(name="init", argv=("init",), after=("postgres",)), spec("mlflow", "init"))
    phases = {"postgres": Phase.READY, "init": Phase.DONE, "mlflow": Phase.STOPPING}
    known = {one.name: Record(one.name, phases[one.name], fingerprint=one.fingerprint) for one in specs}
    assert [str(action) for action in plan(specs, frozenset(), known, now_s=0.0)] == []
    known["mlflow"] = Record("mlflow")
    assert [action.name for action in plan(specs, frozenset(), known, now_s=0.0)] == ["init", "postgres"]


def test_part_is_stopped_although_a_wanted_one_depends_on_it() -> None:
    assert lines(ALL - {"postgres"}, records(Phase.READY)) == ["stop postgres   not wanted"]


def test_changed_spec_replaces_what_runs() -> None:
    known = records(Phase.READY)
    known["s3"] = replace(known["s3"], fingerprint="other")
    assert lines(ALL, known) == ["stop s3   spec changed"]


def test_late_start_is_a_failure() -> None:
    known = records(Phase.READY, s3=Phase.STARTING)
    assert lines(ALL, known, now_s=59.9) == []
    assert lines(ALL, known, now_s=60.0) == ["fail s3   not ready within 60 s"]


def test_failed_process_waits_for_its_backoff_and_names_the_attempt() -> None:
    known = records(Phase.READY)
    known["s3"] = Record("s3", Phase.BACKOFF, failures=2, retry_at_s=5.0, problem="exited with code 1")
    assert lines(ALL, known, now_s=4.9) == []
    assert lines(ALL, known, now_s=5.0) == ["start s3   exited with code 1, attempt 3"]
    assert next_wake_s(SPECS, known) == 5.0


def test_crash_loop_is_left_alone() -> None:
    assert lines(ALL, records(Phase.READY, s3=Phase.CRASH_LOOP)) == []


def test_next_wake_is_none_when_only_events_matter() -> None:
    assert next_wake_s(SPECS, records(Phase.READY)) is None


@st.composite
def situations(draw: st.DrawFn) -> tuple[frozenset[str], dict[str, Record], float]:
    wanted = draw(st.frozensets(st.sampled_from(sorted(ALL))))
    phases = {one.name: draw(st.sampled_from(list(Phase))) for one in SPECS}
    return wanted, records(**phases), draw(st.floats(0, 100))


def verbs(actions: list[Action], verb: str) -> list[str]:
    return [action.name for action in actions if action.verb == verb]


@given(situations())
def test_plan_keeps_its_promises(situation: tuple[frozenset[str], dict[str, Record], float]) -> None:
    wanted, known, now_s = situation
    actions = plan(SPECS, wanted, known, now_s=now_s)
    names = [action.name for action in actions]
    assert len(names) == len(set(names))  # one step for a process at a time
    starts = set(verbs(actions, "start"))
    assert starts <= wanted
    assert all(known[name].phase in (Phase.STOPPED, Phase.BACKOFF) for name in starts)
    ready = {name for name, record in known.items() if record.phase in (Phase.READY, Phase.DONE)}
    assert all(set(one.after) & wanted <= ready for one in SPECS if one.name in starts)
    assert not {name for name in verbs(actions, "stop") if known[name].phase in (Phase.STOPPED, Phase.STOPPING)}


@given(situations())
def test_plan_reaches_rest_when_every_step_succeeds(
    situation: tuple[frozenset[str], dict[str, Record], float],
) -> None:
    wanted, known, _ = situation
    now_s = 1000.0
    for _ in range(2 * len(SPECS) + 2):
        for name, record in known.items():  # what is under way succeeds
            if record.phase is Phase.STARTING:
                known[name] = replace(record, phase=Phase.READY)
            elif record.phase is Phase.STOPPING:
                known[name] = replace(record, phase=Phase.STOPPED, pid=None)
        for action in plan(SPECS, wanted, known, now_s=now_s):
            phase = Phase.STARTING if action.verb == "start" else Phase.STOPPING
            known[action.name] = replace(known[action.name], phase=phase, started_s=now_s)
    assert plan(SPECS, wanted, known, now_s=now_s) == []
    good = {Phase.READY, Phase.DONE, Phase.CRASH_LOOP}
    assert all(known[name].phase in good for name in wanted if "crash" not in _blocked_by(name, wanted, known))
    assert all(known[name].phase is Phase.STOPPED for name in ALL - wanted)


def _blocked_by(name: str, wanted: frozenset[str], known: dict[str, Record]) -> str:
    after = next(one.after for one in SPECS if one.name == name)
    return "crash" if any(known[other].phase is Phase.CRASH_LOOP for other in after if other in wanted) else ""
