"""Which runners may serve which runs."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from services.run.model.requirements import Offer, Requirements
from services.run.model.run import TagMatch

WANTED = Requirements(runtime="comfyui", node_classes=frozenset({"LoadImage", "SaveImage"}))
OFFERED = Offer(
    runner_id="r",
    team_id=None,
    runtime="comfyui",
    tags=frozenset({"big"}),
    node_classes=frozenset({"LoadImage", "SaveImage", "KSampler"}),
)


def test_a_runner_with_everything_is_taken() -> None:
    assert OFFERED.meets(WANTED)


def test_another_runtime_is_refused() -> None:
    assert not OFFERED.meets(replace(WANTED, runtime="nerfstudio"))


def test_a_missing_node_class_is_refused_and_an_unknown_catalogue_is_not() -> None:
    needs_more = replace(WANTED, node_classes=frozenset({"Rare"}))
    assert not OFFERED.meets(needs_more)
    assert replace(OFFERED, node_classes=None).meets(needs_more)


def test_what_a_runner_turned_out_to_lack_counts() -> None:
    assert not replace(OFFERED, missing=frozenset({"SaveImage"})).meets(WANTED)


def test_a_runner_that_refused_the_graph_is_not_asked_again() -> None:
    assert not OFFERED.meets(replace(WANTED, refused_by=frozenset({"r"})))


def test_all_tags_are_needed() -> None:
    assert OFFERED.meets(replace(WANTED, tags=frozenset({"big"})))
    assert not OFFERED.meets(replace(WANTED, tags=frozenset({"big", "eu"})))


def test_an_untagged_runner_serves_those_who_admit_it() -> None:
    untagged = replace(OFFERED, tags=frozenset())
    tagged = replace(WANTED, tags=frozenset({"eu"}))
    assert not untagged.meets(tagged)
    assert untagged.meets(replace(tagged, tag_match=TagMatch.ALL_OR_UNTAGGED))
    assert not OFFERED.meets(replace(tagged, tag_match=TagMatch.ALL_OR_UNTAGGED))


def test_a_teams_runner_serves_its_team() -> None:
    assert OFFERED.serves("anybody")
    own = replace(OFFERED, team_id="a")
    assert own.serves("a")
    assert not own.serves("b")


_names = st.frozensets(st.text(max_size=5), max_size=4)


@given(tags=_names, classes=_names, refused=_names)
def test_a_class_is_its_requirements(tags: frozenset[str], classes: frozenset[str], refused: frozenset[str]) -> None:
    made = Requirements(runtime="comfyui", tags=tags, node_classes=classes, refused_by=refused)
    assert Requirements.from_json(made.to_json()) == made
    assert made.class_id == Requirements.from_json(made.to_json()).class_id
    assert made.class_id != replace(made, runtime="other").class_id
