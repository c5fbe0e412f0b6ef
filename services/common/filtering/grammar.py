"""The filter language of AIP-160, as far as fields can answer it: comparisons, AND, OR, NOT, `-`, parentheses.

OR binds closer than AND, as AIP-160 says. A bare word without a comparator (a search over everything) and functions
are refused. Timestamps may stand without quotes.
"""

from functools import cache

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import LarkError, UnexpectedInput

from services.common.errors import InvalidArgument, Violation
from services.common.filtering.expression import (
    Comparison,
    Conjunction,
    Disjunction,
    Expression,
    Negation,
    Operator,
)

MAX_CHARACTERS = 2000
MAX_PARENTHESES = 32

_GRAMMAR = r"""
start: conjunction?
?conjunction: disjunction (_AND? disjunction)*
?disjunction: term (_OR term)*
?term: (_NOT | _MINUS) simple -> negation
     | simple
?simple: comparison | "(" conjunction ")"
comparison: WORD COMPARATOR value
value: TIMESTAMP | WORD | STRING

_AND.3: /AND(?=[\s("-])/
_OR.3: /OR(?=[\s("-])/
_NOT.3: /NOT(?=[\s("])/
_MINUS.3: "-"
COMPARATOR: "<=" | ">=" | "!=" | "=" | "<" | ">" | ":"
STRING: /"(\\.|[^"\\])*"|'(\\.|[^'\\])*'/s
TIMESTAMP.2: /\d{4}-\d\d-\d\d([Tt][0-9:.]+([Zz]|[+-]\d\d:\d\d)?)?(?![^\s()])/
WORD: /([^\s()"'=<>!:,\\.]|\.(?!"))+(\."(\\.|[^"\\])*")?/
%ignore /\s+/
"""


class _Tree(Transformer[Token, Expression]):
    @v_args(inline=True)
    def start(self, expression: Expression | None = None) -> Expression:
        return expression if expression is not None else Conjunction(expressions=())

    def conjunction(self, expressions: list[Expression]) -> Expression:
        return Conjunction(expressions=tuple(expressions))

    def disjunction(self, expressions: list[Expression]) -> Expression:
        return Disjunction(expressions=tuple(expressions))

    @v_args(inline=True)
    def negation(self, expression: Expression) -> Expression:
        return Negation(expression=expression)

    @v_args(inline=True)
    def value(self, token: Token) -> Token:
        return token

    @v_args(inline=True)
    def comparison(self, path: Token, operator: Token, value: Token) -> Expression:
        head, dot, key = path.partition('."')
        return Comparison(
            path=f"{head}.{'*'.join(_parts(key[:-1]))}" if dot else str(path),
            operator=Operator(str(operator)),
            parts=_parts(value[1:-1] if value.type == "STRING" else value),
        )


def parse_filter(text: str, *, field: str = "filter") -> Expression:
    """The tree of `text`; InvalidArgument BAD_FILTER, naming the place, if it is no filter."""
    if len(text) > MAX_CHARACTERS or text.count("(") > MAX_PARENTHESES:
        limits = f"{MAX_CHARACTERS} characters and {MAX_PARENTHESES} parentheses"
        raise bad_filter(f"Give a filter of at most {limits}.", field=field)
    if "\x00" in text:
        raise bad_filter("Give a filter without NUL.", field=field)
    try:
        return _Tree().transform(_parser().parse(text))
    except UnexpectedInput as error:
        place = f"at character {error.column}" if error.column > 0 else "at its end"
        raise bad_filter(f"The filter cannot be read {place}: give comparisons such as a = 1.", field=field) from None
    except LarkError:
        raise bad_filter("Give comparisons such as a = 1, joined by AND and OR.", field=field) from None


def bad_filter(message: str, *, field: str = "filter") -> InvalidArgument:
    """The refusal of a filter."""
    return InvalidArgument(violations=[Violation(field, "BAD_FILTER", message)])


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr")


def _parts(text: str) -> tuple[str, ...]:
    """`text` cut at its stars, without its backslashes: one before `n` or `t` means what it does elsewhere."""
    parts, letters = [""], iter(text)
    for letter in letters:
        if letter == "*":
            parts.append("")
        elif letter == "\\":
            escaped = next(letters, "\\")
            parts[-1] += {"n": "\n", "t": "\t"}.get(escaped, escaped)
        else:
            parts[-1] += letter
    return tuple(parts)
