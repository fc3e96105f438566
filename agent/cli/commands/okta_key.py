"""`okta-key`: make the key pair of an Okta service app."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from agent.cli.output import print_json
from agent.errors import ExitCode, UsageError
from connectors.okta.new_key import KeyAlgorithm, create_key

__all__ = ["okta_key"]

MAX_KID_CHARS = 255


@click.command("okta-key")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("okta-key.pem"),
    show_default=True,
    metavar="FILE",
    help="New file for the private key.",
)
@click.option(
    "--alg",
    "algorithm",
    type=click.Choice([each.value for each in KeyAlgorithm]),
    default=KeyAlgorithm.RS256.value,
    show_default=True,
    help="Algorithm of the key.",
)
@click.option("--kid", default="", metavar="ID", help="Id of the key in Okta; default: its thumbprint (RFC 7638).")
def okta_key(out: Path, algorithm: str, kid: str) -> int:
    """Create the key pair of an Okta service app.

    Writes the private key to a new file that only its owner can read, and never overwrites one. Prints the public key
    as a JWK to stdout, to paste into Okta, and the lines of the configuration to stderr. Reads no configuration.

    \b
    pigment-sync okta-key --out /run/secrets/okta-key.pem
    pigment-sync okta-key --alg ES256 --kid pigment-sync-2026 > public.jwk.json
    """
    if len(kid) > MAX_KID_CHARS or not kid.isprintable() or kid != kid.strip():
        raise UsageError(
            f"--kid must be printable text of at most {MAX_KID_CHARS} characters, without blanks at its ends.",
            "Leave it out to use the thumbprint of the key.",
        )
    key = create_key(KeyAlgorithm(algorithm), kid)
    _write_new_secret(out, key.private_pem)
    print_json(dict(key.jwk))
    click.echo(_next_steps(out.absolute(), key.jwk["kid"]), sys.stderr)
    return ExitCode.DONE


def _next_steps(path: Path, kid: str) -> str:
    # JSON strings are YAML strings, whatever the path or the id holds.
    return (
        f"The private key is in {path}. Keep it on this machine, or move it into your secret store.\n"
        "Paste the JSON above into Okta: Applications > the service app > General > Client Credentials >\n"
        "Public key / Private key > Add key. Then configure:\n\n"
        "connectors:\n"
        "  okta-main:\n"
        f"    private_key: {{file: {json.dumps(str(path))}}}\n"
        f"    kid: {json.dumps(kid)}\n"
        "    dpop: true    # false if the app does not require DPoP"
    )


def _write_new_secret(path: Path, content: bytes) -> None:
    """Write *content* to the new file *path*, readable by its owner only. It is gone when `UsageError` is raised."""
    try:
        # Exclusive, so that neither a file nor the target of a link is overwritten; private from its first moment.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(
            f"{path} exists, and a key is never overwritten. No key was made.",
            "Name another file with --out; to replace a key in use, see docs/okta.md#rotate-the-key-without-a-gap.",
        ) from None
    except OSError as error:
        raise _not_written(path, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise _not_written(path, error) from error


def _not_written(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"{path} can't be written ({error.strerror}). No key was kept.", "Name a file in a folder that is writable."
    )
