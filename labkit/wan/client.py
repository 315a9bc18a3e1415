"""A client for the control API of a running WAN process."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException

from labkit.errors import BadInput, ClusterError, LabError, NotRunning
from labkit.wan.plan import LinkUpdate, Listener
from labkit.wan.state import LinkState, WanState


@dataclass(frozen=True, slots=True)
class WanClient:
    """A client of one WAN process's control API. It keeps no connection open.

    Every method but `answers` raises:
        NotRunning: nothing listens on the port.
        ClusterError: what listens does not answer in `timeout_s`, refuses the token, or is no
            WAN process of this version.

    Attributes:
        port: the plan's `control_port`.
        token: the plan's `token`.
        timeout_s: for each read and write of a request.
    """

    port: int
    token: str = field(repr=False)
    host: str = "127.0.0.1"
    timeout_s: float = 5.0

    def state(self) -> WanState:
        """Links, diallers and refusals."""
        return self._ask("GET", "/links")

    def answers(self) -> bool:
        """Tell whether it is there and takes the token."""
        try:
            self.state()
        except LabError:
            return False
        return True

    def links(self) -> tuple[LinkState, ...]:
        """Ask what each link does and has carried."""
        return self.state().links

    def change(self, changes: Sequence[LinkUpdate]) -> WanState:
        """Change links, all at once; what an entry does not name stays.

        Raises:
            BadInput: an entry is refused; nothing was changed.
        """
        return self._ask("POST", "/links", {"links": list(changes)})

    def reset(self) -> WanState:
        """Give every link the plan's settings again. Idempotent."""
        return self._ask("POST", "/reset")

    def serve(self, listeners: Sequence[Listener], names: Mapping[str, str]) -> WanState:
        """Let it serve these listeners and know these names, and no others. Idempotent.

        Raises:
            BadInput: an entry is refused or a port is taken; nothing new is served.
        """
        body = {"listeners": [asdict(one) for one in listeners], "names": dict(names)}
        return self._ask("POST", "/listeners", body)

    def _ask(self, method: str, path: str, body: object = None) -> WanState:
        address = f"{self.host}:{self.port}"
        connection = HTTPConnection(self.host, self.port, timeout=self.timeout_s)
        try:
            connection.request(
                method,
                path,
                None if body is None else json.dumps(body),
                {"Authorization": f"Bearer {self.token}"},
            )
            response = connection.getresponse()
            status, answer = response.status, json.loads(response.read())
            if status == HTTPStatus.OK:
                return WanState.from_json(answer)
            problem = f"WAN process on {address}: {answer['error']}"
        except ConnectionRefusedError as error:
            raise NotRunning(
                f"no WAN process listens on {address}: start the lab with `labkit up`"
            ) from error
        except TimeoutError as error:
            raise ClusterError(
                f"WAN process on {address}: no answer within {self.timeout_s:g} s"
            ) from error
        except OSError as error:
            raise ClusterError(f"WAN process on {address}: {error}") from error
        except (HTTPException, ValueError, KeyError, TypeError) as error:
            raise ClusterError(
                f"what listens on {address} is no WAN process of this version ({error!r})"
            ) from error
        finally:
            connection.close()
        if status == HTTPStatus.BAD_REQUEST:
            raise BadInput(problem)
        raise ClusterError(problem)
