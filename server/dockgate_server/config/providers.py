"""The sections from which the requests of devices are answered."""

from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, StringConstraints, ValidationInfo, field_validator

from dockgate_server.config.sections import Section

Text = Annotated[str, StringConstraints(min_length=1)]


class Requests(Section):
    """The requests of devices."""

    answer_seconds: float = Field(default=40.0, ge=1, le=3600)
    """How long a request of a device can be answered. A dock waits 40 s before it takes off
    without an answer."""


class Organization(Section):
    """An organisation to which devices may be bound."""

    id: Text
    name: Text
    binding_code: SecretStr = Field(min_length=1)
    """What a device must know to be bound to it."""


class Registration(Section):
    """What a dock needs to come online."""

    app_id: Text | None = None
    """The id of the app, from DJI's developer site."""
    app_key: SecretStr | None = None
    """Its key; better in the environment than in a file."""
    app_license: SecretStr | None = None
    """Its licence; better in the environment than in a file."""
    ntp_server_host: Text = "pool.ntp.org"
    """Where docks get the time."""
    ntp_server_port: int = Field(default=123, ge=1, le=65_535)
    """The port of that server."""
    organizations: tuple[Organization, ...] = ()
    """The organisations to which devices may be bound, as a list of tables with `id`, `name` and
    `binding_code`."""

    @field_validator("app_license")
    @classmethod
    def _app_is_whole(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        app = (*_known(info, "app_id", "app_key"), value)
        if any(app) and not all(app):
            raise ValueError("app_id, app_key and app_license must be given together")
        return value

    @field_validator("organizations")
    @classmethod
    def _ids_differ(cls, value: tuple[Organization, ...]) -> tuple[Organization, ...]:
        ids = [one.id for one in value]
        if len(ids) != len(set(ids)):
            raise ValueError("two of them have the same id")
        return value


class OfferedFile(Section):
    """A file that docks fetch by themselves."""

    name: Text
    url: Text
    checksum: Text
    """Its SHA-256."""
    size: int = Field(ge=0)
    """Bytes."""


class Takeoff(Section):
    """What a dock asks for before a drone takes off."""

    flight_areas: tuple[OfferedFile, ...] = ()
    """The files of custom flight areas, as a list of tables with `name`, `url`, `checksum` and
    `size`."""
    offline_maps: tuple[OfferedFile, ...] = ()
    """The files of the offline map, in the same form."""


class ObjectStorage(Section):
    """Where docks put media and PSDK resources."""

    bucket: Text | None = None
    """The bucket; without one, a person must answer storage_config_get."""
    endpoint: Text | None = None
    """Where the storage is reached, e.g. `https://s3.eu-central-1.amazonaws.com`."""
    region: Text | None = None
    """Its region."""
    provider: Literal["ali", "aws", "minio"] = "aws"
    """What kind of storage it is, in DJI's words: `ali`, `aws` or `minio`."""
    media_prefix: str = "media"
    """What the names of media (module 0) begin with."""
    psdk_prefix: str = "psdk"
    """What the names of PSDK resources (module 1) begin with."""
    access_key_id: SecretStr | None = None
    """The id of an access key: given to docks or, with `sts_role_arn`, used to mint others."""
    access_key_secret: SecretStr | None = None
    """The secret of that key."""
    security_token: SecretStr | None = None
    """The session token of that key, where it has one."""
    credentials_seconds: int = Field(default=3600, ge=900, le=43_200)
    """How long docks may use credentials before they ask again."""
    sts_role_arn: Annotated[str, StringConstraints(min_length=20)] | None = None
    """The role for which credentials are minted (AssumeRole); needs the extra `sts`."""
    sts_endpoint: Text | None = None
    """Where to mint them; by default AWS, with MinIO the endpoint of the storage."""

    @field_validator("region")
    @classmethod
    def _bucket_is_whole(cls, region: str | None, info: ValidationInfo) -> str | None:
        bucket, endpoint = _known(info, "bucket", "endpoint")
        if bucket is not None and (endpoint is None or region is None):
            raise ValueError("bucket, endpoint and region must be given together")
        return region

    @field_validator("access_key_secret")
    @classmethod
    def _key_is_whole(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        (key_id,) = _known(info, "access_key_id")
        if (key_id is None) != (secret is None) and key_id is not ...:
            raise ValueError("access_key_id and access_key_secret must be given together")
        return secret

    @field_validator("sts_role_arn")
    @classmethod
    def _credentials_can_be_given(cls, role: str | None, info: ValidationInfo) -> str | None:
        bucket, key_id = _known(info, "bucket", "access_key_id")
        if bucket is not None and key_id is None and role is None:
            raise ValueError("bucket: access_key_id with its secret, or sts_role_arn, is needed")
        return role


def _known(info: ValidationInfo, *names: str) -> tuple[Any, ...]:
    """The settings of these names; ``...`` for one that is wrong itself, which is there."""
    return tuple(info.data.get(name, ...) for name in names)
