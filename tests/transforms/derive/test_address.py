import pyarrow as pa
import pytest

from transforms.derive.address import EmailDomain, Lowercase


def apply(operation, *texts):
    batch = pa.RecordBatch.from_pydict({"t": pa.array(texts, pa.string())})
    return operation.apply(batch).to_pylist()


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
        ('"ann@good.com"@evil.com', "evil.com"),
        ('"a\\"@good.com"@evil.com', "evil.com"),
        ('Ann <"x@good.com"@evil.com>', "evil.com"),
        ("ann@good.com@evil.com", "evil.com"),
        ("<@good.com:ann@evil.com>", "evil.com"),
        ("ann@xn--bcher-kva.example", "b\u00fccher.example"),
        ("ann@fa\u00df.de", "fa\u00df.de"),
        ("ann@example.com.", "example.com"),
        ("ann@[192.0.2.7]", "192.0.2.7"),
        ("ann@[IPv6:2001:DB8::1]", "[2001:db8::1]"),
        ("(c@good.com) ann@evil.com", "evil.com"),
        ("(a (c@good.com) \\) d@good.com) ann@evil.com", "evil.com"),
        ('(") ann@evil.com ("@good.com)', "evil.com"),
        ('"(" <ann@evil.com> ")"', "evil.com"),
        ("ann)@evil.com", "evil.com"),
        ("(not closed ann@evil.com", "evil.com"),
        ('ann@"good.com"', None),
        (None, None),
    ],
)
def test_domains_of_addresses(text, domain):
    assert apply(EmailDomain("t"), text) == [domain]


def test_lower_case():
    assert apply(Lowercase("t"), "\u00c4B", "") == ["\u00e4b", ""]


def test_a_comment_behind_a_mail_address_makes_no_key_of_its_own():
    texts = ["a@evil.com(good)", "a@evil.com (good.com)", "a@evil.com", "(a@evil.com)"]
    assert apply(EmailDomain("t"), *texts) == ["evil.com"] * 4
