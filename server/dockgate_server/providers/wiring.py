"""The providers that the settings ask for."""

from dockgate_server.clock import Clock
from dockgate_server.config import Settings
from dockgate_server.providers import Providers
from dockgate_server.providers.files import Files
from dockgate_server.providers.flights import Flights
from dockgate_server.providers.registration import OnBound, Registration
from dockgate_server.providers.storage import Storage
from dockgate_server.providers.sts import Minting, assume_role
from dockgate_server.store.sources import AnswerSources


def providers(
    settings: Settings, sources: AnswerSources, clock: Clock, on_bound: OnBound
) -> Providers:
    """Every provider that is configured.

    Args:
        settings: The configuration.
        sources: What is known.
        clock: The time.
        on_bound: Is told of devices that were bound to an organisation.

    Raises:
        CannotMint: Credentials are to be minted, and boto3 is not installed.
    """
    storage = settings.object_storage
    minting = None
    if storage.bucket and storage.sts_role_arn:
        minting = Minting(assume_role(storage), clock)
    return Providers(
        {
            **Registration(settings.registration, sources, clock, on_bound).by_method(),
            **Files(settings.takeoff).by_method(),
            **Storage(storage, minting).by_method(),
            **Flights(sources).by_method(),
        }
    )
