"""Exceptions of ecg-edge and the exit code that each of them stands for."""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "BundleError",
    "EcgEdgeError",
    "ExitCode",
    "GateError",
    "MissingExtraError",
    "NoInputError",
    "OutputError",
    "PageError",
    "UsageError",
]


class ExitCode(IntEnum):
    """Exit codes of every command; stable, documented in the README.

    The predicted class never changes the exit code.
    """

    OK = 0
    SOME_INPUTS_FAILED = 1
    USAGE = 2
    NO_INPUT = 3
    BUNDLE = 4
    MISSING = 5
    OUTPUT = 6
    GATE = 7
    INTERNAL = 70
    INTERRUPTED = 130


class EcgEdgeError(Exception):
    """An error that the user can act on.

    Parameters
    ----------
    message : str
        What went wrong, in plain words.
    remedy : str
        What to do about it; appended to the message.
    """

    exit_code: ExitCode = ExitCode.INTERNAL

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(message, remedy)

    def __str__(self) -> str:
        """Return the message, followed by the remedy where there is one."""
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class UsageError(EcgEdgeError):
    """The command line asks for something that makes no sense."""

    exit_code = ExitCode.USAGE


class NoInputError(EcgEdgeError):
    """Nothing usable was named or found."""

    exit_code = ExitCode.NO_INPUT


class BundleError(EcgEdgeError):
    """A bundle is missing, damaged, or of a schema this version does not know."""

    exit_code = ExitCode.BUNDLE


class MissingExtraError(EcgEdgeError):
    """An optional package is needed and not installed.

    Parameters
    ----------
    extra : str
        Name of the extra in pyproject.toml, for example ``"pdf"``; empty for the engine that
        belongs to the base installation.
    what : str
        What needs it, for example ``"reading PDF files"``.
    """

    exit_code = ExitCode.MISSING

    def __init__(self, extra: str, what: str) -> None:
        package = f"ecg-edge[{extra}]" if extra else "ai-edge-litert"
        super().__init__(
            f"{what} needs a package that is not installed here", f"run: pip install '{package}'"
        )
        self.extra = extra


class OutputError(EcgEdgeError):
    """A result cannot be written."""

    exit_code = ExitCode.OUTPUT


class GateError(EcgEdgeError):
    """A gate, a verification or a comparison with a baseline failed."""

    exit_code = ExitCode.GATE


class PageError(EcgEdgeError):
    """One input cannot be read; its record has the status ``error``, the others go on."""

    exit_code = ExitCode.SOME_INPUTS_FAILED
