"""The inbox: callers get their answers, and an order whose caller was told "no" is never carried out."""

import threading

import pytest

from schedulerd.core.events import AlarmRang, CommandGiven
from schedulerd.core.requests import DescribeCluster, ResumeJob
from schedulerd.daemon.inbox import Inbox
from schedulerd.errors import CommandError

ORDER = ResumeJob(job="backup", by="eva")


def asked(inbox: Inbox) -> tuple[threading.Thread, list[object]]:
    """A caller that waits for the answer to ORDER, and where its answer goes."""
    answers: list[object] = []

    def ask() -> None:
        try:
            answers.append(inbox.ask(ORDER, 20.0))
        except CommandError as error:
            answers.append(error)

    caller = threading.Thread(target=ask)
    caller.start()
    while not inbox._events:
        pass  # the caller is about to put its order in
    return caller, answers


def test_a_caller_gets_the_answer_to_its_own_order() -> None:
    inbox = Inbox()
    caller, answers = asked(inbox)
    (event,) = inbox.take(10)
    assert isinstance(event, CommandGiven)
    inbox.answer(event.token, "done")
    caller.join(20)
    assert answers == ["done"]


def test_an_order_that_was_refused_because_nobody_leads_is_not_carried_out_later() -> None:
    inbox = Inbox()
    caller, answers = asked(inbox)
    inbox.refuse_all("the disk is full")
    caller.join(20)
    assert isinstance(answers[0], CommandError)
    inbox.put(AlarmRang())
    assert inbox.take(10) == [AlarmRang()]


def test_an_order_whose_caller_gave_up_is_not_carried_out_later() -> None:
    inbox = Inbox()
    with pytest.raises(CommandError, match=r"did not answer within 0\.01 s"):
        inbox.ask(DescribeCluster(), 0.01)
    assert inbox.take(10) == []


def test_more_events_than_asked_for_stay_and_wake_again() -> None:
    inbox = Inbox()
    for _ in range(5):
        inbox.put(AlarmRang())
    assert len(inbox.take(3)) == 3
    assert len(inbox.take(3)) == 2
    assert inbox.take(3) == []
