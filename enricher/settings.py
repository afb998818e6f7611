"""The settings of the enricher."""

from pydantic import Field

from runtime.settings import Settings


class EnricherSettings(Settings):
    """How one enricher runs; the log is chosen elsewhere."""

    slot: str = Field(
        default="0",
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="This enricher's own name among all that run, the same after each restart."
        " Two of one name keep fencing each other.",
    )
    batch_seconds: float = Field(
        default=1.0,
        gt=0,
        le=5,
        description="How long a batch may grow while there is more to read; under a lower load a"
        " batch is what is there.",
    )
    batch_bytes: int = Field(
        default=128 * 1024 * 1024,
        ge=1024 * 1024,
        description="How many bytes of flows a batch may take in.",
    )
    progress_seconds: float = Field(
        default=1.0,
        ge=0,
        le=60,
        description="How often at most the progress of a cluster is told.",
    )
    synced_wait_seconds: float = Field(
        default=600.0,
        ge=0,
        description="How long flows of a cluster wait for all of its policies to be known; after"
        " that they are counted as unexplained. They are waited for in the log, not in memory.",
    )
    samples: int = Field(
        default=3,
        ge=0,
        le=10,
        description="How many whole flows a match carries for people to look at.",
    )
    health_host: str = Field(
        default="127.0.0.1", description="The address on which the health port listens."
    )
    health_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="The port for /livez, /readyz and /metrics; 0 means none.",
    )
