"""What is told of each socket option in docs/reference/options.md; options.py has the rest."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Told:
    """``row``: what the engine's table says of others, for one with rules of its own."""

    effect: str
    since: str
    text: str
    unit: str = ""
    default: str = ""
    difference: str = ""
    row: dict[str, str] = field(default_factory=dict)


def own(kind: str, range_: str, sockets: str = "all", access: str = "set, read") -> dict[str, str]:
    return {"kind": kind, "range": range_, "sockets": sockets, "access": access}


PUBS = "PUB, XPUB"
NEVER = "Stored and read back; there is no such transport here."
NOTHING = "pgm and norm use it; libzmq's wheels are built without them, too"

OPTIONS = {
    # --- queues and time
    "SNDHWM": Told(
        "now",
        "3.0.0",
        "The high-water mark of sending: messages that may wait for one peer. When a queue is"
        " full, the type"
        " of the socket says what happens: PUSH, DEALER and REQ wait (or `Again`), PUB and ROUTER"
        " drop."
        " 0: no limit.",
        "messages",
        difference="counts until the kernel took the bytes, not until the I/O thread did",
    ),
    "RCVHWM": Told(
        "now",
        "3.0.0",
        "The high-water mark of receiving: messages of one peer that may wait to be read. The"
        " connection of"
        " a peer that has reached it is not read; its messages wait in the kernel and at the"
        " sender. 0: no"
        " limit.",
        "messages",
        difference="as of SNDHWM",
    ),
    "HWM": Told(
        "now",
        "2.0",
        "`socket.hwm = n` sets SNDHWM and RCVHWM, and reading it gives SNDHWM. As a number it is"
        " libzmq 2's,"
        " and EINVAL.",
        "messages",
        default="1000",
        row=own("int", "from 0", access="as the attribute `hwm` only"),
    ),
    "RCVTIMEO": Told(
        "now",
        "2.2.0",
        "How long a receive waits for a message before it raises `Again`. 0: not at all; -1: as"
        " long as it"
        " takes.",
        "ms",
        difference="absolute: signals do not start it anew",
    ),
    "SNDTIMEO": Told(
        "now",
        "2.2.0",
        "How long a send waits for room or a peer before it raises `Again`. 0: not at all; -1: as"
        " long as it"
        " takes.",
        "ms",
        difference="absolute: signals do not start it anew",
    ),
    "LINGER": Told(
        "now",
        "2.1.0",
        "How long after `close` messages that wait to be sent may still leave. `Context.term`"
        " waits for that."
        " 0: they are dropped; -1: until all have left, which may be for ever when the peer is"
        " gone."
        " `close(linger=...)` sets it, too. With the context's BLOCKY at 0 the default is 0.",
        "ms",
        difference="all that is queued at `unbind` leaves within it, not only a part",
    ),
    "CONFLATE": Told(
        "next",
        "4.0.0",
        "Keeps the latest message only, in both directions, whatever the high-water marks are."
        " Not for"
        " messages of several parts, and for PUSH, PULL, PUB, SUB and DEALER only.",
    ),
    "IMMEDIATE": Told(
        "next",
        "3.2.1, as DELAY_ATTACH_ON_CONNECT; by this name 4.0.0",
        "1: messages are queued only for connections that are complete; without one a send waits"
        " or is"
        " `Again`. 0: also for an endpoint that is not there yet.",
    ),
    # --- connections
    "RECONNECT_IVL": Told(
        "next",
        "2.1.0",
        "How long to wait before a lost or refused connection is tried again, give or take a"
        " random part."
        " -1: never again.",
        "ms",
    ),
    "RECONNECT_IVL_MAX": Told(
        "next",
        "2.1.1",
        "The wait doubles with each attempt, up to this. 0: it stays at RECONNECT_IVL.",
        "ms",
    ),
    "RECONNECT_STOP": Told(
        "next",
        "4.3.3, as a draft",
        "When not to try again: the sum of RECONNECT_STOP_CONN_REFUSED,"
        " RECONNECT_STOP_HANDSHAKE_FAILED and"
        " RECONNECT_STOP_AFTER_DISCONNECT.",
    ),
    "CONNECT_TIMEOUT": Told(
        "next",
        "4.2.0",
        "How long one attempt to connect over tcp may take. 0: as long as the system lets it.",
        "ms",
    ),
    "HANDSHAKE_IVL": Told(
        "next",
        "4.1.0",
        "How long a handshake may take, from the connection on. 0: without limit.",
        "ms",
        difference="a stranger's first byte does not stop it",
    ),
    "HEARTBEAT_IVL": Told(
        "next",
        "4.2.0",
        "A PING goes to each peer of ZMTP 3.1 when so much time has passed. 0: none.",
        "ms",
    ),
    "HEARTBEAT_TIMEOUT": Told(
        "next",
        "4.2.0",
        "How long after a PING a peer may be silent before its connection is cut. -1: as"
        " HEARTBEAT_IVL.",
        "ms",
        difference="a peer is not cut while RCVHWM keeps us from hearing it, or while it still"
        " takes"
        " what we send",
    ),
    "HEARTBEAT_TTL": Told(
        "next",
        "4.2.0",
        "How long the peer may wait for our next PING before it cuts the connection; told to it"
        " with each."
        " Kept in tenths of a second.",
        "ms",
        row=own("int", "0 to 6553599"),
        difference="65.6 s and more are announced as they are, and not wrapped",
    ),
    "BACKLOG": Told(
        "next",
        "2.1.0",
        "Connections that the kernel holds for a listener that has not accepted them yet.",
        "connections",
    ),
    "SNDBUF": Told(
        "next",
        "2.0",
        "The kernel's buffer of sending, SO_SNDBUF. -1: the system's default.",
        "bytes",
    ),
    "RCVBUF": Told(
        "next",
        "2.0",
        "The kernel's buffer of receiving, SO_RCVBUF. -1: the system's default.",
        "bytes",
    ),
    "TCP_KEEPALIVE": Told("next", "3.2.0", "SO_KEEPALIVE: 1 on, 0 off, -1 as the system has it."),
    "TCP_KEEPALIVE_CNT": Told(
        "next",
        "3.2.0",
        "TCP_KEEPCNT: probes without an answer. -1: as the system has it.",
        "probes",
    ),
    "TCP_KEEPALIVE_IDLE": Told(
        "next",
        "3.2.0",
        "TCP_KEEPIDLE: silence before the first probe. -1: as the system has it.",
        "s",
    ),
    "TCP_KEEPALIVE_INTVL": Told(
        "next", "3.2.0", "TCP_KEEPINTVL: from probe to probe. -1: as the system has it.", "s"
    ),
    "TCP_MAXRT": Told(
        "next",
        "4.2.0",
        "TCP_USER_TIMEOUT: how long bytes may stay without a receipt before the connection is"
        " lost. 0: as"
        " the system has it.",
        "ms",
    ),
    "TOS": Told("next", "4.1.0", "The type-of-service byte of IP packets, IP_TOS."),
    "IPV6": Told(
        "next",
        "4.0.0",
        "1: names and addresses may be of IPv6, and a bind to `*` takes both. Inherited from the"
        " context.",
    ),
    "IPV4ONLY": Told(
        "next",
        "3.1.0",
        "The opposite of IPV6, under its name of before 4.0.",
        row=own("flag", "0, 1"),
    ),
    "BINDTODEVICE": Told(
        "next",
        "4.2.3 as a draft, stable since 4.3.0",
        "SO_BINDTODEVICE: only packets of this interface. Needs CAP_NET_RAW on older kernels.",
        row=own("text", "up to 15 bytes"),
    ),
    "USE_FD": Told(
        "next",
        "4.2.0",
        "A descriptor that listens already, as systemd hands over: the next `bind` to tcp or ipc"
        " uses it."
        " -1: none.",
        "descriptor",
        difference="on epoll the descriptor is non-blocking for the moment of an accept",
    ),
    "SOCKS_PROXY": Told(
        "next",
        "4.1.0",
        'A SOCKS5 proxy, "host:port", that connects over tcp go through. None takes it away.',
    ),
    "SOCKS_USERNAME": Told(
        "next", "4.3.2, as a draft", "The user name for the proxy. None takes it away."
    ),
    "SOCKS_PASSWORD": Told(
        "next", "4.3.2, as a draft", "The password for the proxy. None takes it away."
    ),
    "TCP_ACCEPT_FILTER": Told(
        "next",
        "3.2.0",
        'Networks that may connect, one with each set: "192.168.0.0/16". None takes all away.',
        row=own("text", "an address, with or without /bits", access="set"),
    ),
    "IPC_FILTER_PID": Told(
        "next",
        "4.1.0",
        "Processes that may connect over ipc, one with each set. -1 and other numbers that nobody"
        " has let"
        " nobody in.",
        "process id",
        row=own("int", "any", access="set"),
    ),
    "IPC_FILTER_UID": Told(
        "next",
        "4.1.0",
        "Users that may connect over ipc, one with each set.",
        "user id",
        row=own("int", "any", access="set"),
    ),
    "IPC_FILTER_GID": Told(
        "next",
        "4.1.0",
        "Groups that may connect over ipc, one with each set.",
        "group id",
        row=own("int", "any", access="set"),
    ),
    "AFFINITY": Told(
        "next",
        "2.0",
        "Which I/O threads of the context serve new connections: a bit each. 0: any.",
        "bits",
        row=own("int, 64 bits", "from 0"),
    ),
    # --- who is who
    "ROUTING_ID": Told(
        "next",
        "2.0, as IDENTITY; by this name 4.2.3",
        "The name that a ROUTER on the other side gets as the first part of what we send, and"
        " reaches us by."
        " Empty: the ROUTER makes one up. Not of two peers of one ROUTER at a time; one that"
        " begins with a"
        " zero byte is the ROUTER's to give.",
    ),
    "CONNECT_ROUTING_ID": Told(
        "next",
        "4.1.0, as CONNECT_RID; by this name 4.2.3",
        "The name that we give to the peer of the next `connect`, in the place of its own. Used"
        " once.",
        difference="aborts the process for a name that is taken; here EINVAL",
    ),
    "ROUTER_MANDATORY": Told(
        "now",
        "3.2.0, as FAIL_UNROUTABLE; by this name 3.2.1",
        "1: a message to a peer that is not there raises ZMQError(EHOSTUNREACH), and a full queue"
        " makes the"
        " send wait. 0: both are dropped in silence.",
        default="0",
    ),
    "ROUTER_HANDOVER": Told(
        "now",
        "4.1.0",
        "1: a newcomer with a name that is taken gets it, and the old connection is closed. 0:"
        " the newcomer"
        " is not served.",
        default="0",
    ),
    "ROUTER_RAW": Told(
        "next",
        "4.0.0",
        "1: the socket speaks plain bytes with any tcp program, as STREAM, which is to be"
        " preferred.",
        default="0",
    ),
    "PROBE_ROUTER": Told(
        "next",
        "4.0.0",
        "1: an empty message goes to each new peer, so that a ROUTER hears of us before we have"
        " said"
        " anything.",
        default="0",
    ),
    "REQ_CORRELATE": Told(
        "now",
        "4.0.0",
        "1: a REQ puts a number in front of each request and takes no answer without it.",
        default="0",
    ),
    "REQ_RELAXED": Told(
        "now",
        "4.0.0",
        "1: a REQ may send again before the answer has come; what comes late is dropped. Set"
        " REQ_CORRELATE,"
        " too, so that a late answer is not taken for the next one.",
        default="0",
    ),
    "STREAM_NOTIFY": Told(
        "next",
        "4.2.0",
        "1: an empty message tells of each connection that comes or goes.",
        default="1",
    ),
    "METADATA": Told(
        "next",
        "4.2.4, as a draft",
        'A property of ours that peers find in `Frame.get`: "X-name:value". The first value of a'
        " name"
        " stays.",
        default="empty",
        row=own("text", "from 4 bytes", access="set"),
    ),
    # --- publishing
    "SUBSCRIBE": Told(
        "now",
        "2.0",
        "A SUB receives messages that begin with this; b'' is all of them. Without any it"
        " receives nothing."
        " `socket.subscribe(topic)` does the same. Also an XPUB's with XPUB_MANUAL, for the peer"
        " that"
        " it has heard last.",
        default="none",
        row=own("bytes", "any", "SUB; PUB, XPUB with XPUB_MANUAL", "set"),
    ),
    "UNSUBSCRIBE": Told(
        "now",
        "2.0",
        "Takes back one SUBSCRIBE of the same bytes.",
        default="none",
        row=own("bytes", "any", "SUB; PUB, XPUB with XPUB_MANUAL", "set"),
    ),
    "INVERT_MATCHING": Told(
        "now",
        "4.2.0",
        "1: a subscriber gets what it has not subscribed to. Set it on both sides.",
    ),
    "XPUB_NODROP": Told(
        "now",
        "4.1.0",
        "1: a send waits, or is `Again`, when a subscriber's queue is full. 0: it is dropped for"
        " that one.",
        default="0",
    ),
    "XPUB_VERBOSE": Told(
        "now",
        "3.2.1",
        "1: every subscription is received, also one that another peer has.",
        default="0",
        row=own("flag", "from 0", PUBS, "set"),
    ),
    "XPUB_VERBOSER": Told(
        "now",
        "4.2.0",
        "1: every subscription and every end of one is received.",
        default="0",
        row=own("flag", "from 0", PUBS, "set"),
    ),
    "XPUB_MANUAL": Told(
        "now",
        "4.2.0",
        "1: subscriptions that are received count for nothing until the application sets"
        " SUBSCRIBE.",
        default="0",
    ),
    "XPUB_MANUAL_LAST_VALUE": Told(
        "now",
        "4.3.2, as a draft",
        "XPUB_MANUAL, and what is sent after a SUBSCRIBE goes to that subscriber only: for the"
        " latest value.",
        default="0",
        row=own("flag", "from 0", PUBS, "set"),
    ),
    "XPUB_WELCOME_MSG": Told(
        "next",
        "4.2.0",
        "A message that each new subscriber gets, if it has subscribed to it. None takes it away.",
        default="none",
        row=own("bytes", "any", PUBS, "set"),
    ),
    "ONLY_FIRST_SUBSCRIBE": Told(
        "now",
        "4.3.3, as a draft",
        "1: only the first part of a message can be a subscription; the others are the user's.",
        default="0",
    ),
    "TOPICS_COUNT": Told(
        "",
        "4.3.5, as a draft",
        "How many topics there are: those that a SUB has subscribed to, those that a PUB's peers"
        " have.",
        "topics",
        row=own("int", "from 0", "PUB, XPUB, SUB, XSUB", "read"),
    ),
    # --- security
    "MECHANISM": Told(
        "",
        "4.0.0",
        "Which of NULL, PLAIN and CURVE the options stand for: a `SecurityMechanism`.",
        row={"sockets": "all", "range": "0 to 2"},
    ),
    "PLAIN_SERVER": Told(
        "next",
        "4.0.0",
        "1: clients have to name a user and a password, which the ZAP handler checks.",
        row=own("flag", "0, 1"),
    ),
    "PLAIN_USERNAME": Told(
        "next",
        "4.0.0",
        "The client's user name. None takes security away.",
        row=own("text", "1 to 255 bytes"),
    ),
    "PLAIN_PASSWORD": Told(
        "next",
        "4.0.0",
        "The client's password, which PLAIN sends in the clear.",
        row=own("text", "1 to 255 bytes"),
    ),
    "CURVE_SERVER": Told(
        "next",
        "4.0.0",
        "1: only clients that know our public key come in, and which of these the ZAP handler"
        " says. Needs"
        " CURVE_SECRETKEY.",
        row=own("flag", "0, 1"),
    ),
    "CURVE_PUBLICKEY": Told(
        "next",
        "4.0.0",
        "Our public key: 32 bytes, or 40 characters of Z85 as `curve_keypair` returns.",
        row=own("bytes", "32 bytes, or 40 of Z85"),
        default="zeros",
        difference="cannot be read through pyzmq; here 40 characters",
    ),
    "CURVE_SECRETKEY": Told(
        "next",
        "4.0.0",
        "Our secret key, likewise. It lies in locked memory.",
        row=own("bytes", "32 bytes, or 40 of Z85"),
        default="zeros",
        difference="as of CURVE_PUBLICKEY",
    ),
    "CURVE_SERVERKEY": Told(
        "next",
        "4.0.0",
        "The server's public key; makes this socket a client of CURVE.",
        row=own("bytes", "32 bytes, or 40 of Z85"),
        default="zeros",
        difference="as of CURVE_PUBLICKEY",
    ),
    "ZAP_DOMAIN": Told(
        "next",
        "4.0.0",
        "The name of a realm that the ZAP handler is told. With NULL it is what makes clients be"
        " asked"
        " about at all.",
    ),
    "ZAP_ENFORCE_DOMAIN": Told(
        "next",
        "4.2.3, as a draft",
        "1, with a ZAP_DOMAIN: without a ZAP handler nobody comes in; with 0 everybody does. 1,"
        " without a ZAP_DOMAIN: no handler is asked, and everybody comes in. So set both, or"
        " neither.",
    ),
    # --- ours
    "MAXMSGSIZE": Told(
        "next",
        "3.0.0",
        "The largest part that a peer may send; one that sends more loses its connection. -1: no"
        " limit.",
        "bytes",
        row=own("int, 64 bits", "any"),
    ),
    "MONOCOQUE_MAX_COMMAND": Told(
        "next", "ours", "The largest command of ZMTP after the handshake.", "bytes"
    ),
    "MONOCOQUE_MAX_METADATA": Told(
        "next", "ours", "The properties that a peer may send in its handshake.", "bytes"
    ),
    "MONOCOQUE_MAX_PARTS": Told("next", "ours", "The parts of one message.", "parts"),
    "MONOCOQUE_MAX_MESSAGE": Told("next", "ours", "All parts of one message together.", "bytes"),
    "MONOCOQUE_MAX_HANDSHAKES": Told(
        "next",
        "ours",
        "Accepted connections that are not through their handshake; of too many the oldest goes.",
        "connections",
    ),
    "MONOCOQUE_MAX_SUBSCRIPTIONS": Told(
        "next", "ours", "Topics that one peer may subscribe to.", "topics"
    ),
    "MONOCOQUE_MAX_TOPIC_BYTES": Told("next", "ours", "These topics together.", "bytes"),
    "MONOCOQUE_MAX_PENDING_SUBSCRIPTIONS": Told(
        "next",
        "ours",
        "Subscriptions of one peer that an XPUB's application has not read.",
        "messages",
    ),
    # --- what there is to read
    "TYPE": Told(
        "",
        "2.1.0",
        "The socket's type, a `SocketType`.",
        default="as it was made",
        row=own("int", "0 to 11", access="read"),
    ),
    "RCVMORE": Told(
        "",
        "2.0.7",
        "1 when the message of the part that was received last has more parts.",
        row=own("flag", "0, 1", access="read"),
    ),
    "EVENTS": Told(
        "",
        "2.1.0",
        "POLLIN when a receive would not wait, POLLOUT when a send would not. To be read after"
        " each wake-up"
        " of FD, and after each send and receive before the next wait for FD.",
        default="as things are",
        row=own("int", "the sum of POLLIN and POLLOUT", access="read"),
    ),
    "FD": Told(
        "",
        "2.1.0",
        "A descriptor for event loops of others: readable when EVENTS may have changed, until"
        " EVENTS is"
        " read. Never to be read from or written to. It is not readable again for what was there"
        " already.",
        "descriptor",
        default="its own for each socket",
        row=own("int", "from 0", access="read"),
    ),
    "LAST_ENDPOINT": Told(
        "",
        "3.2.0",
        "The endpoint of the last bind or connect as it was resolved: after a bind to `tcp://*:*`"
        " it has the"
        " port.",
        row=own("text", "any", access="read"),
    ),
    "THREAD_SAFE": Told(
        "",
        "4.2.0",
        "Always 0, since no type of socket is a draft. Threads may share sockets here all the"
        " same.",
        row=own("flag", "0", access="read"),
    ),
    # --- without effect
    "RATE": Told("next", "2.0", NEVER, "kilobits/s", difference=NOTHING),
    "RECOVERY_IVL": Told("next", "2.0", NEVER, "ms", difference=NOTHING),
    "MULTICAST_HOPS": Told("next", "3.0.0", NEVER, "hops", difference=NOTHING),
    "MULTICAST_MAXTPDU": Told("next", "4.2.0", NEVER, "bytes", difference=NOTHING),
    "MULTICAST_LOOP": Told("next", "4.3.0, as a draft", NEVER, difference=NOTHING),
    "LOOPBACK_FASTPATH": Told("next", "4.2.4, as a draft", "Stored and read back; it is Windows'."),
}

GROUPS = {
    "Queues and time": "SNDHWM RCVHWM HWM RCVTIMEO SNDTIMEO LINGER CONFLATE IMMEDIATE",
    "Connections": "RECONNECT_IVL RECONNECT_IVL_MAX RECONNECT_STOP CONNECT_TIMEOUT HANDSHAKE_IVL"
    " HEARTBEAT_IVL"
    " HEARTBEAT_TIMEOUT HEARTBEAT_TTL BACKLOG SNDBUF RCVBUF TCP_KEEPALIVE TCP_KEEPALIVE_CNT"
    " TCP_KEEPALIVE_IDLE TCP_KEEPALIVE_INTVL TCP_MAXRT TOS IPV6 IPV4ONLY BINDTODEVICE USE_FD"
    " SOCKS_PROXY"
    " SOCKS_USERNAME SOCKS_PASSWORD TCP_ACCEPT_FILTER IPC_FILTER_PID IPC_FILTER_UID"
    " IPC_FILTER_GID AFFINITY",
    "Names, and request and reply": "ROUTING_ID CONNECT_ROUTING_ID ROUTER_MANDATORY"
    " ROUTER_HANDOVER ROUTER_RAW"
    " PROBE_ROUTER REQ_CORRELATE REQ_RELAXED STREAM_NOTIFY METADATA",
    "Publish and subscribe": "SUBSCRIBE UNSUBSCRIBE INVERT_MATCHING XPUB_NODROP XPUB_VERBOSE"
    " XPUB_VERBOSER"
    " XPUB_MANUAL XPUB_MANUAL_LAST_VALUE XPUB_WELCOME_MSG ONLY_FIRST_SUBSCRIBE TOPICS_COUNT",
    "Security": "MECHANISM PLAIN_SERVER PLAIN_USERNAME PLAIN_PASSWORD CURVE_SERVER"
    " CURVE_PUBLICKEY CURVE_SECRETKEY"
    " CURVE_SERVERKEY ZAP_DOMAIN ZAP_ENFORCE_DOMAIN",
    "Limits on peers": "MAXMSGSIZE MONOCOQUE_MAX_COMMAND MONOCOQUE_MAX_METADATA MONOCOQUE_MAX_PARTS"
    " MONOCOQUE_MAX_MESSAGE MONOCOQUE_MAX_HANDSHAKES MONOCOQUE_MAX_SUBSCRIPTIONS"
    " MONOCOQUE_MAX_TOPIC_BYTES MONOCOQUE_MAX_PENDING_SUBSCRIPTIONS",
    "To be read": "TYPE RCVMORE EVENTS FD LAST_ENDPOINT THREAD_SAFE",
    "Without effect": "RATE RECOVERY_IVL MULTICAST_HOPS MULTICAST_MAXTPDU MULTICAST_LOOP"
    " LOOPBACK_FASTPATH",
}

REFUSED_TEXT = (
    "The names are there, as in pyzmq, so that programs that mention them are imported. Setting"
    " or reading one"
    " is EINVAL, as it is with pyzmq's wheels."
)
REFUSED = {
    "BLOCKY": "an option of the context: `context.set(zmq.BLOCKY, 0)`",
    "GSSAPI_SERVER GSSAPI_PRINCIPAL GSSAPI_SERVICE_PRINCIPAL GSSAPI_PLAINTEXT"
    " GSSAPI_PRINCIPAL_NAMETYPE"
    " GSSAPI_SERVICE_PRINCIPAL_NAMETYPE": "the mechanism GSSAPI is not built in",
    "VMCI_BUFFER_SIZE VMCI_BUFFER_MIN_SIZE VMCI_BUFFER_MAX_SIZE VMCI_CONNECT_TIMEOUT": "the"
    " transport vmci is"
    " not built in",
    "WSS_KEY_PEM WSS_CERT_PEM WSS_TRUST_PEM WSS_HOSTNAME WSS_TRUST_SYSTEM": "drafts: WebSockets",
    "NORM_MODE NORM_UNICAST_NACK NORM_BUFFER_SIZE NORM_SEGMENT_SIZE NORM_BLOCK_SIZE NORM_NUM_PARITY"
    " NORM_NUM_AUTOPARITY NORM_PUSH": "drafts: the transport norm",
    "ROUTER_NOTIFY IN_BATCH_SIZE OUT_BATCH_SIZE HELLO_MSG DISCONNECT_MSG HICCUP_MSG PRIORITY"
    " BUSY_POLL"
    " XSUB_VERBOSE_UNSUBSCRIBE": "drafts",
}
