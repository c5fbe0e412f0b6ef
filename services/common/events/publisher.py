"""Facts to JetStream, many at once: all are sent before an answer is waited for, and one inbox takes the answers.

The client library's own `publish` costs a request, with a task and a time-out, for each.
"""

import asyncio
import json
from collections.abc import Sequence

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import Header
from nats.js.errors import APIError, NoStreamResponseError

from services.common.outbox_event import OutboxEvent
from services.common.rpc.metadata import REQUEST_ID

ACK_SECONDS = 5.0


class Publisher:
    """The sending end of one connection."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._inbox = client.new_inbox()
        self._sent = 0
        self._answers: dict[str, asyncio.Future[Exception | None]] = {}
        self.js: JetStreamContext = client.jetstream()
        """JetStream of this connection."""

    async def listen(self) -> None:
        """Take answers; to be called once, before anything is published."""
        await self._client.subscribe(f"{self._inbox}.*", cb=self._answered)

    async def publish(self, events: Sequence[OutboxEvent]) -> list[Exception | None]:
        """Publish, and wait until the stream has answered for each.

        None: it is stored. Else why not: NoStreamResponseError, APIError as the stream refused it, or TimeoutError
        after ACK_SECONDS. Error if the connection cannot take them.
        """
        answers: dict[str, asyncio.Future[Exception | None]] = {}
        loop = asyncio.get_running_loop()
        try:
            for event in events:
                self._sent += 1
                reply = f"{self._inbox}.{self._sent}"
                self._answers[reply] = answers[reply] = loop.create_future()
                headers = {Header.MSG_ID.value: event.id}
                if event.request_id:
                    headers[REQUEST_ID] = event.request_id
                await self._client.publish(event.subject, event.body, reply=reply, headers=headers)
            await asyncio.wait(answers.values(), timeout=ACK_SECONDS)
            return [_outcome(answer) for answer in answers.values()]
        finally:
            for reply in answers:
                self._answers.pop(reply, None)

    async def _answered(self, message: Msg) -> None:
        answer = self._answers.pop(message.subject, None)
        if answer is not None and not answer.done():  # else it comes too late
            answer.set_result(_refusal(message))


def _refusal(message: Msg) -> Exception | None:
    if message.headers and message.headers.get(Header.STATUS) == "503":
        return NoStreamResponseError()
    error = json.loads(message.data).get("error")
    if error is None:
        return None
    try:
        APIError.from_error(error)  # the class that belongs to its code is raised
    except APIError as refusal:
        return refusal
    return APIError()


def _outcome(answer: "asyncio.Future[Exception | None]") -> Exception | None:
    return answer.result() if answer.done() else TimeoutError("The stream did not answer.")
