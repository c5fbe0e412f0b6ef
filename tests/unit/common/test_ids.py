"""Identifiers sort by time and have one form."""

from services.common.ids import is_id, new_id


def test_ids_are_uuid7_in_order() -> None:
    made = [new_id() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert all(is_id(one) and one[14] == "7" for one in made)


def test_only_the_canonical_form_is_an_id() -> None:
    assert not is_id(new_id().upper())
    assert not is_id("{" + new_id() + "}")
    assert not is_id("7")
