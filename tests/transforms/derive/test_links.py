import hashlib
import time

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.catalog import without_later_arguments
from configs.fingerprint import fingerprint, state_fingerprint
from configs.loader import load, loads, shipped
from transforms.catalog import CATALOG
from transforms.derive import derive, links
from transforms.derive.address import EmailDomain
from transforms.derive.disguise import RestoreText
from transforms.derive.links import (
    CountLinks,
    CountShorteners,
    LinkDomain,
    is_shortener,
    registrable_domain,
)
from transforms.text.tables import SHORTENERS, shorteners


def apply(operation, *texts):
    batch = pa.RecordBatch.from_pydict({"t": pa.array(texts, pa.string())})
    return operation.apply(batch).to_pylist()


READINGS = pytest.mark.parametrize("reading", [1, 2])


@READINGS
@pytest.mark.parametrize(
    ("text", "links", "domain"),
    [
        ("no link", 0, None),
        ("http://a.example.com/x", 1, "example.com"),
        ("HTTPS://A.Example.COM", 1, "example.com"),
        ("see www.example.co.uk.", 1, "example.co.uk"),
        ("http://www.example.com", 1, "example.com"),
        ("http://awww.example.com", 1, "example.com"),
        ("xwww.example.com", 0, None),
        ("http://one.example, http://two.example", 2, "one.example"),
        ("http://one.example,http://two.example", 2, "one.example"),
        ("(http://one.example)", 1, "one.example"),
        ("http://one.example\u3002com", 1, "example.com"),
        ("https://google.com@evil.example/", 1, "evil.example"),
        ("https://a@b@evil.example:8080?x", 1, "evil.example"),
        ("https://good.example\\@evil.example", 1, "good.example"),
        ("http://192.0.2.7:80/x", 1, "192.0.2.7"),
        ("http://[2001:DB8::1]:80/x", 1, "[2001:db8::1]"),
        ("http://3221225985/", 1, "192.0.2.1"),
        ("http://someone.github.io/x", 1, "someone.github.io"),
        ("http://com/", 1, "com"),
        ("http://localhost", 1, "localhost"),
        ("http:///nothing", 1, "nothing"),
        ("http://...", 1, None),
        ("http://" + "a" * 300 + ".example", 1, None),
        ("http://b\u00fccher.example", 1, "b\u00fccher.example"),
        ("http://xn--bcher-kva.example", 1, "b\u00fccher.example"),
        ("http://xn--\u00fc.example", 1, None),
        ("http://\u98df\u72ee.\u516c\u53f8.cn/x", 1, "\u98df\u72ee.\u516c\u53f8.cn"),
        ("http://www.xn--85x722f.xn--55qx5d.cn", 1, "\u98df\u72ee.\u516c\u53f8.cn"),
        ("", 0, None),
        (None, None, None),
    ],
)
def test_links(text, links, domain, reading):
    assert apply(CountLinks("t", reading), text) == [links]
    assert apply(LinkDomain("t", reading), text) == [domain]


@given(st.text())
def test_any_host_has_a_domain_that_is_text_or_none(host):
    domain = registrable_domain(host)
    assert domain is None or (domain and domain.encode())


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=30))
def test_any_punycode(label):
    domain = registrable_domain(f"xn--{label}.example")
    assert domain is None or (domain and domain.encode())


# What the WHATWG URL standard takes for the host: written by hand, from its rules.
@READINGS
@pytest.mark.parametrize(
    ("text", "domain"),
    [
        # percent-encoded
        ("http://www.bank.example%2eevil.com/", "evil.com"),
        ("http://www.bank.example%2Eevil.com", "evil.com"),
        ("http://ex%61mple.com/", "example.com"),
        ("http://%65%78%61%6d%70%6c%65.com", "example.com"),
        ("http://b%C3%BCcher.example", "b\u00fccher.example"),
        ("http://bank.example%2f.evil.com/", None),
        ("http://bank.example%00.evil.com/", None),
        ("http://bank.example%zz.evil.com/", None),
        ("http://good.com%40evil.com/", None),
        # slashes
        ("http:///evil.com/ and http://good.com/", "evil.com"),
        ("http:/evil.com/", "evil.com"),
        ("http:\\\\evil.com\\@good.com", "evil.com"),
        ("http:/\\evil.com/@good.com", "evil.com"),
        ("https:////evil.com", "evil.com"),
        ("http://evil.com\\.good.com", "evil.com"),
        ("http://evil.com?.good.com", "evil.com"),
        ("http://evil.com#@good.com", "evil.com"),
        # users and ports
        ("http://good.com:80@evil.com/", "evil.com"),
        ("http://good.com:x@y:z@evil.com:8080/", "evil.com"),
        ("http://good.com'@evil.com", "evil.com"),
        ("http://good.com,x@evil.com", "evil.com"),
        ("http://good.com!@evil.com", "evil.com"),
        ("http://\uff0fgood.com\uff0f@evil.com", "evil.com"),
        ("http://@evil.com", "evil.com"),
        ("http://evil.com:", "evil.com"),
        # characters that a name may have, and that a text may not cut at
        ("http://one!two.evil.com", "evil.com"),
        ("http://a_b.evil.com", "evil.com"),
        ("http://a~b.evil.com", "evil.com"),
        # dots
        ("http://example.com./", "example.com"),
        ("http://www.example.com.", "example.com"),
        ("http://www\uff0eexample\uff61com", "example.com"),
        ("http://www.good.com\u3002evil.com", "evil.com"),
        ("http://\uff25\uff38\uff21\uff2d\uff30\uff2c\uff25.com", "example.com"),
        # what nobody sees
        *((f"http://exam{one}ple.com/", "example.com") for one in "\u00ad\u200b\u2060\ufeff\ufe0f"),
        # one name, two spellings
        ("http://fa\u00df.de/", "fa\u00df.de"),
        ("http://xn--fa-hia.de/", "fa\u00df.de"),
        ("http://FA\u1e9e.de/", "fa\u00df.de"),
        ("http://fass.de/", "fass.de"),
        ("http://\u03bc\u03ac\u03b8\u03bf\u03c2.gr", "\u03bc\u03ac\u03b8\u03bf\u03c2.gr"),
        ("http://xn--hxaykop.gr", "\u03bc\u03ac\u03b8\u03bf\u03c2.gr"),
        ("http://XN--BCHER-KVA.example", "b\u00fccher.example"),
        ("http://bu\u0308cher.example", "b\u00fccher.example"),
        # IPv4 in any form, and what only looks like it
        ("http://192.168.1.1/", "192.168.1.1"),
        ("http://0300.0250.1.1/", "192.168.1.1"),
        ("http://3232235777/", "192.168.1.1"),
        ("http://0xc0a80101/", "192.168.1.1"),
        ("http://0XC0.0xa8.257/", "192.168.1.1"),
        ("http://192.168.257", "192.168.1.1"),
        ("http://192.168.1.1./", "192.168.1.1"),
        ("http://\uff11\uff19\uff12.168.1.1", "192.168.1.1"),
        ("http://%31%39%32.168.1.1", "192.168.1.1"),
        ("http://1.2.3.4.5/", None),
        ("http://256.256.256.256/", None),
        ("http://4294967296/", None),
        ("http://09.1.1.1/", None),
        ("http://evil.1", None),
        ("http://1.2.3.4.evil.com", "evil.com"),
        # IPv6
        ("http://[2001:DB8:0:0::1]:80/x", "[2001:db8::1]"),
        ("http://[2001:db8::0001]/", "[2001:db8::1]"),
        ("http://[::ffff:192.168.1.1]/", "[::ffff:c0a8:101]"),
        ("(http://[::1]).", "[::1]"),
        ("http://[::1].evil.com/", None),
        ("http://[::1%25eth0]/", None),
        ("http://[::g]/", None),
        ("http://[::1", None),
        # no host at all: the next link counts
        ("http://a%00b/ then http://evil.com/", "evil.com"),
        ("http://a..b", "a..b"),
        ("https://\u00ad/ www.evil.com", "evil.com"),
        # what a text puts around a link
        ("(see http://evil.com)", "evil.com"),
        ("\u300chttp://evil.com\u300d", "evil.com"),
        ("http://evil.com\uff0c", "evil.com"),
        ("<http://evil.com>", "evil.com"),
        ('"http://evil.com"', "evil.com"),
        ("http://evil.com\u2026", "evil.com"),
        ("http://evil.com;http://good.com", "evil.com"),
        ("http://evil.com,www.good.com", "evil.com"),
        ("http://evil.com\t.good.com", "evil.com"),
        # letters that are an s or a k where case does not count are none in a scheme
        ("http\u017f://good.com/ http://evil.com/", "evil.com"),
        ("HTTP\u017f:good.com HTTPS://EVIL.com/", "evil.com"),
        ("http://a%00b,http\u017f://good.com,http://evil.com", "evil.com"),
    ],
)
def test_the_host_is_what_a_browser_opens(text, domain, reading):
    assert apply(LinkDomain("t", reading), text) == [domain]
    assert apply(CountLinks("t", reading), text)[0] >= 1


@pytest.mark.parametrize(
    ("text", "links", "domain"),
    [
        ("http:evil.com", 1, "evil.com"),
        ("HTTPS:evil.com/x", 1, "evil.com"),
        ("(https:evil.com).", 1, "evil.com"),
        ("http:/evil.com", 1, "evil.com"),
        ("http:\\\\evil.com", 1, "evil.com"),
        ("http:evil.com:8080/", 1, "evil.com"),
        ("http:evil%2ecom", 1, "evil.com"),
        ("http:\u0444\u043e\u0442\u043e.\u0440\u0444", 1, "\u0444\u043e\u0442\u043e.\u0440\u0444"),
        ("http:xn--n1aalg.xn--p1ai", 1, "\u0444\u043e\u0442\u043e.\u0440\u0444"),
        ("http:good.com@evil.com", 1, "evil.com"),
        ("http:good.com,http:x@evil.com", 1, "evil.com"),
        ("http:evil.com,http:good.com", 2, "evil.com"),
        ("http:evil.com,www.good.com", 1, "evil.com"),
        ("http:www.evil.com http://good.com", 2, "evil.com"),
        ("http:wordhttp://evil.com", 1, "evil.com"),
        ("http:192.168.1.1", 1, "192.168.1.1"),
        ("http:3232235777", 1, "192.168.1.1"),
        ("http:0xc0a80101", 1, "192.168.1.1"),
        ("http:[2001:db8::1]", 1, "[2001:db8::1]"),
        # words
        ("http:404", 0, None),
        ("HTTP:1.1 and http:8080", 0, None),
        ("http:status http:client.py2 http:", 0, None),
        ("see http: evil.com", 0, None),
        ("xhttp:evil.com", 0, None),
        ("http:evil.example", 0, None),
        ("http:word,www.evil.com", 1, "evil.com"),
        # no browser opens these, not even their path
        ("http:@/www.evil.com", 1, None),
        ("http://@/www.evil.com then www.good.com", 3, "good.com"),
        ("http://a%00b/www.evil.com,http://good.com", 3, "good.com"),
        ("http://a.xn--pokxncvks/", 1, None),
        ("http://xn--bcher-kva.com", 1, "b\u00fccher.com"),
        # nor these, until they are made links again
        ("hxxp://evil.com", 0, None),
    ],
)
def test_slashes_may_be_left_out(text, links, domain):
    assert apply(LinkDomain("t", 2), text, None) == [domain, None]
    assert apply(CountLinks("t", 2), text, None) == [links, None]


def test_links_that_were_made_harmless_are_read_as_they_are_clicked():
    restored = apply(RestoreText("t"), "hxxps:evil[.]com")
    assert apply(LinkDomain("t", 2), *restored) == ["evil.com"]


CHAIN = """
lockstep: 1
columns: {t: {type: string}}
kinds: {m: {scored: true}}
derive:
  domain: {op: link_domain, of: t%s}
  links: {op: count_links, of: t%s}
entities: {e: {key: {m: [domain]}, windows: [1h], aggregates: {c: {op: count}}}}
"""


def test_what_a_link_is_has_a_version_and_the_first_one_stays_what_it_was():
    """Fingerprints of configs that say nothing are those of the release before, for reading 1."""
    now, second, first = (
        loads(CHAIN % (said, said), "c.yaml", CATALOG)
        for said in ("", ", reading: 2", ", reading: 1")
    )
    assert now == second and fingerprint(now) == fingerprint(second)
    assert fingerprint(first) == "ece615524cb0a367" != fingerprint(now)
    assert state_fingerprint(first, "e") == "24df1a2e404a354c" != state_fingerprint(now, "e")
    batch = pa.RecordBatch.from_pydict({"t": ["http:evil.com"]})
    assert derive(now, batch).to_pylist() == [
        {"t": "http:evil.com", "domain": "evil.com", "links": 1}
    ]
    assert derive(first, batch).to_pylist() == [{"t": "http:evil.com", "domain": None, "links": 0}]
    assert without_later_arguments(now, CATALOG) == first


@READINGS
@pytest.mark.parametrize(
    ("text", "count", "domain"),
    [
        ("see https://bit.ly/3xYz", 1, "shortener"),
        ("HTTPS://WWW.BIT.LY:443/x", 1, "shortener"),
        ("www.tinyurl.com", 1, "shortener"),
        ("https://bit%2ely/x", 1, "shortener"),
        ("https://bit\u3002ly", 1, "shortener"),
        ("https://bank.example@bit.ly/x", 1, "shortener"),
        ("https://bank.example,@bit.ly/x", 1, "shortener"),
        ("http://l.ead.me/x", 1, "shortener"),
        ("http://x.l.ead.me", 1, "shortener"),
        ("http://ead.me", 0, "ead.me"),
        ("http://al.ead.me", 0, "ead.me"),
        ("http://notbit.ly", 0, "notbit.ly"),
        ("http://bit.ly.example.com", 0, "example.com"),
        ("bit.ly without a link", 0, None),
        ("http://good.example http://bit.ly", 1, "good.example"),
        ("http://good.example,http://bit.ly;www.t.co", 2, "good.example"),
        ("https://good.example/?to=https://t.co/x", 1, "good.example"),
        ("http://bit.ly http://t.co http://bit.ly", 3, "shortener"),
        ("http://" + "\u200b" * 5000 + "l.ead.me", 1, "shortener"),
        ("", 0, None),
        (None, None, None),
    ],
)
def test_shorteners(text, count, domain, reading):
    assert apply(CountShorteners("t"), text) == [count]
    assert apply(LinkDomain("t", reading, shorteners=1), text) == [domain]
    plain = apply(LinkDomain("t", reading), text)
    assert plain == [domain] or (domain == "shortener" and plain != [domain])


def test_shorteners_of_links_without_slashes():
    assert apply(CountShorteners("t"), "http:bit.ly http:status,www.t.co http:404") == [2]
    assert apply(LinkDomain("t", 2, shorteners=1), "http:bit.ly/x") == ["shortener"]


@given(st.text())
def test_any_host_is_a_shortener_or_not(host):
    assert is_shortener(host) in (True, False)


def test_a_list_of_links_takes_time_in_proportion():
    """Ten thousand links without a space between them: they are read once each."""
    assert apply(CountShorteners("t"), ",".join(["www.bit.ly"] * 10_000)) == [10_000]
    assert apply(CountShorteners("t"), ",".join(["http://bit.ly"] * 10_000)) == [10_000]


def test_the_list_of_shorteners_is_part_of_the_fingerprint_only_where_it_is_used():
    silent, used = (
        loads(CHAIN % (said, ""), "c.yaml", CATALOG) for said in ("", ", shorteners: 1")
    )
    first = loads(CHAIN % (", reading: 1", ", reading: 1"), "c.yaml", CATALOG)
    assert fingerprint(first) == "ece615524cb0a367"  # of the release before there was the list
    assert fingerprint(used) != fingerprint(silent)
    assert state_fingerprint(used, "e") != state_fingerprint(silent, "e")
    batch = pa.RecordBatch.from_pydict({"t": ["http://bit.ly/x"]})
    assert derive(silent, batch).column("domain").to_pylist() == ["bit.ly"]
    assert derive(used, batch).column("domain").to_pylist() == ["shortener"]


def test_the_list_of_shorteners_is_the_published_one():
    """A new one needs a new version in `SHORTENERS`, so that it gets another fingerprint."""
    hosts = sorted(shorteners())
    assert len(hosts) == 225 and list(SHORTENERS) == [1]
    digest = hashlib.sha256("".join(f"{host}\n" for host in hosts).encode()).hexdigest()
    assert digest[:16] == "91a0852900daddab"
    assert all(registrable_domain(host) and host == host.lower() for host in hosts)


# Directions and their ends, joiners, tags, variation selectors, fillers, controls.
_MARKS = [
    *(chr(one) for one in (0x01, 0x7F, 0x9F, 0xAD, 0x61C, 0x180E, 0x3164, 0xFE0F, 0xFEFF)),
    *(chr(one) for one in [*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070)]),
    *(chr(one) for one in (0xE0001, 0xE0061, 0xE007F, 0xE0100)),
]


@pytest.mark.parametrize("mark", _MARKS, ids=lambda mark: f"{ord(mark):04X}")
def test_what_nobody_sees_after_a_name_is_no_part_of_it(mark):
    texts = [f"http://evil.com{end}" for end in (mark, f"{mark}.", f".{mark})", f":80{mark}")]
    texts += [f"http://evil.com{mark}/path", f"http://192.0.2.7{mark}", f"http://[::1]{mark} x"]
    names = ["evil.com"] * 5 + ["192.0.2.7", "[::1]"]
    assert apply(LinkDomain("t"), *texts) == names
    assert apply(EmailDomain("t"), f"ann@evil.com{mark}", f"<ann@evil.com{mark}>") == names[:2]


@given(st.from_regex(r"[a-z0-9.-]{1,40}", fullmatch=True))
def test_plain_names_need_no_parser(host):
    """The short way is the standard's, and gives the same."""
    if links._PLAIN.fullmatch(host) and "xn--" not in host:
        assert links._parsed(host) == host


@pytest.mark.parametrize("config", ["chat", "mail", "video_comments"])
def test_the_shipped_chains_read_the_host_before_they_fold(config):
    spec = load(shipped(config), CATALOG)
    [(of, derived)] = [
        (one.arguments["of"], one) for one in spec.derived.values() if one.op == "link_domain"
    ]
    assert of in spec.columns, derived


def test_a_domain_is_its_own():
    for domain in ("example.com", "example.co.uk", "b\u00fccher.example", "192.0.2.7"):
        assert registrable_domain(domain) == domain


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("http://good.com:" + "a" * 5000 + "@evil.com/", "evil.com"),
        ("http://good.com:99999/ http://evil.com/", "evil.com"),
        ("http://good.com:80a/ http://evil.com/", "evil.com"),
        ("http://evil.com:65535/", "evil.com"),
        ("http://evil.com:/", "evil.com"),
        ("see http://evil.com:", "evil.com"),
        ("http://evil.com:00080, or so", "evil.com"),
        ("http://[::1]:99999/ http://evil.com/", "evil.com"),
        ("http://[::1]:2:3", None),
        ("http://[::1]:80, or so", "[::1]"),
        # what a host or a user's part may begin with
        ("http://'@evil.com/", "evil.com"),
        ("http://,@evil.com/", "evil.com"),
        ("http://;a.evil.com/", "evil.com"),
        # the parser's own bound is not one for what nobody sees
        ("http://good.com" + "\u00ad" * 60_000 + ".evil.com/", "evil.com"),
        ("http://good.com" + "%C2%AD" * 9_000 + ".evil.com/", "evil.com"),
        ("http://" + "a." * 3_000 + "evil.com/ http://good.com", "good.com"),
        # Markdown, where the next link begins within what is refused
        ("[http://good.com](http://evil.com)", "evil.com"),
        ("[www.good.com](https://evil.com)", "evil.com"),
        ("http://good.com:xhttp://evil.com", "evil.com"),
    ],
)
@READINGS
def test_what_is_beside_a_host_does_not_hide_it(text, domain, reading):
    assert apply(LinkDomain("t", reading), text) == [domain]
    assert apply(CountLinks("t", reading), text)[0] >= 1


def test_a_text_takes_time_by_its_length():
    """Lists of separators were read again from each of them: 0.6 s for 4,096."""
    texts = ["http://^" + "," * 60_000, "http://^" + ",;" * 4_000 + " www.%" + ";" * 50_000]
    bare = ["http:" * 13_000, "http:www." * 7_000, "http:a@" * 9_000, "http:x," * 9_000]
    start = time.process_time()
    assert apply(LinkDomain("t"), *texts) == [None, None]
    assert apply(LinkDomain("t", 2), *texts, *bare) == [None] * 6
    assert apply(CountLinks("t", 2), *bare) == [0, 1, 0, 0]
    assert time.process_time() - start < 2
