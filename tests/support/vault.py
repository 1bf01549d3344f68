"""What seals secrets in tests."""

from dockgate_server.sealing import SealingKey, Vault

SEALING_KEY = SealingKey(b"the sealing key of all the tests")
VAULT = Vault(SEALING_KEY, b"the key of digests of these tests")
