"""Executing one prompt: which nodes run, what is cached, and the frames that clients see meanwhile."""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from services.standin.announcer import Announcer
from services.standin.cache import ResultCache
from services.standin.call import Interrupt, NodeCall
from services.standin.calling import Received, as_result, blocker_among, merged_outputs, slices
from services.standin.catalogue import Catalogue
from services.standin.fault import failure_report
from services.standin.folders import Folders
from services.standin.knobs import KnobBoard
from services.standin.model.failure import DependencyCycle, DuplicateNode, InterruptedExecution, KnobFailure
from services.standin.model.graph import Graph, is_link, links
from services.standin.model.node import Blocker, NodeDefinition, NodeResult
from services.standin.model.prompt import Outcome, QueuedPrompt
from services.standin.model.value import JsonObject
from services.standin.progress import FrameSink, Progress
from services.standin.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What executions of one server share."""

    catalogue: Catalogue
    cache: ResultCache
    folders: Folders
    knobs: KnobBoard
    interrupt: Interrupt
    sink: FrameSink
    die: Callable[[], None]


class Execution:
    """One execution of one prompt, in the worker thread.

    1. `execution_start`, then `execution_cached`.
    2. Nodes, one step at a time, until none is left, one fails, or an interrupt takes effect.
    3. `execution_success`, unless step 2 ended early, and the outcome for the history.
    """

    def __init__(self, item: QueuedPrompt, *, workshop: Workshop, now_running: Callable[[str | None], None]) -> None:
        self._item = item
        self._shop = workshop
        self._now_running = now_running
        self._graph = Graph(item.prompt)
        self._say = Announcer(item, graph=self._graph, sink=workshop.sink)
        self._cache = workshop.cache
        self._schedule = Schedule(graph=self._graph, catalogue=workshop.catalogue, is_cached=self._is_cached)
        self._progress = Progress(
            prompt_id=item.prompt_id, client_id=self._say.client_id, graph=self._graph, sink=workshop.sink
        )
        self._executed: dict[str, None] = {}
        self._tasks: dict[str, list[Any]] = {}
        self._expansions: dict[str, list[NodeResult]] = {}
        self._failed_node = False
        self._knob_failure = workshop.knobs.count_down("fail_next_prompts") > 0

    async def run(self) -> Outcome:
        """Executes the prompt; every failure of a node is in the outcome."""
        self._shop.interrupt.clear()
        self._say.started()
        self._cache.begin(self._graph)
        known = self._cache.node_ids()
        cached = [node_id for node_id in self._item.prompt if self._is_cached(node_id)]
        self._say.cached(cached)
        for node_id in self._item.outputs:
            self._schedule.add(node_id)
        if await self._run_nodes(known):
            self._say.succeeded()
        shown = {node_id: self._cache.ui(node_id) for node_id in self._cache.node_ids()}
        found = {node_id: ui for node_id, ui in shown.items() if ui is not None}
        return Outcome(
            success=not self._failed_node,
            messages=self._say.messages,
            outputs={node_id: ui["output"] for node_id, ui in found.items()},
            meta={node_id: ui["meta"] for node_id, ui in found.items()},
        )

    async def _run_nodes(self, known: list[str]) -> bool:
        while self._schedule:
            try:
                node_id = await self._schedule.next()
            except DependencyCycle as cycle:
                blamed = str(cycle)
                report = failure_report(DependencyCycle("Dependency cycle detected"), received=None, cycle=True)
                self._say.failed(blamed, report, executed=self._executed, known=known)
                return False
            received: Received = {}
            try:
                done = await self._step(node_id, received)
            except InterruptedExecution:
                self._failed_node = True
                self._say.interrupted(self._graph.real(node_id), executed=self._executed)
                return False
            except Exception as error:
                self._failed_node = True
                report = failure_report(error, received=received)
                self._say.failed(self._graph.real(node_id), report, executed=self._executed, known=known)
                return False
            if done:
                self._schedule.done(node_id)
        return True

    async def _step(self, node_id: str, received: Received) -> bool:
        """One look at a node. True when it is done; False when it has to be looked at again."""
        if self._is_cached(node_id):
            self._announce_cached(node_id)
            return True
        node = self._graph.node(node_id)
        definition = self._shop.catalogue[node["class_type"]]
        if node_id in self._tasks:
            results = [one.result() if isinstance(one, asyncio.Task) else one for one in self._tasks.pop(node_id)]
        elif node_id in self._expansions:
            self._settle(node_id, definition, self._resolved(self._expansions.pop(node_id)))
            return True
        else:
            calls = await self._start(node_id, node, definition, received)
            if calls is None:
                return False
            if any(isinstance(one, asyncio.Task) and not one.done() for one in calls):
                self._wait_for(node_id, calls)
                return False
            results = [one.result() if isinstance(one, asyncio.Task) else one for one in calls]
        outcomes = [as_result(one) for one in results]
        self._show(node_id, outcomes)
        if any(outcome.graph is not None for outcome in outcomes):
            self._grow(node_id, outcomes)
            return False
        self._settle(node_id, definition, outcomes)
        return True

    async def _start(
        self, node_id: str, node: JsonObject, definition: NodeDefinition, received: Received
    ) -> list[Any] | None:
        """Announces a node and calls it; None when it first needs a lazy input."""
        self._progress.start(node_id)
        missing = self._collect(node_id, node, definition, received)
        if self._say.client_id is not None:
            self._now_running(self._graph.display(node_id))
            self._say.executing(node_id)
        self._obey_knobs(definition)
        if definition.check_lazy is not None and self._ask_for_lazy(node_id, definition, received, missing):
            return None
        shown = {name: values for name, values in received.items() if definition.spec(name) is not None}
        return await self._call_all(node_id, definition, shown)

    def _collect(self, node_id: str, node: JsonObject, definition: NodeDefinition, received: Received) -> set[str]:
        """Fills in what the inputs received; gives the names whose source has nothing (yet)."""
        missing = set()
        sources = {name: (source, output) for name, source, output in links(node["inputs"])}
        for name, value in node["inputs"].items():
            if name in sources:
                source, output = sources[name]
                outputs = self._cache.outputs(source)
                if outputs is None or output >= len(outputs):
                    missing.add(name)
                    received[name] = [None]
                else:
                    received[name] = outputs[int(output)]
            elif definition.spec(name) is not None:
                received[name] = [value]
        for name, kind in definition.hidden.items():
            match kind if isinstance(kind, str) else kind[0]:
                case "PROMPT":
                    received[name] = [self._item.prompt]
                case "EXTRA_PNGINFO":
                    received[name] = [self._item.extra_data.get("extra_pnginfo")]
                case "UNIQUE_ID":
                    received[name] = [node_id]
        return missing

    def _obey_knobs(self, definition: NodeDefinition) -> None:
        shop = self._shop
        shop.knobs.wait_until_execution_flows(shop.interrupt.stopped)
        if shop.knobs.now.die_at_class == definition.class_type:
            shop.die()
        if self._knob_failure or definition.class_type in shop.knobs.now.failing_classes:
            raise KnobFailure("A knob of the stand-in asked for this failure")

    def _ask_for_lazy(self, node_id: str, definition: NodeDefinition, received: Received, missing: set[str]) -> bool:
        wanted: dict[str, None] = {}
        for _, inputs in slices(definition, received):
            self._shop.interrupt.check()
            known = {name: value for name, value in inputs.items() if definition.spec(name) is not None}
            assert definition.check_lazy is not None
            wanted |= dict.fromkeys(definition.check_lazy(**known))
        needed = [name for name in wanted if name not in received or name in missing]
        for name in needed:
            self._schedule.need_input(name, by=node_id)
        return bool(needed)

    async def _call_all(self, node_id: str, definition: NodeDefinition, received: Received) -> list[Any]:
        results: list[Any] = []
        for index, inputs in slices(definition, received):
            self._shop.interrupt.check()
            blocker = blocker_among(inputs, lists=definition.input_is_list)
            if blocker is not None:
                if blocker.message is not None:
                    self._say.blocked(node_id, blocker, executed=self._executed)
                results.append(Blocker())
                continue
            call = self._call(node_id, index)
            if inspect.iscoroutinefunction(definition.run):
                task = asyncio.create_task(definition.run(call, **inputs))
                await asyncio.sleep(0)
                results.append(task)
                if task.done():
                    task.result()
            else:
                call.block(self._shop.knobs.now.node_latency)
                results.append(definition.run(call, **inputs))
        return results

    def _call(self, node_id: str, index: int) -> NodeCall:
        return NodeCall(
            node_id=node_id,
            prompt_id=self._item.prompt_id,
            index=index,
            prompt=self._item.prompt,
            extra_pnginfo=self._item.extra_data.get("extra_pnginfo"),
            state=self._cache.state(node_id),
            folders=self._shop.folders,
            knobs=self._shop.knobs,
            interrupt=self._shop.interrupt,
            progress=self._progress,
            sink=self._shop.sink,
        )

    def _wait_for(self, node_id: str, calls: list[Any]) -> None:
        self._tasks[node_id] = calls
        release = self._schedule.hold(node_id)
        waiting = asyncio.gather(*(one for one in calls if isinstance(one, asyncio.Task)), return_exceptions=True)
        waiting.add_done_callback(lambda _: release())

    def _show(self, node_id: str, outcomes: list[NodeResult]) -> None:
        """Keeps and sends the ui data of all calls, merged key by key."""
        uis = [outcome.ui for outcome in outcomes if outcome.ui is not None]
        merged = {key: [value for ui in uis for value in ui[key]] for key in uis[0]} if uis else {}
        if not merged:
            return
        meta = {
            "node_id": node_id,
            "display_node": self._graph.display(node_id),
            "parent_node": self._graph.parent(node_id),
            "real_node_id": self._graph.real(node_id),
        }
        self._cache.keep_ui(node_id, {"meta": meta, "output": merged})
        self._say.executed(node_id, merged)

    def _grow(self, node_id: str, outcomes: list[NodeResult]) -> None:
        """Puts the nodes of expansions into the graph and waits for what they are to give."""
        new: dict[str, Any] = {}
        for outcome in outcomes:
            for new_id, node in (outcome.graph or {}).items():
                if new_id in self._graph:
                    raise DuplicateNode(f"The graph has a node {new_id} already")
                self._graph.grow(new_id, node, parent=node_id)
                new[new_id] = node
        self._cache.expand(node_id, new)
        for new_id, node in new.items():
            if self._shop.catalogue[node["class_type"]].output_node:
                self._schedule.add(new_id)
        for outcome in outcomes:
            if outcome.graph is not None and isinstance(outcome.outputs, tuple):
                for value in outcome.outputs:
                    if is_link(value):
                        self._schedule.need(value[0], by=node_id)
        self._expansions[node_id] = outcomes

    def _resolved(self, outcomes: list[NodeResult]) -> list[NodeResult]:
        """The results of an expansion, with the values its nodes gave in place of links to them."""
        resolved = []
        for outcome in outcomes:
            if outcome.graph is None or not isinstance(outcome.outputs, tuple):
                resolved.append(outcome)
                continue
            values: list[Any] = []
            for value in outcome.outputs:
                values.extend((self._cache.outputs(value[0]) or [])[value[1]] if is_link(value) else [value])
            resolved.append(NodeResult(outputs=tuple(values)))
        return resolved

    def _settle(self, node_id: str, definition: NodeDefinition, outcomes: list[NodeResult]) -> None:
        self._cache.keep_outputs(node_id, merged_outputs(definition, outcomes))
        self._progress.finish(node_id)
        self._executed[node_id] = None

    def _announce_cached(self, node_id: str) -> None:
        ui = self._cache.ui(node_id)
        self._say.executed(node_id, None if ui is None else ui["output"])
        self._progress.finish(node_id)

    def _is_cached(self, node_id: str) -> bool:
        return self._cache.outputs(node_id) is not None
