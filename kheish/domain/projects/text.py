"""The texts about tasks that agents and persons read: the task of a run, a failed dependency, the question after three
attempts."""

from __future__ import annotations

from collections.abc import Iterator

from kheish.domain.events import Option, QuestionItem
from kheish.domain.projects.definition import ProjectFile
from kheish.domain.projects.task import ProjectTask
from kheish.store.escaping import plain

#: what a person may answer about a task whose attempts came to nothing
AGAIN, LEAVE, CANCEL = "a", "b", "c"


def of(task: ProjectTask, file: ProjectFile) -> str:
    """Return the text of the run that works on a task."""
    return plain("\n\n".join(_parts(task, file)))


def _parts(task: ProjectTask, file: ProjectFile) -> Iterator[str]:
    project = f"{file.title} ({task.project})" if file.title else task.project
    yield f"Work on the task {task.task_id} of the project {project}: {task.title}"
    if task.description:
        yield task.description
    if task.blocked_by:
        yield f"These tasks came first, and are completed: {', '.join(task.blocked_by)}."
    if task.reason and task.attempt > 1:
        yield f"The attempt before this one: {task.reason}"
    yield (
        "The task is completed with your final answer, which becomes its result. If you cannot complete it, call "
        "project_update_task with status failed or blocked, and a reason."
    )


def dependency_failed(task: ProjectTask) -> str:
    """Return the message to the owner of a task that a task before it failed."""
    names = ", ".join(task.failed)
    return (
        f"Your task {task.task_id} of the project {task.project} ({task.title}) cannot begin: {names} failed or was "
        "cancelled, and comes first. It waits until that task is done after all, or its blocked_by is changed."
    )


def attempts(task: ProjectTask, reason: str) -> QuestionItem:
    """Return the question to a person about a task whose attempts came to nothing."""
    return QuestionItem(
        id="q1",
        header="Project task",
        text=f"The task {task.task_id} of the project {task.project} ({task.title}) came to nothing in "
        f"{task.failures + 1} attempts; the last: {reason}. How should it continue?",
        options=(
            Option(id=AGAIN, label="Try again", description="It is pending; a text of yours is added to it."),
            Option(id=LEAVE, label="Leave it blocked", description="You can change or unblock it later."),
            Option(id=CANCEL, label="Cancel the task", description="Tasks that wait for it stay blocked."),
        ),
        free_text=True,
    )
