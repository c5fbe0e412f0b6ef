"""Makes the desired states of one stream: specs and tokens are kept here between messages (EXECUTION A14, A16)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Protocol

from services.common.json_bytes import canonical_json, parse_json
from services.run.model.desire import (
    DesiredState,
    ExecutionSpec,
    FileToken,
    HeldExecution,
    Holding,
    desired_state,
    prompt_id,
)
from services.run.model.run import RunSpec
from services.run.model.runner import Owner

MAX_EXTRA_BYTES = 16 * 1024 * 1024

Key = tuple[str, int]


class Grants(Protocol):
    """Whoever signs file tokens."""

    def sign(self, held: HeldExecution, input_ids: Collection[str]) -> FileToken:
        """A fresh token for one execution, which reads those files."""
        ...

    def is_fresh(self, token: FileToken, now: datetime) -> bool:
        """Whether it need not be renewed yet."""
        ...


class PreviewInterest(Protocol):
    """Whoever knows which previews are watched."""

    def preview_wanted(self, run_id: str) -> bool:
        """Whether somebody watches the run's previews."""
        ...


@dataclass(kw_only=True)
class _Sheet:
    """What is kept of one execution."""

    spec: ExecutionSpec
    token: FileToken


class Desk:
    """Specs and tokens of the executions that one dispatcher holds."""

    def __init__(self, *, owner: Owner, grants: Grants, interest: PreviewInterest, max_output_bytes: int) -> None:
        self._owner = owner
        self._grants = grants
        self._interest = interest
        self._max_output_bytes = max_output_bytes
        self._sheets: dict[Key, _Sheet] = {}

    def known_specs(self) -> frozenset[str]:
        """Runs whose specs need no reading."""
        return frozenset(run_id for run_id, _ in self._sheets)

    def draw_up(
        self, holding: Holding, specs: Mapping[str, RunSpec], *, listed: frozenset[Key], now: datetime
    ) -> DesiredState:
        """The next message, for a dispatcher that listed the executions `listed`; forgets what is not held."""
        sheets: dict[Key, _Sheet] = {}
        for held in holding.executions:
            sheet = self._sheets.get(held.key)
            if sheet is None:
                spec = specs.get(held.run_id) or self._spec_of_earlier(held)
                if spec is None:
                    continue
                made = spec if isinstance(spec, ExecutionSpec) else self._spec(held, spec)
                sheet = _Sheet(spec=made, token=self._sign(held, made))
            elif not self._grants.is_fresh(sheet.token, now):
                sheet.token = self._sign(held, sheet.spec)
            sheets[held.key] = sheet
        self._sheets = sheets
        return desired_state(
            holding,
            listed=listed,
            specs={key: sheet.spec for key, sheet in sheets.items()},
            token=lambda held: sheets[held.key].token,
            preview_wanted=self._interest.preview_wanted,
        )

    def _spec_of_earlier(self, held: HeldExecution) -> ExecutionSpec | None:
        """The spec of another attempt of the run, as it is for this one."""
        for (run_id, _), sheet in self._sheets.items():
            if run_id == held.run_id:
                known = sheet.spec
                return ExecutionSpec(
                    prompt_id=prompt_id(held.run_id, held.attempt),
                    graph_json=known.graph_json,
                    extra_data_json=known.extra_data_json,
                    inputs=known.inputs,
                    output_prefix=_prefix(held),
                    cache_salt=self._salt(held),
                    max_output_bytes=known.max_output_bytes,
                    warm_key=known.warm_key,
                )
        return None

    def _spec(self, held: HeldExecution, spec: RunSpec) -> ExecutionSpec:
        return ExecutionSpec(
            prompt_id=prompt_id(held.run_id, held.attempt),
            graph_json=spec.graph_json,
            extra_data_json=self._extra_data(held, spec.extra_data_json),
            inputs=spec.inputs,
            output_prefix=_prefix(held),
            cache_salt=self._salt(held),
            max_output_bytes=self._max_output_bytes,
            warm_key=spec.warm_key,
        )

    def _salt(self, held: HeldExecution) -> str:
        """Where teams can meet on a backend, no team is given another's cached file (EXECUTION A12)."""
        if self._owner.team_id == held.team_id:
            return ""
        return sha256(f"{held.run_id}/{held.attempt}".encode()).hexdigest()[:16]

    def _extra_data(self, held: HeldExecution, extra_data_json: bytes) -> bytes:
        """`extra_data` without what is embedded in files, unless the runner is the team's own (EXECUTION A12)."""
        if not extra_data_json or self._owner.team_id == held.team_id:
            return extra_data_json
        extra = parse_json(extra_data_json, max_bytes=MAX_EXTRA_BYTES)
        if not isinstance(extra, dict) or "extra_pnginfo" not in extra:
            return extra_data_json
        rest = {name: value for name, value in extra.items() if name != "extra_pnginfo"}
        return canonical_json(rest) if rest else b""

    def _sign(self, held: HeldExecution, spec: ExecutionSpec) -> FileToken:
        return self._grants.sign(held, {one.file_id for one in spec.inputs})


def _prefix(held: HeldExecution) -> str:
    """A folder of its own for each attempt: ComfyUI's save nodes list theirs at every save."""
    return f"comfyfleet/{held.run_id}-{held.attempt}"
