"""The run that a good request makes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.common.errors import Violation
from services.common.json_bytes import JsonValue, canonical_json
from services.run.model.new_run import NewRun, Policies
from services.run.model.prepared_run import PreparedRun
from services.run.model.requirements import Requirements
from services.run.model.run import Run, RunInput, RunSpec
from services.run.model.state import RunState
from services.run.model.workflow import WorkflowVersion, graph_bytes
from services.run.placing import Placed, with_file_ids
from services.run.service.documents import Documents
from services.run.service.ports import FileRecord
from services.run.service.request_hash import request_hash


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A request whose values are placed; its files are not looked at yet."""

    run_id: str
    team_id: str
    credential_id: str
    new: NewRun
    documents: Documents
    version: WorkflowVersion
    values: Mapping[str, JsonValue]
    """Validated values by parameter key, without defaults."""
    placed: Placed
    violations: tuple[Violation, ...]
    now: datetime


def assemble(draft: Draft, records: Sequence[FileRecord], policies: Policies) -> PreparedRun:
    """The run of a draft without violations; `records` are those of its placed files, in their order."""
    new = draft.new
    requirements = Requirements(
        runtime=new.runtime,
        tags=frozenset(new.tags),
        tag_match=new.tag_match,
        node_classes=draft.version.node_classes,
    )
    return PreparedRun(
        run=_run(draft, requirements, records, policies),
        spec=_spec(draft, records),
        requirements=requirements,
        request_hash=request_hash(new, draft.documents) if new.request_id else None,
        require_runner=new.require_runner,
        refuse_duplicate=new.refuse_duplicate,
    )


def _run(draft: Draft, requirements: Requirements, records: Sequence[FileRecord], policies: Policies) -> Run:
    new, version, now = draft.new, draft.version, draft.now
    queue_ttl = None if new.queue_ttl_unlimited else new.queue_ttl or policies.queue_ttl
    return Run(
        id=draft.run_id,
        team_id=draft.team_id,
        credential_id=draft.credential_id,
        workflow_id=version.workflow_id or None,
        workflow_version=version.number,
        workflow_slug=version.slug,
        request_id=new.request_id,
        state=RunState.QUEUED,
        sequence=1,
        attempt=0,
        blamed_attempts=0,
        max_attempts=new.max_attempts or policies.max_attempts,
        retry_on_lost=new.retry_on_lost,
        class_id=requirements.class_id,
        priority=new.priority,
        timeout=new.timeout or policies.timeout,
        create_time=now,
        change_time=now,
        queued_at=now,
        queue_deadline=now + queue_ttl if queue_ttl else None,
        dispatched_at=None,
        started_at=None,
        finished_at=None,
        expire_time=None,
        cancel_requested_at=None,
        runner_id=None,
        error=None,
        claimed_until=None,
        display_name=new.display_name or version.display_name,
        labels=new.labels,
        metadata_json=canonical_json(draft.documents.metadata) if draft.documents.metadata else b"",
        client_ref=new.client_ref,
        group_name=new.group_name,
        origin=new.origin,
        runtime=new.runtime,
        tags=new.tags,
        tag_match=new.tag_match,
        delete_inputs_at_end=new.delete_inputs_at_end,
        public_url=new.public_url,
        input_file_ids=tuple(dict.fromkeys(record.id for record in records)),
    )


def _spec(draft: Draft, records: Sequence[FileRecord]) -> RunSpec:
    placed, documents = draft.placed, draft.documents
    ids = {file.reference: record.id for file, record in zip(placed.files, records, strict=True)}
    if any(reference != file_id for reference, file_id in ids.items()):
        graph_json = graph_bytes(with_file_ids(placed, [record.id for record in records]))
    else:
        graph_json = graph_bytes(placed.graph) if placed.changed else draft.version.graph_json
    return RunSpec(
        run_id=draft.run_id,
        graph_json=graph_json,
        parameters_json=canonical_json(_with_ids(dict(draft.values), ids)),
        overrides_json=canonical_json(_with_ids(documents.overrides, ids)),
        extra_data_json=canonical_json(documents.extra_data) if documents.extra_data else b"",
        inputs=tuple(
            RunInput(
                node_id=file.node_id,
                path=file.path,
                file_id=record.id,
                sha256=record.sha256,
                size_bytes=record.size_bytes,
                file_name=record.file_name,
                position=file.position,
            )
            for file, record in zip(placed.files, records, strict=True)
        ),
        output_keys=draft.version.output_keys,
        warm_key=draft.version.content_hash,
    )


def _with_ids(value: JsonValue, ids: Mapping[str, str]) -> JsonValue:
    """`value` with file ids in the places of the references that were stored: `data:` URIs are not kept."""
    if isinstance(value, str):
        return ids.get(value, value)
    if isinstance(value, list):
        return [_with_ids(item, ids) for item in value]
    if isinstance(value, dict):
        return {key: _with_ids(item, ids) for key, item in value.items()}
    return value
