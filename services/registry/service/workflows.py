"""What one can do with workflows. Every use case takes the team that asks."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from services.common.clock import Clock
from services.common.errors import Aborted, InvalidArgument, NotFound, Violation
from services.common.filtering import Page
from services.common.parameters import OutputDefinition, Parameter
from services.registry.discovery import Discovery
from services.registry.model.fact import Occasion
from services.registry.model.reference import parse_reference
from services.registry.model.request import NewWorkflow, WorkflowChange, check_change, check_new_workflow
from services.registry.model.workflow import Workflow, WorkflowVersion
from services.registry.service.content import ContentMaker, SizedGraph
from services.registry.store import BaseMoved, VersionContent, WorkflowListings, WorkflowStore

MOST_TRIES = 5


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks."""

    team_id: str
    team_name: str = ""
    """Empty for other rooms, which make no workflows."""
    request_id: str | None = None
    """Of the call, for the log and for facts."""


class WorkflowService:
    """The use cases of RegistryService."""

    def __init__(
        self,
        *,
        store: WorkflowStore,
        listings: WorkflowListings,
        content: ContentMaker,
        clock: Clock,
        told: Callable[[], None],
    ) -> None:
        self._store = store
        self._listings = listings
        self._content = content
        self._clock = clock
        self._told = told
        """Called after a commit that may have written a fact."""

    async def create(self, caller: Caller, new: NewWorkflow) -> Workflow:
        """Store a workflow with its first version; InvalidArgument, AlreadyExists."""
        violations = list(check_new_workflow(new))
        graph = await _graph_or_violations(new.graph, violations)
        if graph is not None and not violations and new.request_id:
            replayed = await self._store.replayed(caller.team_id, new.request_id, new.hash())
            if replayed is not None:
                return replayed
        discovered = not new.parameters and not new.no_discovery
        content = await self._make(
            caller,
            graph,
            parameters=None if discovered else new.parameters,
            outputs=new.outputs,
            note=new.note,
            violations=violations,
        )
        workflow = await self._store.create(
            team_id=caller.team_id,
            team_name=caller.team_name,
            new=new,
            content=content,
            occasion=self._occasion(caller),
        )
        self._told()
        return workflow

    async def get(self, caller: Caller, reference: str, *, with_graph: bool) -> Workflow:
        """One workflow with the version meant; NotFound, InvalidArgument."""
        workflow = await self._store.find(caller.team_id, parse_reference(reference), with_graph=with_graph)
        if workflow is None:
            raise _not_found(reference)
        return workflow

    async def workflows(
        self, caller: Caller, *, page_size: int, page_token: str, filter_text: str, order_by: str
    ) -> Page[Workflow]:
        """A page of the team's workflows; InvalidArgument."""
        return await self._listings.workflows(
            caller.team_id, page_size=page_size, page_token=page_token, filter_text=filter_text, order_by=order_by
        )

    async def versions(
        self, caller: Caller, reference: str, *, page_size: int, page_token: str
    ) -> Page[WorkflowVersion]:
        """A page of one workflow's versions; NotFound, InvalidArgument."""
        workflow = await self._store.find(caller.team_id, parse_reference(reference, versioned=False))
        if workflow is None:
            raise _not_found(reference)
        return await self._listings.versions(workflow, page_size=page_size, page_token=page_token)

    async def update(self, caller: Caller, change: WorkflowChange) -> Workflow:
        """Change a workflow, adding a version if its content changes; InvalidArgument, NotFound, Aborted.

        Content equal to the newest version's adds none, so that pushing the same files again is harmless.
        """
        reference = parse_reference(change.workflow, versioned=False)
        violations = list(check_change(change))
        graph = None if change.graph is None else await _graph_or_violations(change.graph, violations)
        if violations:
            raise InvalidArgument(violations=violations)
        if change.request_id:
            replayed = await self._store.replayed(caller.team_id, change.request_id, change.hash())
            if replayed is not None:
                return replayed
        for _ in range(MOST_TRIES):
            base = await self._store.find(caller.team_id, reference, with_graph=change.changes_content)
            if base is None:
                raise _not_found(change.workflow)
            content = await self._changed_content(caller, base, change, graph) if change.changes_content else None
            try:
                workflow = await self._store.change(
                    base=base, change=change, content=content, occasion=self._occasion(caller)
                )
            except BaseMoved:  # somebody added a version meanwhile: make ours upon theirs
                continue
            self._told()
            return workflow
        raise Aborted("Others keep changing this workflow; read it and try again.", reason="VERSION_CONFLICT")

    async def delete(self, caller: Caller, reference: str) -> None:
        """Delete a workflow softly; NotFound, InvalidArgument."""
        parsed = parse_reference(reference, versioned=False)
        if not await self._store.delete(caller.team_id, parsed, occasion=self._occasion(caller)):
            raise _not_found(reference)
        self._told()

    async def discover(self, caller: Caller, graph: bytes) -> Discovery:
        """What parameters and outputs a graph has; InvalidArgument."""
        return await self._content.discover(caller.team_id, await SizedGraph.read(graph))

    async def _changed_content(
        self, caller: Caller, base: Workflow, change: WorkflowChange, graph: SizedGraph | None
    ) -> VersionContent | None:
        newest = base.version
        if graph is None:
            assert newest.graph is not None
            graph = await SizedGraph.read(newest.graph)
        parameters: tuple[Parameter, ...] | None = newest.parameters
        if change.parameters is not None:
            parameters = change.parameters
        elif newest.parameters_discovered and change.graph is not None:
            parameters = None
        content = await self._make(
            caller,
            graph,
            parameters=parameters,
            outputs=newest.outputs if change.outputs is None else change.outputs,
            note=change.note,
            violations=[],
        )
        if content.content_hash == newest.content_hash:
            return None
        kept = change.parameters is None and change.graph is None
        return replace(content, parameters_discovered=newest.parameters_discovered) if kept else content

    async def _make(
        self, caller: Caller, graph: SizedGraph | None, *, parameters: tuple[Parameter, ...] | None,
        outputs: tuple[OutputDefinition, ...], note: str, violations: list[Violation],
    ) -> VersionContent:  # fmt: skip
        """The content of a version; `violations` found before are told together with those found here."""
        if graph is None:
            raise InvalidArgument(violations=violations)
        try:
            content = await self._content.make(
                team_id=caller.team_id, graph=graph, parameters=parameters, outputs=outputs, note=note
            )
        except InvalidArgument as error:
            raise InvalidArgument(violations=[*violations, *error.violations]) from None
        if violations:
            raise InvalidArgument(violations=violations)
        return content

    def _occasion(self, caller: Caller) -> Occasion:
        return Occasion(time=self._clock.now(), request_id=caller.request_id)


async def _graph_or_violations(data: bytes, violations: list[Violation]) -> SizedGraph | None:
    try:
        return await SizedGraph.read(data)
    except InvalidArgument as error:
        violations.extend(error.violations)
        return None


def _not_found(reference: str) -> NotFound:
    return NotFound(
        "There is no such workflow or version.", reason="WORKFLOW_NOT_FOUND", metadata={"workflow": reference[:200]}
    )
