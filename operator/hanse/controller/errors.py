"""What the API server can refuse, as the rest of the operator sees it.

    ApiProblem                 the call failed; `temporary` says whether trying again can help
    ├── Denied                 403: a Role is missing, or an admission plugin refused
    ├── Conflict               409: somebody else wrote in between; read again
    │   └── BudgetTaken        our own refusal: another job was first, and there is no room for both
    ├── Gone                   404 where the object had to exist
    ├── Invalid                400 or 422: our own manifest is wrong
    ├── NotAsked               our own refusal: a Participation names a job that does not list it
    ├── Taken                  what we would create is there already, and belongs to something else
    └── AuthorityLost          the job's CA Secret is gone, or is not the one that its clients trust

Made by `hanse.controller.cluster` (the last three by the executor), handled by the engine.
"""


class ApiProblem(Exception):
    """A call to the API server failed."""

    temporary = True

    def __init__(self, message: str, *, kind: str = "", namespace: str = "", name: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.namespace = namespace
        self.name = name


class Denied(ApiProblem):
    """Not permitted."""


class Conflict(ApiProblem):
    """The object has changed since it was read."""


class BudgetTaken(Conflict):
    """What was to be reserved does not fit any more."""


class Gone(ApiProblem):
    """The object is not there."""


class Invalid(ApiProblem):
    """The API server finds the manifest wrong."""

    temporary = False


class NotAsked(ApiProblem):
    """The job does not ask this participant."""


class Taken(ApiProblem):
    """The name is another owner's."""


class AuthorityLost(ApiProblem):
    """There is no key any more to sign this job's certificates with."""
