"""The embedded Kafka server with one listener more, that wants TLS and a password; made for a test."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the library's stubs do not re-export them
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from storage.broker.artifact import Artifact
from storage.broker.configuration import HOST, free_port, java_options, server_properties
from storage.broker.process import answering_cluster, prepare
from storage.settings import DataDirectory

USER, PASSWORD = "gauge", "a päss, with = and ;"

_LISTENER = """
listeners=PLAINTEXT://{host}:{plain},SECURE://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{plain},SECURE://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT
listener.name.secure.ssl.keystore.type=PEM
listener.name.secure.ssl.keystore.location=run/server.pem
listener.name.secure.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
listener.name.secure.scram-sha-512.sasl.jaas.config=\\
  org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.plain.sasl.jaas.config=\\
  org.apache.kafka.common.security.plain.PlainLoginModule required user_plain="plain";
"""


@dataclass(frozen=True, slots=True)
class SecureKafka:
    """Where it listens, and who signed for it."""

    servers: str
    authority: Path

    def environment(self, **changed: str) -> dict[str, str]:
        """What a process of ours must be told, as an operator would tell it."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.servers,
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "KAFKA_SASL_USERNAME": USER,
            "KAFKA_SASL_PASSWORD": PASSWORD,
            "KAFKA_SSL_CA_LOCATION": str(self.authority),
        } | changed


@contextmanager
def secure_kafka(directory: DataDirectory, artifact: Artifact) -> Iterator[SecureKafka]:
    """A server of its own; its plaintext listener is for its making only."""
    identity = prepare(directory, artifact, None)
    port = free_port(without=frozenset({identity.port, identity.controller_port}))
    authority = directory.run / "authority.pem"
    sign(directory.run / "server.pem", authority)
    places = _LISTENER.format(host=HOST, plain=identity.port, port=port, controller=identity.controller_port)
    replaced = {line.partition("=")[0] for line in places.splitlines()}
    kept = [x for x in server_properties(identity).splitlines() if x.partition("=")[0] not in replaced]
    (directory.run / "server.properties").write_text("\n".join(kept) + places)
    command = [str(artifact.java), *java_options(384, directory.run / "tmp")]
    command += ["-cp", ":".join(map(str, artifact.classpath)), "kafka.Kafka", "run/server.properties"]
    log = directory.logs / "broker.log"
    with subprocess.Popen(command, cwd=directory.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 90
            while answering_cluster(identity.port) != identity.cluster_id:
                assert server.poll() is None, log.read_text()[-3000:]
                assert time.monotonic() < deadline, log.read_text()[-3000:]
                time.sleep(0.1)
            admin = AdminClient({"bootstrap.servers": f"{HOST}:{identity.port}"})
            mechanism = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
            made = UserScramCredentialUpsertion(USER, mechanism, PASSWORD.encode())
            admin.alter_user_scram_credentials([made])[USER].result(30)
            yield SecureKafka(f"{HOST}:{port}", authority)
        finally:
            server.kill()


def sign(server: Path, authority: Path) -> None:
    """An authority, and a certificate of the loopback address that it signed."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kafka")])
    now = datetime.now(UTC)
    around = (now - timedelta(hours=1), now + timedelta(days=1))

    def builder(name: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        started = x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(public)
        return started.serial_number(x509.random_serial_number()).not_valid_before(around[0]).not_valid_after(around[1])

    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    signed_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    itself = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = builder(issuer, ca_key.public_key()).add_extension(x509.BasicConstraints(True, None), True)
    root = ca.add_extension(usage, True).add_extension(itself, False).sign(ca_key, hashes.SHA256())
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))])
    leaf = builder(subject, key.public_key()).add_extension(names, False).add_extension(signed_by, False)
    pem, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    authority.write_bytes(root.public_bytes(pem))
    server.write_bytes(
        key.private_bytes(pem, private, serialization.NoEncryption())
        + leaf.sign(ca_key, hashes.SHA256()).public_bytes(pem)
    )
