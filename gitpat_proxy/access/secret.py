"""The secret of a token: its form, its digest, its hint."""

import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass
from typing import Self

_PREFIX = "gpat_"
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_LENGTH = 40
_CHECKSUM_LENGTH = 6
_FORM = re.compile(f"{_PREFIX}[0-9A-Za-z]{{{_RANDOM_LENGTH + _CHECKSUM_LENGTH}}}")


def make_secret() -> str:
    """Return a new secret: prefix, 238 random bits, checksum."""
    body = _PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))
    return body + _checksum(body)


def is_well_formed(text: str) -> bool:
    """Tell whether the text can be a secret, without looking any up: form and checksum fit."""
    if not _FORM.fullmatch(text):
        return False
    return _checksum(text[:-_CHECKSUM_LENGTH]) == text[-_CHECKSUM_LENGTH:]


def digest_of(secret: str) -> bytes:
    """Return the SHA-256 digest (32 bytes), the only thing that is kept."""
    # Headers and cookies may hold bytes that are no UTF-8, which aiohttp gives as surrogates.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True)
class SentSecret:
    """What has to be known of a text that was sent as a secret: it can be looked up, not used."""

    digest: bytes
    is_well_formed: bool

    @classmethod
    def of(cls, text: str) -> Self:
        """Return it for a text, which need not be a secret."""
        return cls(digest_of(text), is_well_formed(text))


def hint_of(secret: str) -> str:
    """Return what may be shown of the secret later: `gpat_…` and its last four characters."""
    return f"{_PREFIX}…{secret[-4:]}"


def without_secrets(text: str) -> str:
    """Replace whatever looks like a secret by its hint."""
    # Of two that overlap the first alone is found; what is left of it lets the other be found then.
    while _FORM.search(text):
        text = _FORM.sub(lambda match: hint_of(match[0]), text)
    return text


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = []
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
