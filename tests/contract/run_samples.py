"""Runs that are ready to be made, for the suites of the run room's stores."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlmodel import Session

from services.common.ids import new_id
from services.run.model.assignment import Assignment
from services.run.model.output import RunOutput
from services.run.model.prepared_run import PreparedRun
from services.run.model.requirements import Requirements
from services.run.model.run import Run, RunSpec, TagMatch
from services.run.model.state import RunState

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
TEAM = "team-a"
REQUIREMENTS = Requirements(runtime="comfyui", node_classes=frozenset({"SaveImage"}))


class NoRunners:
    """A fleet without runners."""

    def assign_new_run(self, session: Session, run: Run, *, now: datetime) -> Assignment | None:
        return None

    def any_runner_could_serve(self, requirements: Requirements, *, team_id: str) -> bool:
        return False


def sample_run(**values: Any) -> Run:
    """A run that waits since `NOW`."""
    run = Run(
        id=new_id(),
        team_id=TEAM,
        credential_id="credential",
        workflow_id=None,
        workflow_version=0,
        workflow_slug="",
        request_id="",
        state=RunState.QUEUED,
        sequence=1,
        attempt=0,
        blamed_attempts=0,
        max_attempts=3,
        retry_on_lost=True,
        class_id=REQUIREMENTS.class_id,
        priority=0,
        timeout=timedelta(hours=1),
        create_time=NOW,
        change_time=NOW,
        queued_at=NOW,
        queue_deadline=None,
        dispatched_at=None,
        started_at=None,
        finished_at=None,
        expire_time=None,
        cancel_requested_at=None,
        runner_id=None,
        error=None,
        claimed_until=None,
        display_name="",
        labels={},
        metadata_json=b"",
        client_ref="",
        group_name="",
        origin="test",
        runtime="comfyui",
        tags=(),
        tag_match=TagMatch.ALL,
        delete_inputs_at_end=False,
        public_url="",
        input_file_ids=(),
    )
    return replace(run, **values)


def prepared(*, request_hash: bytes | None = None, refuse_duplicate: bool = False, **values: Any) -> PreparedRun:
    """A run as `create_run` takes it."""
    run = sample_run(**values)
    spec = RunSpec(
        run_id=run.id,
        graph_json=b'{"1":{"class_type":"SaveImage","inputs":{"seed":18446744073709551615}}}',
        parameters_json=b"{}",
        overrides_json=b"{}",
        extra_data_json=b"",
        inputs=(),
        output_keys={"1": "picture"},
        warm_key="warm",
    )
    return PreparedRun(
        run=run,
        spec=spec,
        requirements=REQUIREMENTS,
        request_hash=request_hash,
        require_runner=False,
        refuse_duplicate=refuse_duplicate,
    )


def output(ordinal: int) -> RunOutput:
    """An output of the first attempt."""
    return RunOutput(
        ordinal=ordinal,
        name=f"a-{ordinal}.png",
        node_id="9",
        key="images",
        position=ordinal,
        file_id=new_id(),
        sha256="00" * 32,
        size_bytes=3,
        media_type="image/png",
        file_name="a.png",
        kind="output",
        cached=False,
        attempt=1,
    )
