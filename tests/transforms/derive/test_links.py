import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.derive.address import EmailDomain, Lowercase
from transforms.derive.links import CountLinks, LinkDomain, registrable_domain


def apply(operation, *texts):
    batch = pa.RecordBatch.from_pydict({"t": pa.array(texts, pa.string())})
    return operation.apply(batch).to_pylist()


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
        ("http://3221225985/", 1, "3221225985"),
        ("http://someone.github.io/x", 1, "someone.github.io"),
        ("http://com/", 1, "com"),
        ("http://localhost", 1, "localhost"),
        ("http:///nothing", 0, None),
        ("http://...", 1, None),
        ("http://" + "a" * 300 + ".example", 1, None),
        ("http://b\u00fccher.example", 1, "b\u00fccher.example"),
        ("http://xn--bcher-kva.example", 1, "b\u00fccher.example"),
        ("http://xn--\u00fc.example", 1, "xn--\u00fc.example"),
        ("http://\u98df\u72ee.\u516c\u53f8.cn/x", 1, "\u98df\u72ee.\u516c\u53f8.cn"),
        ("http://www.xn--85x722f.xn--55qx5d.cn", 1, "\u98df\u72ee.\u516c\u53f8.cn"),
        ("", 0, None),
        (None, None, None),
    ],
)
def test_links(text, links, domain):
    assert apply(CountLinks("t"), text) == [links]
    assert apply(LinkDomain("t"), text) == [domain]


@given(st.text())
def test_any_host_has_a_domain_that_is_text_or_none(host):
    domain = registrable_domain(host)
    assert domain is None or (domain and domain.encode())


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=30))
def test_any_punycode(label):
    domain = registrable_domain(f"xn--{label}.example")
    assert domain and domain.encode()


def test_a_domain_is_its_own():
    for domain in ("example.com", "example.co.uk", "b\u00fccher.example", "192.0.2.7"):
        assert registrable_domain(domain) == domain


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("ann@mail.example.org", "example.org"),
        ("Ann <ann@mail.example.org>", "example.org"),
        ('"bank@bank.example" <ann@mail.example.org>', "example.org"),
        ("<ann@example.org", "example.org"),
        ("ann at example.org", None),
        ("ann@", None),
        ("ann@example.org, bob@example.net", "example.org"),
        ("(x@EXAMPLE.org)", "example.org"),
        (None, None),
    ],
)
def test_domains_of_addresses(text, domain):
    assert apply(EmailDomain("t"), text) == [domain]


def test_lower_case():
    assert apply(Lowercase("t"), "\u00c4B", "") == ["\u00e4b", ""]
