"""gRPC options of both ends, as EXECUTION A15 and A16 give them."""

MAX_MESSAGE_BYTES = 16 * 1024 * 1024

_BOTH: tuple[tuple[str, int], ...] = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Without this a stopped peer goes unnoticed for over a minute.
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)

SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    *_BOTH,
    # Core's name for the smallest interval between received pings; without it ours are answered by too_many_pings.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    # Two servers on one port by accident would share its calls.
    ("grpc.so_reuseport", 0),
)

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    *_BOTH,
    # Peers restart on the same address: look again soon.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Rooms are dialled directly, whatever proxy the environment names.
    ("grpc.enable_http_proxy", 0),
)
