"""The picture that stands for what a model would have painted.

It depends on nothing but its recipe (size, seed, texts), and nobody can take it for a model's work: it says so.
"""

import hashlib
import random
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont, ImageOps

LABEL = "STAND-IN"
SMALLEST_LABELLED_SIDE = 48


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a picture is made of. `number` tells the pictures of one batch apart."""

    width: int
    height: int
    seed: int
    texts: tuple[str, ...]
    number: int = 0

    def digest(self) -> bytes:
        """32 bytes that any change of the recipe changes."""
        parts = (str(self.seed), str(self.number), *self.texts)
        joined = b"".join(len(part.encode()).to_bytes(8, "big") + part.encode() for part in parts)
        return hashlib.sha256(joined).digest()


def paint(recipe: Recipe) -> Image.Image:
    """The picture of a recipe."""
    chance = random.Random(recipe.digest())  # noqa: S311 - the picture has to be the same every time
    size = (recipe.width, recipe.height)
    slope = Image.linear_gradient("L").rotate(90 * chance.randrange(4)).resize(size)
    picture = ImageOps.colorize(slope, _colour(chance, 0, 110), _colour(chance, 90, 230))
    brush = ImageDraw.Draw(picture, "RGBA")
    for _ in range(14):
        reach = max(4, int(min(size) * chance.uniform(0.05, 0.35)))
        left, top = chance.randrange(-reach, size[0]), chance.randrange(-reach, size[1])
        box = (left, top, left + reach, top + max(4, int(reach * chance.uniform(0.4, 1.0))))
        paint_with = (*_colour(chance, 0, 255), chance.randrange(60, 190))
        if chance.random() < 0.5:
            brush.ellipse(box, fill=paint_with)
        else:
            brush.rectangle(box, fill=paint_with)
    _mark(picture, recipe)
    return picture


def noise(recipe: Recipe) -> Image.Image:
    """The noise that sampling seems to start from, a quarter as wide."""
    width, height = max(1, recipe.width // 4), max(1, recipe.height // 4)
    chance = random.Random(recipe.digest())  # noqa: S311 - the same noise every time
    grain = chance.randbytes(width * height * 3)
    return Image.frombytes("RGB", (width, height), grain)


def _colour(chance: random.Random, low: int, high: int) -> tuple[int, int, int]:
    return (chance.randint(low, high), chance.randint(low, high), chance.randint(low, high))


def _mark(picture: Image.Image, recipe: Recipe) -> None:
    """A band along the lower edge that says what this is; hatching where there is no room for words."""
    width, height = picture.size
    brush = ImageDraw.Draw(picture)
    if min(width, height) < SMALLEST_LABELLED_SIDE:
        brush.line((0, 0, width, height), fill=(255, 255, 255))
        brush.line((0, height, width, 0), fill=(255, 255, 255))
        return
    letters = max(10, min(width // 14, height // 6, 40))
    band = letters * 2 if height >= 128 else letters + 4
    brush.rectangle((0, height - band, width, height), fill=(20, 20, 20))
    brush.line((0, height - band, width, height - band), fill=(255, 200, 0), width=max(1, letters // 8))
    font = ImageFont.load_default(letters)
    brush.text((4, height - band + 1), LABEL, font=font, fill=(255, 200, 0))
    if band == letters * 2:
        about = f"seed {recipe.seed}  {' / '.join(text for text in recipe.texts if text)}"
        printable = "".join(letter if letter.isprintable() else " " for letter in about)[:160]
        small = ImageFont.load_default(max(8, letters // 2))
        brush.text((4, height - band + letters + 3), printable, font=small, fill=(230, 230, 230))
