"""What is asked again and again: for an advertisement, or for a listing of refs."""

from dataclasses import replace

from bench import requests
from bench.clients import Question
from bench.servers import Server


def advertisement(repository: str) -> Question:
    """Return the question for all refs in protocol 0, or in protocol 2 for what the server can do."""
    return Question(f"{repository}/info/refs?service=git-upload-pack")


def listing(repository: str) -> Question:
    """Return the question for all refs in protocol 2."""
    question = Question(
        f"{repository}/git-upload-pack",
        {"CONTENT_TYPE": requests.CONTENT_TYPE},
        body=requests.listing(),
    )
    return in_protocol_2(question)


def in_protocol_2(question: Question) -> Question:
    return replace(question, headers=question.headers | {"GIT_PROTOCOL": requests.PROTOCOL})


def signed(question: Question, server: Server, secret: str) -> Question:
    """Return it with credentials."""
    own = {"AUTHORIZATION": server.authorization(secret)}
    return replace(question, headers=question.headers | own)


def refused(question: Question) -> Question:
    """Return it with the answer that is due to those whom nobody knows."""
    return replace(question, status=401)
