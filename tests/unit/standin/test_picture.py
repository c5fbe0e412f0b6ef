"""The picture that stands for a model's work."""

from services.standin.picture import Recipe, noise, paint

BAND_YELLOW = (255, 200, 0)


def recipe(**changes: object) -> Recipe:
    """A recipe with some things changed."""
    plain: dict[str, object] = {"width": 128, "height": 128, "seed": 7, "texts": ("a fox", "bad")}
    return Recipe(**{**plain, **changes})  # type: ignore[arg-type]


def test_same_recipe_same_picture() -> None:
    """Bit by bit."""
    assert paint(recipe()).tobytes() == paint(recipe()).tobytes()


def test_seed_text_and_place_in_the_batch_change_the_picture() -> None:
    """Seeds that differ beyond 53 bits too."""
    pictures = {
        paint(one).tobytes()
        for one in (
            recipe(),
            recipe(seed=8),
            recipe(texts=("a cat", "bad")),
            recipe(texts=("a foxbad", "")),
            recipe(number=1),
            recipe(seed=2**64 - 1),
            recipe(seed=2**64 - 2),
        )
    }
    assert len(pictures) == 7


def test_picture_has_its_size_and_its_mark() -> None:
    """Every size is marked."""
    for width, height in ((512, 512), (64, 64), (1024, 60), (16, 16), (8, 8)):
        picture = paint(recipe(width=width, height=height))
        assert picture.size == (width, height)
        colours = {colour for _, colour in picture.getcolors(1 << 24) or []}
        assert BAND_YELLOW in colours or (255, 255, 255) in colours


def test_noise_is_smaller_and_the_same_every_time() -> None:
    """A quarter as wide."""
    assert noise(recipe()).size == (32, 32)
    assert noise(recipe()).tobytes() == noise(recipe()).tobytes()
