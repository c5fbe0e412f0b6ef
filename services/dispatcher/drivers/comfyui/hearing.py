"""What an execution makes of the frames about its prompt. Nothing here waits (A9)."""

from collections.abc import Callable

from services.dispatcher.drivers.comfyui.collecting import OutputCollector, Picture
from services.dispatcher.drivers.comfyui.failure import storable
from services.dispatcher.drivers.comfyui.frames import Frame, MessageFrame, PictureFrame, TextFrame
from services.dispatcher.drivers.comfyui.outputs import TooManyOutputs, entries_of
from services.dispatcher.drivers.comfyui.progress import ProgressTracker
from services.dispatcher.drivers.driver import Observer
from services.dispatcher.model.output import OutputPlace

_MAX_FRAMES_BYTES = 512 * 1024 * 1024
"""Pictures by frame that one execution may bring: they pass through memory."""
_MAX_PREVIEW_BYTES = 256 * 1024


class Hearing:
    """Turns frames into progress, previews and outputs of one execution."""

    def __init__(
        self,
        *,
        observer: Observer,
        tracker: ProgressTracker,
        collector: OutputCollector,
        frame_nodes: frozenset[str],
        on_end: Callable[[], None],
    ) -> None:
        self._observer = observer
        self._tracker = tracker
        self._collector = collector
        self._frame_nodes = frame_nodes
        self._on_end = on_end
        self._node = ""
        self._frames: dict[str, int] = {}
        self._frames_bytes = 0
        self._said_started = False
        self.is_about_it = False
        """Whether any frame or queue said that the prompt began."""
        self.too_many = False

    def expect(self) -> None:
        """The prompt is about to be submitted, for the first time or again."""
        self.is_about_it = False
        self._frames.clear()

    def started(self, *, said_so: bool) -> None:
        """The prompt executes."""
        self.is_about_it = True
        self._tracker.begin()
        if not self._said_started:
            self._said_started = said_so
            self._observer.started(said_so=said_so)

    def heard(self, frame: Frame, raw: str | bytes) -> None:
        """Take one frame in."""
        if isinstance(frame, MessageFrame):
            if self._observer.raw_wanted() and isinstance(raw, str):
                self._observer.said(raw.encode("utf-8", "replace"))
            self._message(frame)
        elif isinstance(frame, PictureFrame):
            self._picture(frame)
        elif isinstance(frame, TextFrame):
            self._tracker.said(frame.text)
            self._observer.progressed(self._tracker.now())

    def missed_frames(self, output_nodes: tuple[str, ...]) -> bool:
        """Whether a node whose pictures exist only as frames gave fewer than it announced, or none."""
        return any(
            self._frames.get(node, 0) < max(1, self._tracker.expected_frames(node))
            for node in self._frame_nodes
            if node in output_nodes
        )

    def _message(self, frame: MessageFrame) -> None:
        match frame.type:
            case "execution_start":
                self.started(said_so=True)
            case "execution_cached":
                nodes = frame.body.get("nodes")
                self._tracker.cached(nodes)
                if isinstance(nodes, list):
                    self._collector.cached(frozenset(node for node in nodes if isinstance(node, str)))
            case "executing" if frame.body.get("node") is None:
                if frame.prompt_id:
                    self._on_end()
                return
            case "executing":
                self._node = str(frame.body["node"])
                self.started(said_so=True)
                self._tracker.executing(frame.body["node"])
            case "progress":
                self._node = str(frame.body.get("node", ""))
                self._tracker.stepped(frame.body)
            case "progress_state":
                self._tracker.state(frame.body.get("nodes"))
            case "executed":
                self._executed(frame)
                return
            case _:
                # execution_success comes before the history; execution_error is not always the end (PROTOCOL.md §5).
                return
        self._observer.progressed(self._tracker.now())

    def _executed(self, frame: MessageFrame) -> None:
        """Outputs are brought over while the rest of the graph executes (A10)."""
        node, ui = frame.body.get("node"), frame.body.get("output")
        if not isinstance(node, str) or not isinstance(ui, dict):
            return
        try:
            self._collector.add(entries_of(node, ui))
        except TooManyOutputs:
            self.too_many = True

    def _picture(self, frame: PictureFrame) -> None:
        node = frame.node_id or self._node
        if node in self._frame_nodes:
            position = self._frames.get(node, 0)
            self._frames_bytes += len(frame.image)
            if self._frames_bytes > _MAX_FRAMES_BYTES:
                # Not counted, so that the execution ends as OUTPUT_LOST instead of with fewer pictures.
                self._tracker.stepped({"node": node, "value": 0, "max": position + 1})
                return
            self._frames[node] = position + 1
            extension = "jpg" if frame.media_type == "image/jpeg" else "png"
            place = OutputPlace(node_id=node[:256], key="images", position=position)
            name = f"{node[:128]}-{position}.{extension}"
            self._collector.add(
                [Picture(place=place, media_type=frame.media_type, content=frame.image, file_name=name)]
            )
        elif len(frame.image) <= _MAX_PREVIEW_BYTES and self._observer.preview_wanted():
            self._observer.previewed(storable(node[:256]), frame.media_type, frame.image)
