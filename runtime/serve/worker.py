"""One answering process of the service: uploads in on stdin, records and pictures out on stdout.

A process, not a thread: what hangs or breaks in a native decoder can be ended without the
service, PDFium allows one thread a process, and Python's lock keeps no two pages waiting for
each other.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

from runtime.errors import EcgEdgeError, ExitCode
from runtime.serve.answers import Answers
from runtime.serve.frames import pack, read_frame

if TYPE_CHECKING:
    from runtime.classifier import Classifier

__all__ = ["answer", "main"]


def main(arguments: list[str]) -> int:
    """Answer until stdin ends: ``DIRECTORY ENGINE THREADS``."""
    # The service ends its workers by closing stdin, after the requests in hand; systemd and a
    # terminal signal all processes of the group at once.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = _guarded_stdout()
    directory, engine, threads = arguments
    try:
        from runtime.classifier import Classifier
        from runtime.commands.info import gather

        classifier = Classifier.from_bundle(directory, engine, int(threads))
    except EcgEdgeError as fault:
        _send(out, {"fault": str(fault), "exit_code": int(fault.exit_code)})
        return int(fault.exit_code)
    _send(out, {"model": classifier.identity.to_record(), "facts": gather(classifier.bundle)})
    while (frame := read_frame(sys.stdin.buffer)) is not None:
        head, body = frame
        answers = answer(classifier, body, head)
        del body, frame
        reply = {
            "records": answers.records,
            "explanations": answers.explanations,
            "sizes": [len(picture) for picture in answers.pictures],
        }
        _send(out, reply, b"".join(answers.pictures))
    return int(ExitCode.OK)


def answer(classifier: Classifier, body: bytes, head: dict[str, Any]) -> Answers:
    """Answer one upload.

    Parameters
    ----------
    classifier : Classifier
    body : bytes
        The file.
    head : dict
        ``name`` (what the records show), ``explain`` (whether to draw), ``pages`` (answer at
        most one more than these, so that the service sees that there are too many).

    Returns
    -------
    Answers
    """
    pages = classifier.classify_pages(body, name=head["name"], keep_evidence=head["explain"])
    answers = Answers([])
    for prediction in islice(pages, head["pages"] + 1):
        answers.records.append(prediction.to_record())
        if head["explain"]:
            from runtime.evidence import explanation
            from runtime.explain import draw, png_bytes

            answers.explanations.append(explanation(prediction))
            answers.pictures.append(png_bytes(draw(prediction)))
    return answers


def _guarded_stdout() -> BinaryIO:
    """Return the real stdout, and send what libraries print to stderr instead."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return out


def _send(out: BinaryIO, head: dict[str, Any], body: bytes = b"") -> None:
    out.write(pack(head, body))
    out.write(body)
    out.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
