"""Pages of the routes of teams and credentials."""

from gateway.openapi.kinds import ref
from gateway.openapi.page import IDEMPOTENCY_KEY, PAGE, json_content, page, parameter

LIST_TEAMS = page(
    "listTeams", "List teams", parameters=PAGE, answers={200: json_content(ref("TeamPage"))}, problems=[400]
)
CREATE_TEAM = page(
    "createTeam",
    "Make a team",
    parameters=[IDEMPOTENCY_KEY],
    body=json_content(ref("TeamRequest"), {"name": "art"}),
    answers={201: json_content(ref("Team"))},
    problems=[400, 409],
)
GET_TEAM = page(
    "getTeam",
    "Show a team",
    parameters=[parameter("team", "Id or name of the team.", place="path")],
    answers={200: json_content(ref("Team"))},
    problems=[404],
)
LIST_CREDENTIALS = page(
    "listCredentials",
    "List credentials",
    parameters=[*PAGE, parameter("team", "Id or name of a team. Default: the caller's own.")],
    answers={200: json_content(ref("CredentialPage"))},
    problems=[400, 404],
)
CREATE_CREDENTIAL = page(
    "createCredential",
    "Make a credential",
    parameters=[IDEMPOTENCY_KEY],
    body=json_content(ref("CredentialRequest"), {"kind": "integration", "display_name": "CI"}),
    answers={201: json_content(ref("NewCredential"))},
    problems=[400, 404, 409],
)
REVOKE = page(
    "revokeCredential",
    "Revoke a credential",
    parameters=[parameter("credential_id", "Id of the credential.", place="path")],
    answers={200: json_content(ref("Credential"))},
    problems=[404],
)
