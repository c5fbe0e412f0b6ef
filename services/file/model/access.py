"""For whom the file room acts, and what a file token opens (EXECUTION A14)."""

from dataclasses import dataclass

from services.common.errors import InvalidArgument, NotFound, ResourceExhausted, Violation
from services.common.grant import RunGrant
from services.file.model.file import File
from services.file.model.new_file import NewFile


@dataclass(frozen=True, kw_only=True)
class Access:
    """A caller: a team and, for a dispatcher, the one execution that its token is good for."""

    team_id: str
    grant: RunGrant | None = None
    request_id: str | None = None
    """Of the call, for the facts that it causes."""

    def may_see(self, file: File) -> bool:
        """Whether the token, if there is one, covers this record of the team by what stands in it."""
        if self.grant is None:
            return True
        return self.may_read(file) or self._is_output(file)

    def may_read(self, file: File) -> bool:
        """Whether the token, if there is one, names this file as an input."""
        return self.grant is None or file.id in (self.grant.input_ids or ())

    @property
    def reads_what_is_bound(self) -> bool:
        """Whether the token leaves it to the bindings which inputs it covers."""
        return self.grant is not None and self.grant.input_ids is None

    def check_new(self, new: NewFile) -> None:
        """Refuse a file that this caller may not store: another execution's output is NotFound."""
        if self.grant is None:
            if new.origin is not None:
                message = "Leave this out: only a dispatcher with a run's file token stores outputs."
                raise InvalidArgument(violations=[Violation("header.origin", "NOT_ALLOWED", message)])
            return
        if new.origin is None:
            message = "Say which output this is: a file token stores nothing else."
            raise InvalidArgument(violations=[Violation("header.origin", "REQUIRED", message)])
        if (new.origin.run_id, new.origin.attempt) != (self.grant.run_id, self.grant.attempt):
            raise NotFound("The file token does not cover this run and attempt.", reason="RUN_NOT_FOUND")
        if new.provisional:
            message = "Leave this out: an output is kept until its run's fate is known."
            raise InvalidArgument(violations=[Violation("header.provisional", "NOT_ALLOWED", message)])

    def _is_output(self, file: File) -> bool:
        grant, origin = self.grant, file.origin
        return (
            grant is not None
            and origin is not None
            and (origin.run_id, origin.attempt)
            == (
                grant.run_id,
                grant.attempt,
            )
        )


def no_such_file() -> NotFound:
    """The one answer for files that do not exist, are another team's, or are outside of the token."""
    return NotFound("There is no such file; list your team's files to see which there are.", reason="FILE_NOT_FOUND")


def output_limit() -> ResourceExhausted:
    """The attempt has stored what its token allows; waiting does not help."""
    return ResourceExhausted(
        "This attempt may store no more: the outputs of one attempt have a limit in all.", reason="OUTPUT_LIMIT"
    )
