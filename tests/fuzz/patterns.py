"""DNS patterns and HTTP expressions against names and requests, beside a slow oracle of our own."""

from collections.abc import Iterator

from policies import dnsnames, requests
from policies.dnsnames import DnsPattern
from policies.requests import HeaderMatch, HttpRule, KafkaRule, Part
from tests.fuzz import corpora, expressions, names
from tests.policies import generating
from tests.policies.generating import Generator

_LETTERS = "ab.*-_A.*a"
_TEXT = "abAB.-_/0 \n*é"
_HEADERS = ("X-A", "x-a", "X-B")
_VALUES = ("1", "2", "", requests.REDACTED)
_KEYS = ("produce", "fetch", "Heartbeat", "34", "")


def one(data: bytes) -> None:
    """Try one pattern, expression or rule."""
    generator = generating.out_of(data[1:])
    match data[:1]:
        case b"\0":
            _dns(generator)
        case b"\1":
            _http(generator)
        case b"\2":
            _kafka(generator)
        case b"\3":
            _headers(generator)
        case _:
            _anything(data[1:])


def _dns(generator: Generator) -> None:
    pattern = _word(generator, _LETTERS, 10)
    name = _word(generator, _LETTERS if generator.maybe() else "ab.-_A", 12)
    assert dnsnames.is_name(pattern) is names.is_name(pattern)
    assert dnsnames.is_pattern(pattern) is names.is_pattern(pattern)
    if names.is_pattern(pattern):
        made = DnsPattern(dnsnames.canonical(pattern))
        assert made.matches(name) is names.matches(pattern, name), (pattern, name)
        if name and not name.endswith("."):
            assert made.matches(f"{name.upper()}.") is made.matches(name)
        assert str(made) == dnsnames.canonical(pattern)


def _http(generator: Generator) -> None:
    made = [expressions.make(generator) for _ in range(3)]
    texts = [expressions.written(node) for node in made]
    assert all(requests.compiles(text) for text in texts)
    given = [_word(generator, _TEXT, 8) for _ in range(3)]
    method, path, host = (
        not text or expressions.matches(node, word)
        for node, text, word in zip(made, texts, given, strict=True)
    )
    rule = HttpRule(method=texts[0], path=texts[1], host=texts[2])
    missed = rule.missed(method=given[0], path=given[1], host=given[2], headers=())
    wanted = {Part.METHOD: method, Part.PATH: path, Part.HOST: host}
    assert {part: part not in missed for part in wanted} == wanted, (texts, given)
    assert str(rule)


def _headers(generator: Generator) -> None:
    given = tuple(
        (generator.one(_HEADERS), generator.one(_VALUES)) for _ in range(generator.below(3))
    )
    wanted = tuple(
        HeaderMatch(
            name=generator.one(_HEADERS),
            value=generator.one((None, *_VALUES)),
            secret=generator.maybe(),
        )
        for _ in range(generator.below(3))
    )
    rule = HttpRule(headers=wanted)
    missed = set(rule.missed(method="", path="", host="", headers=given))
    assert missed == names.missed_headers(wanted, given)
    assert rule.matches(method="", path="", host="", headers=given) is not missed or not missed
    assert str(rule)


def _kafka(generator: Generator) -> None:
    rule = KafkaRule(
        keys=tuple(generator.one(_KEYS[:3]).lower() for _ in range(generator.below(2))),
        version=generator.one((None, 0, 1)),
        topic=generator.one(("", "a", "b")),
        client=generator.one(("", "c")),
        called=generator.one(("", "produce")),
    )
    key, version, topic = generator.one(_KEYS), generator.below(2), generator.one(("", "a", "b"))
    missed = rule.missed(key=key, version=version, topic=topic)
    assert (Part.KEY in missed) is (bool(rule.keys) and key.lower() not in rule.keys)
    assert (Part.VERSION in missed) is (rule.version not in (None, version))
    assert (Part.CLIENT in missed) is bool(rule.client)
    assert Part.TOPIC not in missed or (rule.topic and topic != rule.topic)
    if key in ("produce", "fetch", "34"):
        assert (Part.TOPIC in missed) is (bool(rule.topic) and topic != rule.topic)
    assert str(rule)
    assert str(requests.L7Rules(path="p", kafka=(rule,)))


def _anything(data: bytes) -> None:
    """Whatever people write as an expression, a pattern or a name ends well."""
    before, _, after = data.partition(b"\n")
    expression, word = before.decode(errors="replace"), after.decode(errors="surrogateescape")
    HttpRule(path=expression).missed(method="", path=word, host="", headers=())
    requests.compiles(before.decode(errors="surrogateescape"))
    if dnsnames.is_pattern(expression):
        assert names.matches(expression, word) is DnsPattern(
            dnsnames.canonical(expression)
        ).matches(word)
    for rules in (
        requests.L7Rules(
            path="p", http=(HttpRule(path=expression, headers=(HeaderMatch(name=word),)),)
        ),
        requests.L7Rules(path="p", dns=(DnsPattern(expression),)),
        requests.L7Rules(path="p", server_names=(word,)),
        requests.L7Rules(path="p", unevaluated="listener"),
    ):
        assert str(rules)


def _word(generator: Generator, letters: str, most: int) -> str:
    return "".join(generator.one(letters) for _ in range(generator.below(most + 1)))


def seeds() -> Iterator[bytes]:
    """Rows of choices for each kind, and expressions as people write them."""
    for kind in range(4):
        for choices in corpora.choices(kind, count=50, length=60):
            yield bytes([kind]) + choices
    for text in ("/a/.*\n/a/b", "GET|PUT\nGET", "(?i)x[^y]+\nXz", "*.example.com\nwww.example.com"):
        yield b"\4" + text.encode()
