"""Sections of the settings that the service reads: list rules, HTTP, the shared store, and where things are kept."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from slidr.settings.section import Section

PACKAGED_CRAWLERS, WORDS = "crawler-user-agents", "words"
"""Lists of crawlers that come with slidr."""


class RulesSettings(Section, frozen=True):
    """List rules, which run before the model."""

    crawlers: Annotated[
        tuple[str, ...],
        Meta(
            description="lists of user agents: 'crawler-user-agents' (a package), 'words' (what robots are called),"
            " files of patterns, one a line or COUNTER's JSON; none: the rule is off"
        ),
    ] = (PACKAGED_CRAWLERS, WORDS)
    data_centres: Annotated[
        tuple[str, ...],
        Meta(description="files of networks where no people are, one a line, or first,last; none: the rule is off"),
    ] = ()
    headers: Annotated[
        dict[str, str],
        Meta(description="request header = pattern of its value; adds to the built-in ones; empty: takes one out"),
    ] = msgspec.field(default_factory=dict)
    repeats: Annotated[
        str,
        Meta(description="window in which a second click on one impression is invalid, such as '24h'; empty: off"),
    ] = ""
    deny: Annotated[tuple[str, ...], Meta(description="files of clicks that are invalid, column,value a line")] = ()
    allow: Annotated[
        tuple[str, ...], Meta(description="files of clicks that the model does not judge, column,value a line")
    ] = ()
    stale_after: Annotated[str, Meta(description="age at which a list is stale")] = "90d"


class ServiceSettings(Section, frozen=True):
    """The HTTP service."""

    host: Annotated[str, Meta(description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="port to listen on; 0 takes a free one")] = 8710
    open: Annotated[
        bool,
        Meta(description="serve others than this machine without API keys, since something in front asks for them"),
    ] = False
    tls_certificate: Annotated[
        str, Meta(description="file of the TLS certificate and those it rests on (PEM); empty: no TLS")
    ] = ""
    tls_key: Annotated[str, Meta(description="file of the certificate's private key (PEM, not encrypted)")] = ""
    connections: Annotated[
        int, Meta(ge=1, description="most connections at once; further ones are answered 503 and closed")
    ] = 1000
    header_limit: Annotated[
        int, Meta(ge=1024, description="most bytes of a request's line and headers; more are answered 431")
    ] = 16_384
    request_seconds: Annotated[
        float,
        Meta(gt=0, description="longest time for a request to arrive, then it is answered 408; and to fetch an answer"),
    ] = 10.0
    idle_seconds: Annotated[
        float, Meta(gt=0, description="longest time between two requests of a connection; then it is closed")
    ] = 75.0
    pipeline: Annotated[
        int, Meta(ge=1, description="most requests that a connection may send ahead of their answers")
    ] = 32
    client_rate: Annotated[
        float,
        Meta(
            ge=0,
            description="most clicks a second of one API key or, without keys, of one address; more are answered 429;"
            " 0: no limit",
        ),
    ] = 0.0
    queue: Annotated[int, Meta(ge=1, description="clicks that may wait; more are answered 429")] = 10_000
    batch: Annotated[int, Meta(ge=1, description="most clicks decided at once")] = 256
    body_limit: Annotated[int, Meta(ge=1024, description="largest request body, in bytes")] = 4_194_304
    batch_limit: Annotated[int, Meta(ge=1, description="most clicks in one request")] = 10_000
    entities: Annotated[
        int, Meta(ge=1024, description="live entities of one kind that memory is set aside for at the start")
    ] = 262_144
    state_days: Annotated[
        int, Meta(ge=0, le=366, description="UTC days whose first state stays beside storage.state, for replays")
    ] = 3
    durability: Annotated[
        Literal["process", "power"],
        Meta(description="what an acknowledged decision survives: a kill of the 'process', or a loss of 'power' too"),
    ] = "process"
    deadline_ms: Annotated[
        int, Meta(ge=1, description="milliseconds that a click may wait for its decision; then it is unmeasurable")
    ] = 250
    mode: Annotated[
        Literal["enforce", "canary", "observe"],
        Meta(
            description="'observe' decides and journals, and answers nothing as invalid; 'canary' enforces for a share"
            " of the campaigns; 'enforce' for all"
        ),
    ] = "enforce"
    canary_share: Annotated[
        float, Meta(ge=0, le=1, description="share of the campaigns, by their hash, that 'canary' enforces for")
    ] = 0.1
    follow_seconds: Annotated[
        float,
        Meta(gt=0, description="seconds between two looks at registry and list files for what has changed"),
    ] = 1.0
    drain_seconds: Annotated[
        float,
        Meta(ge=0, description="seconds between SIGTERM and the end, in which /ready is 503 and all is still decided"),
    ] = 0.0
    workers: Annotated[
        int, Meta(ge=1, le=256, description="processes that serve; several share their state, so store.redis is needed")
    ] = 1
    device: Annotated[
        Literal["cpu", "cuda"], Meta(description="where the network is asked; 'cuda' needs onnxruntime-gpu")
    ] = "cpu"
    log: Annotated[Literal["text", "json"], Meta(description="form of the lines on the standard error")] = "text"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="least that is logged; 'debug' writes a line for every request"),
    ] = "info"


class StoreSettings(Section, frozen=True):
    """Redis, where several processes share the state of the features."""

    redis: Annotated[
        tuple[str, ...],
        Meta(
            description="addresses, redis://[user:password@]host:port: one server and its replicas, or some of a"
            " cluster; SLIDR_REDIS, separated by blanks, overrides them and keeps passwords out of this file"
        ),
    ] = ()
    partitions: Annotated[
        int, Meta(ge=1, le=1024, description="parts of the state: 1 for one server, about four a server of a cluster")
    ] = 1
    timeout_ms: Annotated[
        int, Meta(ge=1, le=60_000, description="milliseconds that an answer may take; later, a click is unmeasurable")
    ] = 50


class StorageSettings(Section, frozen=True):
    """Where slidr keeps what it makes; relative paths start at the settings file."""

    lake: Annotated[str, Meta(description="Delta tables")] = "lake"
    networks: Annotated[str, Meta(description="networks as they were trained, before they are bundled")] = "networks"
    bundles: Annotated[str, Meta(description="bundles as they were made or fetched")] = "bundles"
    registry: Annotated[str, Meta(description="bundles and the champion's history")] = "registry"
    report: Annotated[str, Meta(description="what the last run measured, and its page")] = "report"
    slow: Annotated[str, Meta(description="tables of the slow features, one folder a day")] = "slow"
    journal: Annotated[str, Meta(description="SQLite journal of the service")] = "journal.sqlite"
    monitor: Annotated[str, Meta(description="what `slidr monitor` has counted")] = "monitor.sqlite"
    seed: Annotated[
        str,
        Meta(description="feature state behind the last backfill; a service without a state of its own starts here"),
    ] = "seed.npz"
    backfill: Annotated[
        str, Meta(description="feature state behind the newest days of the backfill, from which the next one goes on")
    ] = "backfill"
    state: Annotated[str, Meta(description="snapshot of the service's own feature state")] = "state.npz"
    api_keys: Annotated[
        str, Meta(description="who may ask the service, with hashes of their API keys; `slidr keys` writes it")
    ] = "api-keys.json"
    key_file: Annotated[
        str, Meta(description="secret key of the identifiers' hashes; made where missing; SLIDR_KEY overrides it")
    ] = "slidr.key"
