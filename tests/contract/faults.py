"""What every adapter does when a call fails, told once; each role fills in its writes and looks.

A role derives a test class from `WriteFaults`, `LookFaults` or both:

    class TestFaults(WriteFaults[Erp], LookFaults[Erp]):
        ACTS = ACTS  # each write of the port, how to come before it and how to see what it did
        SIGN_INS = {"token_based": Rejected, "client_credentials": None}

        async def looks(self, scene: Scene[Erp]) -> tuple[Look, ...]:
            return (lambda: scene.adapter.find_client(KEY),)

Its module has a fixture `scene`, as all suites of the role do. What a role or a vendor does in its
own way is a method here that the role overrides.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic

import pytest
from pydantic import JsonValue

from adapters.errors import AdapterError, OutcomeUnknown, Transient, UndoRefused
from simulators.kit import FaultKind
from tests.contract.suite import (
    IMPATIENT_SECONDS,
    READ_FAULTS,
    SLOW_SECONDS,
    WITH_EFFECT,
    WRITE_FAULTS,
    Act,
    C,
    Scene,
)
from tests.support.embedded_settings import KINDS

Look = Callable[[], Awaitable[object]]
"""A read of the port; it asks the scene for its adapter when it is called."""


@dataclass(frozen=True)
class Failure:
    """One way in which a write fails."""

    kind: FaultKind
    options: Mapping[str, JsonValue] = field(default_factory=dict)
    """What the simulator is told of it beside its kind."""
    name: str = ""

    def __str__(self) -> str:
        return self.name or self.kind


class WriteFaults(ABC, Generic[C]):
    """Every act of a port under every failure."""

    ACTS: ClassVar[tuple[Act[Any], ...]]
    FAILURES: ClassVar[tuple[Failure, ...]] = tuple(Failure(kind) for kind in WRITE_FAULTS)
    SIGN_INS: ClassVar[Mapping[str, type[AdapterError] | None]]
    """By kind of sign-in ("" is the usual one): what a void session raises; None: it is renewed."""
    ONE_WRITE: ClassVar[bool] = False
    """Whether reads are told by their method, so that an act's one write can be counted."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Give each test the acts, failures and sign-ins of the role."""
        for name, given in (
            ("failure", self.FAILURES),
            ("sign_in", tuple(self.SIGN_INS)),
            ("act", self.ACTS),
        ):
            if name in metafunc.fixturenames:
                ids = [getattr(each, "name", "") or str(each) or "usual" for each in given]
                metafunc.parametrize(name, given, ids=ids)

    # What a role may do in its own way.

    def expected(self, scene: Scene[C], act: Act[C], kind: FaultKind) -> type[AdapterError]:
        """Return what the act raises under a fault."""
        del scene
        return UndoRefused if kind is FaultKind.REJECT and act.undo else WRITE_FAULTS[kind]

    async def again(self, scene: Scene[C], act: Act[C]) -> None:
        """Do the act once more, as its caller does."""
        await act.perform(scene)

    async def state(self, scene: Scene[C]) -> list[tuple[str, str, str]]:
        """Return what stands, in comparable form."""
        return await scene.state()

    async def impatient(self, scene: Scene[C]) -> C:
        """Return an adapter that does not wait for long."""
        return await scene.another(seconds=IMPATIENT_SECONDS)

    # The table.

    async def test_each_write_takes_no_more_calls_than_it_needs(
        self, scene: Scene[C], act: Act[C]
    ) -> None:
        await act.prepare(scene)
        scene.adapter = await scene.another()  # it knows nothing from before
        await scene.calls()

        await act.perform(scene)

        calls = await scene.calls()
        assert len(calls) == act.calls, calls
        if self.ONE_WRITE:
            assert sum(method != "GET" for method, _ in calls) == 1

    async def test_a_failed_write_says_what_it_left_and_can_be_repeated(
        self, scene: Scene[C], act: Act[C], failure: Failure
    ) -> None:
        await act.prepare(scene)
        stood = await act.landed(scene)
        fault = await self._arm(scene, act, failure.kind, **failure.options)

        with pytest.raises(AdapterError) as caught:
            await act.perform(scene)

        assert isinstance(caught.value, self.expected(scene, act, failure.kind))
        await scene.control.wait_for_fault(scene.vendor, scene.name, fault)
        assert (await act.landed(scene) is not stood) is (failure.kind in WITH_EFFECT)

        await self.again(scene, act)
        repeated = await self.state(scene)
        assert await act.landed(scene) is not stood
        await self.again(scene, act)
        assert await self.state(scene) == repeated

    async def test_an_answer_that_comes_too_late_leaves_the_outcome_unknown(
        self, scene: Scene[C], act: Act[C]
    ) -> None:
        await act.prepare(scene)
        stood = await act.landed(scene)
        patient = scene.adapter
        scene.adapter = await self.impatient(scene)
        fault = await self._arm(scene, act, FaultKind.HOLD)

        with pytest.raises(OutcomeUnknown):
            await act.perform(scene)

        scene.adapter = patient
        await scene.control.wait_for_fault(scene.vendor, scene.name, fault)
        await scene.control.clear_faults(scene.vendor, scene.name)
        await self.again(scene, act)
        settled = await self.state(scene)
        assert await act.landed(scene) is not stood
        await self.again(scene, act)
        assert await self.state(scene) == settled

    async def test_a_void_session_is_renewed_once_or_refused_without_effect(
        self, scene: Scene[C], act: Act[C], sign_in: str
    ) -> None:
        if sign_in and (scene.vendor, sign_in) not in KINDS:
            pytest.skip("not a way to sign in to this vendor")
        await act.prepare(scene)
        stood = await act.landed(scene)
        scene.adapter = await scene.another(kind=sign_in)
        await act.landed(scene)  # signs in
        await self._arm(scene, act, FaultKind.EXPIRE_AUTH)

        refused = self.SIGN_INS[sign_in]
        if refused is None:
            await act.perform(scene)
        else:
            with pytest.raises(refused):
                await act.perform(scene)

        assert (await act.landed(scene) is not stood) is (refused is None)

    async def _arm(
        self, scene: Scene[C], act: Act[C], kind: FaultKind, **options: JsonValue
    ) -> str:
        match = dict(act.match)
        return await scene.control.add_fault(scene.vendor, scene.name, match, kind, **options)


class LookFaults(ABC, Generic[C]):
    """Every look of a port under every failure."""

    @abstractmethod
    async def looks(self, scene: Scene[C]) -> tuple[Look, ...]:
        """Return every look of the port, at something that is there."""

    @pytest.mark.parametrize("kind", READ_FAULTS)
    async def test_a_failed_look_is_tried_again_or_parks(
        self, scene: Scene[C], kind: FaultKind
    ) -> None:
        for look in await self.looks(scene):
            seen = await look()
            await scene.fault(kind)
            with pytest.raises(READ_FAULTS[kind]):
                await look()
            assert await look() == seen

    async def test_a_look_that_takes_too_long_is_tried_again(self, scene: Scene[C]) -> None:
        look, *_ = await self.looks(scene)
        await look()
        scene.adapter = await scene.another(seconds=IMPATIENT_SECONDS)
        await scene.fault(FaultKind.SLOW, seconds=SLOW_SECONDS)

        with pytest.raises(Transient):
            await look()
