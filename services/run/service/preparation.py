"""From a request to a run that can be made durable, with all violations at once. Steps:

1. plain fields and JSON documents; 2. the workflow's version, or the inline graph; 3. values against definitions;
4. placing; 5. files: `data:` URIs stored, all bound; 6. the run.
"""

import random
from collections.abc import Sequence
from hashlib import sha256

from services.common.clock import Clock
from services.common.errors import InvalidArgument, Violation
from services.common.graph import Graph, node_classes, read_graph
from services.common.ids import Ids
from services.common.parameters import FileReferenceKind, Validated, file_reference_kind, validate_values
from services.run.model.blank import Blank, find_blanks
from services.run.model.new_run import NewRun, Policies, plain_violations
from services.run.model.prepared_run import PreparedRun
from services.run.model.workflow import WorkflowVersion, graph_bytes
from services.run.placing import Placed, PlacedFile, place
from services.run.service.aside import aside, request_bytes
from services.run.service.assembly import Draft, assemble
from services.run.service.documents import Documents
from services.run.service.ports import FileBinding, FileRecord, Files, Workflows

MAX_VIOLATIONS = 50
"""Violations travel in trailers, which are small."""


class Preparation:
    """Makes requests ready for the creating transaction."""

    def __init__(self, *, workflows: Workflows, files: Files, clock: Clock, ids: Ids, policies: Policies) -> None:
        self._workflows = workflows
        self._files = files
        self._clock = clock
        self._ids = ids
        self._policies = policies
        self._random = random.SystemRandom()

    async def draft(self, new: NewRun, *, documents: Documents, team_id: str, credential_id: str) -> Draft:
        """Steps 1 to 4. InvalidArgument only where there is no graph to go on with; NotFound, Unavailable."""
        violations = [*plain_violations(new), *documents.violations]
        version = await self._version(new, documents, team_id, violations)
        now = self._clock.now()

        def validate_and_place() -> tuple[Validated, Placed]:
            validated = validate_values(version.parameters, documents.parameters, new.parameters_text)
            placed = place(
                version.graph,
                blanks=version.blanks,
                definitions=version.parameters,
                values=validated.values,
                overrides=documents.overrides,
                random=lambda: self._random.getrandbits(64),
                moment_ms=int(now.timestamp() * 1000),
            )
            return validated, placed

        validated, placed = await aside(request_bytes(new) + len(version.graph_json), validate_and_place)
        return Draft(
            run_id=self._ids.new_id(),
            team_id=team_id,
            credential_id=credential_id,
            new=new,
            documents=documents,
            version=version,
            values=validated.values,
            placed=placed,
            violations=(*violations, *validated.violations, *placed.violations),
            now=now,
        )

    async def finish(self, draft: Draft) -> PreparedRun:
        """Steps 5 and 6; InvalidArgument with all violations, those of the files too."""
        records, file_violations = await self._bound(draft)
        if violations := _distinct([*draft.violations, *file_violations]):
            raise InvalidArgument(violations=violations[:MAX_VIOLATIONS])
        size = request_bytes(draft.new) + len(draft.version.graph_json)
        return await aside(size, lambda: assemble(draft, records, self._policies))

    async def _version(
        self, new: NewRun, documents: Documents, team_id: str, violations: list[Violation]
    ) -> WorkflowVersion:
        if new.workflow and new.graph_json is None:
            return await self._workflows.read(team_id, new.workflow)
        if new.graph_json is None:
            raise InvalidArgument(violations=violations[:MAX_VIOLATIONS])
        data = new.graph_json
        try:
            graph, graph_json, blanks = await aside(len(data), lambda: _read(data))
        except InvalidArgument as error:
            raise InvalidArgument(violations=[*violations, *error.violations][:MAX_VIOLATIONS]) from None
        has_values = documents.parameters or new.parameters_text or any(b.placeholder.is_parameter for b in blanks)
        return WorkflowVersion(
            workflow_id="",
            slug="",
            display_name="",
            number=0,
            content_hash=sha256(graph_json).hexdigest(),
            graph=graph,
            graph_json=graph_json,
            blanks=blanks,
            parameters=tuple(await self._workflows.discover(team_id, graph_json)) if has_values else (),
            output_keys={},
            node_classes=frozenset(node_classes(graph)),
        )

    async def _bound(self, draft: Draft) -> tuple[Sequence[FileRecord], Sequence[Violation]]:
        """The records of the draft's files, in their order, or what is wrong with them."""
        bindings: list[FileBinding] = []
        violations: list[Violation] = []
        for file in draft.placed.files:
            try:
                file_id = await self._file_id(draft, file)
            except InvalidArgument as error:
                message = error.violations[0].message if error.violations else error.message
                violations.append(Violation(file.field, "BAD_FILE", message))
            else:
                bindings.append(FileBinding(field=file.field, file_id=file_id, accept=file.accept))
        if not bindings:
            return (), violations
        records, refused = await self._files.bind(
            draft.team_id, run_id=draft.run_id, files=bindings, delete_at_end=draft.new.delete_inputs_at_end
        )
        return records, [*violations, *refused]

    async def _file_id(self, draft: Draft, file: PlacedFile) -> str:
        if file_reference_kind(file.reference) is FileReferenceKind.ID:
            return file.reference
        # The same for each try of the same request, so that a replay stores nothing anew.
        request = draft.new.request_id or draft.run_id
        name = f"{draft.team_id}\n{request}\n{file.field}\n{file.reference}"
        import_id = sha256(name.encode()).hexdigest()
        return await self._files.import_data(draft.team_id, uri=file.reference, request_id=import_id)


def _read(data: bytes) -> tuple[Graph, bytes, tuple[Blank, ...]]:
    graph = read_graph(data, field="graph")
    return graph, graph_bytes(graph), find_blanks(graph)


def _distinct(violations: Sequence[Violation]) -> list[Violation]:
    return list(dict.fromkeys(violations))
